/**
 * @file The fast tests: beside what they test, and across rooms under test/. The reference cases have a runner of
 * their own (`npm run test:reference`).
 */
import { defineConfig } from "vitest/config";

/** Where the machine-readable results go as well, for whoever sums them up. */
const report = process.env["DELTAFIT_TEST_REPORT"];

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "scripts/**/*.test.ts"],
    globalSetup: ["test/e2e/build.ts"],
    // A process per file: the runtime's native sessions outlive what a worker thread can clean up.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]],
  },
});
