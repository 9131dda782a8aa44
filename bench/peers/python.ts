/**
 * @file The Python side that deltafit is measured against: where its interpreter is and how a script
 * of this repository runs in it. Knows nothing of what the scripts do.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { DeltafitError } from "../../src/errors.ts";

/** The repository's root folder. */
export const repositoryRoot = resolve(fileURLToPath(import.meta.url), "../../..");

/** Results of a step or a training run are a few kilobytes; a megabyte a loss list of many thousand steps. */
const maximumOutputBytes = 64 * 2 ** 20;

/**
 * The Python interpreter with PyTorch and PEFT: `DELTAFIT_PEERS_PYTHON`, or the one of the virtual environment
 * that `bench/peers/setup.sh` makes in `DELTAFIT_PEERS` (default `.peers/`).
 *
 * @throws DeltafitError `file-missing` where there is none.
 */
export function peersPython(): string {
  const given = process.env["DELTAFIT_PEERS_PYTHON"];
  if (given !== undefined && given !== "") return given;
  const folder = process.env["DELTAFIT_PEERS"] ?? join(repositoryRoot, ".peers");
  const python = join(folder, "bin", "python");
  if (!existsSync(python)) {
    throw new DeltafitError(
      "file-missing",
      `The Python side is not installed: ${python} does not exist.`,
      "Run bench/peers/setup.sh, or name an interpreter with PyTorch and PEFT in DELTAFIT_PEERS_PYTHON.",
    );
  }
  return python;
}

/** How a process ended: its exit status (`null` after a signal) and its standard output. */
export interface ProcessResult {
  readonly status: number | null;
  readonly stdout: string;
}

/**
 * Runs a process to its end; its standard error goes to this process's own.
 *
 * @throws DeltafitError `runtime-failed` where it cannot be started.
 */
export function runToEnd(command: string, commandArguments: readonly string[]): ProcessResult {
  const ended = spawnSync(command, commandArguments, {
    cwd: repositoryRoot,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: maximumOutputBytes,
  });
  if (ended.error !== undefined) {
    throw new DeltafitError(
      "runtime-failed",
      `${command} could not be run: ${ended.error.message}.`,
      undefined,
      ended.error,
    );
  }
  return { status: ended.status, stdout: ended.stdout };
}

/**
 * Runs a process that prints one JSON value.
 *
 * @throws DeltafitError `runtime-failed` where it fails or prints something else.
 */
export function runForJson(command: string, commandArguments: readonly string[]): unknown {
  const line = [command, ...commandArguments].join(" ");
  const { status, stdout } = runToEnd(command, commandArguments);
  if (status !== 0) {
    const printed = stdout.trim() === "" ? "" : ` It printed: ${stdout.trim()}`;
    throw new DeltafitError(
      "runtime-failed",
      `Expected status 0, found ${String(status)}, from: ${line}.${printed}`,
    );
  }
  try {
    return JSON.parse(stdout) as unknown;
  } catch (error) {
    throw new DeltafitError(
      "runtime-failed",
      `Expected one JSON object from: ${line}. Found: ${stdout}`,
      undefined,
      error,
    );
  }
}

/** Path of deltafit's built command line. @throws DeltafitError `file-missing` before a build. */
export function deltafitMain(): string {
  const main = join(repositoryRoot, "dist", "cli", "main.js");
  if (!existsSync(main)) {
    throw new DeltafitError("file-missing", `${main} does not exist.`, "Run `npm run build` first.");
  }
  return main;
}
