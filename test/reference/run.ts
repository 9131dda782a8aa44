/**
 * @file Runs the reference cases: what deltafit computes against what the Python libraries computed. Prints a line for
 * every case that fails or is skipped, and a last line with the counts. See README.md beside this file.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DeltafitError } from "../../src/errors.ts";
import { bottlenecks } from "./bottleneck.ts";
import { CaseFailure } from "./cases.ts";
import { draws } from "./draws.ts";
import { memory } from "./memory.ts";
import { methods } from "./methods.ts";
import { metrics } from "./metrics.ts";
import { models } from "./models.ts";
import { multi } from "./multi.ts";
import { optimisers } from "./optimisers.ts";
import { quantised } from "./quantised.ts";
import { CaseSkipped } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

const sections: readonly ReferenceSection[] = [
  models,
  methods,
  bottlenecks,
  draws,
  optimisers,
  metrics,
  multi,
  quantised,
  memory,
];

const { values: flags } = parseArgs({ options: { only: { type: "string" } } });
const environmentFolder = process.env["DELTAFIT_REFERENCE"] ?? "";
const root = environmentFolder === "" ? join(import.meta.dirname, "cases") : resolve(environmentFolder);

type Outcome = "passed" | "failed" | "skipped";

const maximumReason = 500;

async function runCase({ name, check }: ReferenceCase): Promise<Outcome> {
  try {
    await check();
    return "passed";
  } catch (error) {
    const isSkipped = error instanceof CaseSkipped;
    console.log(`${isSkipped ? "skipped" : "FAILED"} ${name}: ${reasonOf(error)}`);
    return isSkipped ? "skipped" : "failed";
  }
}

/** One line, with paths below the cases' folder. */
function reasonOf(error: unknown): string {
  const isExpected =
    error instanceof CaseFailure || error instanceof CaseSkipped || DeltafitError.isInstance(error);
  const text = error instanceof Error && !isExpected ? (error.stack ?? error.message) : messageOf(error);
  return text.replaceAll(`${root}/`, "").replaceAll(/\s+/g, " ").slice(0, maximumReason);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(): Promise<boolean> {
  if (!existsSync(root)) throw new Error(`there are no reference cases in ${root}`);
  const scratch = mkdtempSync(join(tmpdir(), "deltafit-reference-"));
  process.env["DELTAFIT_CACHE"] = join(scratch, "cache");
  const counts: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0 };
  try {
    const cases = sections
      .flatMap((section) => section({ root, scratch }))
      .filter(({ name }) => name.includes(flags.only ?? ""));
    for (const one of cases) counts[await runCase(one)]++;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0;
}

process.exitCode = (await main()) ? 0 : 1;
