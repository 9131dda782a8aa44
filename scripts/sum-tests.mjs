/**
 * @file Adds up the counts of a vitest JSON report and of a text that ends with `N passed, N failed, N skipped`,
 * and prints the sum in that form. Fails if something failed, or if nothing was run at all.
 */
import { readFileSync } from "node:fs";

const [reportPath, textPath] = process.argv.slice(2);
const report = JSON.parse(readFileSync(reportPath, "utf8"));
const lines = readFileSync(textPath, "utf8").trimEnd().split("\n");
const counts = /^(\d+) passed, (\d+) failed, (\d+) skipped$/.exec(lines.at(-1).trim());
if (counts === null) throw new Error(`${textPath}: the last line is not "N passed, N failed, N skipped"`);

const passed = report.numPassedTests + Number(counts[1]);
const failed = report.numFailedTests + Number(counts[2]);
const skipped = report.numPendingTests + report.numTodoTests + Number(counts[3]);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
if (failed > 0 || passed === 0) process.exitCode = 1;
