import { describe, expect, test } from "vitest";
import { TorchGenerator } from "../tensor/random.ts";
import { collate } from "./batches.ts";
import { packRows } from "./packing.ts";

const wide = { maximumLength: 1000, attentionLength: 500 };

describe("packing rows", () => {
  test("every example is in one row, and fits", () => {
    for (let seed = 0; seed < 20; seed++) {
      const lengths = [...new TorchGenerator(seed).uniform(16, 1, 60)].map(Math.floor);
      const { rows, length } = packRows(lengths, 4, wide);
      expect(rows.flat().sort((a, b) => a - b)).toEqual(lengths.map((_, index) => index));
      expect(length % 4).toBe(0);
      for (const row of rows)
        expect(row.reduce((sum, index) => sum + (lengths[index] ?? 0), 0)).toBeLessThanOrEqual(length);
      const positions = rows.length * length;
      const tokens = lengths.reduce((sum, own) => sum + own, 0);
      expect(tokens / positions).toBeGreaterThan(0.85);
      expect(packRows(lengths, 4, wide)).toEqual({ rows, length });
    }
  });

  test("the longest go first, to the row they fill best", () => {
    expect(packRows([3, 8, 5, 2, 6], 1, { maximumLength: 8, attentionLength: 100 })).toEqual({
      rows: [[1], [4, 3], [2, 0]],
      length: 8,
    });
  });

  test("dear attention keeps rows short, cheap attention makes them few", () => {
    const lengths = [10, 9, 9, 9];
    expect(packRows(lengths, 1, { maximumLength: 40, attentionLength: 5 }).rows).toHaveLength(4);
    expect(packRows(lengths, 1, { maximumLength: 40, attentionLength: 5000 })).toEqual({
      rows: [[0, 1, 2, 3]],
      length: 37,
    });
    expect(packRows(lengths, 1, { maximumLength: 20, attentionLength: 5000 })).toEqual({
      rows: [
        [0, 1],
        [2, 3],
      ],
      length: 19,
    });
  });

  test("an example beyond the longest row has a row of its own", () => {
    expect(packRows([9, 2], 4, { maximumLength: 7, attentionLength: 100 })).toEqual({
      rows: [[0, 1]],
      length: 12,
    });
    expect(packRows([12, 2], 4, { maximumLength: 7, attentionLength: 100 })).toEqual({
      rows: [[0], [1]],
      length: 12,
    });
  });
});

test("a packed batch says where its examples start, and has their labels in the order of the rows", () => {
  const batch = collate(
    [
      { inputIds: [5, 6], tokenTypeIds: [0, 1], label: 1 },
      { inputIds: [7, 8, 9], tokenTypeIds: [0, 0, 1], label: 2 },
      { inputIds: [4], tokenTypeIds: [0], label: 3 },
    ],
    { padTokenId: 0, padToMultipleOf: 4, pack: { maximumLength: 4, attentionLength: 100 } },
  );
  expect(batch).toEqual({
    inputIds: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(7n, 8n, 9n, 4n, 5n, 6n, 0n, 0n) },
    attentionMask: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(1n, 1n, 1n, 1n, 1n, 1n, 0n, 0n) },
    tokenTypeIds: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(0n, 0n, 1n, 0n, 0n, 1n, 0n, 0n) },
    sequenceStarts: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(0n, 0n, 0n, 3n, 0n, 0n, 2n, 2n) },
    classLabels: [2, 3, 1],
    tokens: 6,
    supervisedTokens: 3,
  });
});
