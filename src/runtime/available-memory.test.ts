import os from "node:os";
import { expect, test } from "vitest";
import { availableMemoryBytes } from "./available-memory.ts";

test("is at least what the process holds and at most what there is", () => {
  const held = process.memoryUsage.rss();
  const available = availableMemoryBytes();
  expect(available).toBeGreaterThan(held / 2);
  expect(available).toBeLessThanOrEqual(os.totalmem());
});
