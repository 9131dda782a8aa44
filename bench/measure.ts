/** @file What every measurement shares: medians, ratios of pairs, facts of the machine, and how a script ends. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { median } from "../src/cli/median.ts";
import { DeltafitError } from "../src/errors.ts";
import { repositoryRoot } from "./peers/python.ts";

export interface Spread {
  readonly median: number;
  readonly all: readonly number[];
}

/** The named ones of a bench's runs, or all. @throws DeltafitError `usage-invalid` for a name that is not among them. */
export function chosenByName<Run extends { readonly name: string }>(
  runs: readonly Run[],
  only: string | undefined,
): readonly Run[] {
  if (only === undefined) return runs;
  return only.split(",").map((name) => {
    const run = runs.find((one) => one.name === name);
    if (run) return run;
    const names = runs.map((one) => one.name).join(", ");
    throw new DeltafitError("usage-invalid", `--only: expected ${names}, found ${JSON.stringify(name)}.`);
  });
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), all: values };
}

/** One side's value over the other's, pair by pair: the machine's mood of the minute hits both halves of a pair. */
export function pairedRatio(ours: Spread, theirs: Spread): Spread {
  return spread(ours.all.map((value, pair) => value / (theirs.all[pair] ?? NaN)));
}

export function machine() {
  const processors = cpus();
  return {
    processor: processors[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
  };
}

/** The machine in one line of a report. */
export function describeMachine({
  processor,
  cores,
  memoryBytes,
  platform,
}: ReturnType<typeof machine>): string {
  return `${processor}, ${String(cores)} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, ${platform}`;
}

export function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

function installedVersion(folder: string): string {
  return z.looseObject({ version: z.string() }).parse(readJson(join(folder, "package.json"))).version;
}

/** Versions of deltafit and of what it runs on. */
export function ownVersions(): Record<string, string> {
  return {
    deltafit: installedVersion(repositoryRoot),
    node: process.versions.node,
    "onnxruntime-node": installedVersion(join(repositoryRoot, "node_modules", "onnxruntime-node")),
  };
}

export function describeVersions(versions: Readonly<Record<string, string>>): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

/** @throws DeltafitError `usage-invalid` where a flag's text is no whole number of at least 1. */
export function positiveInteger(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new DeltafitError(
    "usage-invalid",
    `--${name}: expected a whole number of at least 1, found '${text}'.`,
  );
}

/** Runs `read`, which parses a command line; what it throws becomes an error of usage. */
export function checkedFlags<Flags>(read: () => Flags): Flags {
  try {
    return read();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DeltafitError("usage-invalid", reason, "--help lists the flags.", error);
  }
}

/** What a measured process printed, checked. @throws DeltafitError `runtime-failed` naming the side. */
export function checkedResult<Schema extends z.ZodType>(
  side: string,
  schema: Schema,
  printed: unknown,
): z.output<Schema> {
  const result = schema.safeParse(printed);
  if (result.success) return result.data;
  throw new DeltafitError(
    "runtime-failed",
    `${side} printed another object than expected: ${z.prettifyError(result.error)}`,
  );
}

/** Runs a script; an error is told as the command line tells it, and decides the exit status. */
export function runScript(main: () => void): void {
  try {
    main();
  } catch (error) {
    const known = DeltafitError.isInstance(error);
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    if (known && error.hint !== undefined) process.stderr.write(`hint: ${error.hint}\n`);
    process.exitCode = known ? error.exitCode : 1;
  }
}
