/**
 * @file Everything that must hold before a change is handed in, in the order that finds the cheapest mistakes
 * first. Stops at the first step that fails. What a step does stands in package.json alone.
 */
import { spawnSync } from "node:child_process";

/** The build comes first because tests and documentation run the built command. */
const steps = ["build", "typecheck", "lint", "format:check", "arch", "dead", "test", "docs:check"];

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

const startMs = performance.now();
for (const [index, step] of steps.entries()) {
  const label = `[${index + 1}/${steps.length}] ${step}`;
  console.log(`\n== ${label}`);
  const stepStartMs = performance.now();
  const { status, signal, error } = spawnSync("npm", ["run", "--silent", step], { stdio: "inherit" });
  if (status !== 0) {
    const reason =
      error?.message ?? (signal === null ? `exit code ${status ?? "unknown"}` : `signal ${signal}`);
    console.error(`== ${label}: FAILED after ${seconds(stepStartMs)} (${reason}). Alone: npm run ${step}`);
    process.exit(1);
  }
  console.log(`== ${label}: ok, ${seconds(stepStartMs)}`);
}
console.log(`\ncheck: all ${steps.length} steps passed in ${seconds(startMs)}`);
