/**
 * @file The two streams: stdout carries a command's result and nothing else, stderr all that is said on the way.
 */
import { writeSync } from "node:fs";
import { DeltafitError } from "../errors.ts";

export interface Terminal {
  /** Whether the result is one JSON object. */
  readonly json: boolean;
  /** Whether stderr is a terminal that can redraw a line, and the user wants to see progress. */
  readonly isLive: boolean;
  /** Columns to keep to. */
  readonly width: number;
  /** A line for the user, left out with --quiet. */
  note(line: string): void;
  /** A line that must not be missed. */
  warn(line: string): void;
  /** Part of the result as it comes, in place of the text at the end. */
  stream(text: string): void;
}

const widest = 80;

export function createTerminal({
  json,
  quiet,
}: {
  readonly json: boolean;
  readonly quiet: boolean;
}): Terminal {
  return {
    json,
    isLive: process.stderr.isTTY && !quiet && process.env["TERM"] !== "dumb",
    width: Math.min(widest, process.stderr.isTTY ? process.stderr.columns : widest),
    note(line) {
      if (!quiet) process.stderr.write(`${line}\n`);
    },
    warn(line) {
      process.stderr.write(`warning: ${line}\n`);
    },
    stream(text) {
      process.stdout.write(text);
    },
  };
}

/** Any thrown value as an error of deltafit: what no code foresaw is a defect. */
export function asDeltafitError(error: unknown): DeltafitError {
  if (DeltafitError.isInstance(error)) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new DeltafitError(
    "internal",
    `internal: ${reason}`,
    "This is a defect of deltafit; please report it, with what --debug adds.",
    error,
  );
}

/** Says an error on stderr, and with `json` on stdout as well. The stack only with `debug`. */
export function reportError(
  error: DeltafitError,
  { json, debug }: { readonly json: boolean; readonly debug: boolean },
): void {
  const lines = [`error: ${error.message}`, ...(error.hint === undefined ? [] : [`hint: ${error.hint}`])];
  process.stderr.write(`${lines.join("\n")}\n`);
  if (debug) {
    process.stderr.write(`${error.stack ?? ""}\n`);
    if (error.cause instanceof Error)
      process.stderr.write(`caused by: ${error.cause.stack ?? error.cause.message}\n`);
  }
  const { code, message, hint } = error;
  if (json) writeResult(JSON.stringify({ error: { code, message, hint: hint ?? null } }));
}

/** Writes at once: what follows may end the process. */
export function writeResult(text: string): void {
  let bytes = Buffer.from(`${text}\n`);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      // A reader that has closed its end has all it wants; a full pipe of another program empties soon.
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
    }
  }
}
