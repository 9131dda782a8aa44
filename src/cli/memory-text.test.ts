import { expect, test } from "vitest";
import { describeBytes, describeEstimate, memoryExceeded } from "./memory-text.ts";

const bytes = {
  ...{ weights: 538e6, gradients: 1.8e6, optimizer: 12.9e6, activations: 1.415e9, workspace: 280e6 },
  total: 2.2477e9,
};

test("sizes are in the unit that leaves up to four digits", () => {
  expect([0, 1.84e6, 75.5e6, 2.2477e9, 23.8e9, 698.4e9, 4.89e12].map(describeBytes)).toEqual([
    ...["0.0 MB", "1.8 MB", "76 MB", "2.25 GB", "23.8 GB", "698 GB", "4.89 TB"],
  ]);
});

test("an estimate takes two lines of at most 80 columns", () => {
  expect(describeEstimate(bytes, 21.7e9)).toEqual([
    "memory: about 2.25 GB of 21.7 GB available",
    "  weights 538 MB, training 15 MB, activations 1.42 GB, workspace 280 MB",
  ]);
});

test("a run that does not fit names what would", () => {
  const { code, message, hint } = memoryExceeded(bytes, 2e9, [
    { settings: { recompute: true }, totalBytes: 1.2e9 },
    { settings: { batchSize: 2, accumulate: 2 }, totalBytes: 1.54e9 },
    { settings: { storage: "nf4" }, totalBytes: 1.6e9 },
  ]);
  expect({ code, message, hint }).toEqual({
    code: "memory-exceeded",
    message:
      "The run does not fit into memory: expected at most 2.00 GB, which are available, found about 2.25 GB.",
    hint: "These fit: --recompute (1.20 GB); --batch-size 2 --accumulate 2 (1.54 GB); --storage nf4 (1.60 GB). --ignore-memory starts it all the same.",
  });
});

test("where nothing helps, the hint says what else could", () => {
  expect(memoryExceeded(bytes, 1e8, []).hint).toBe(
    "No smaller batch, shorter row or storage makes it fit: use a smaller model or a method that trains less. --ignore-memory starts it all the same.",
  );
});
