import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import type { BatchesOptions, BatchOrderOptions, PlacedBatch } from "./batches.ts";
import { batches, batchOrder, collate } from "./batches.ts";
import { deriveSeed } from "./derive-seed.ts";
import { maskExample } from "./masking.ts";
import type { TokenizedExample } from "./tokenized-example.ts";

describe("collating", () => {
  test("pads on the right to a multiple; padding has no mask and no label", () => {
    const batch = collate(
      [
        { inputIds: [5, 6, 7], tokenTypeIds: [0, 1, 1], labels: [-100, 6, 7] },
        { inputIds: [8], tokenTypeIds: [1], labels: [8] },
      ],
      { padTokenId: 9, padToMultipleOf: 4 },
    );
    expect(batch).toEqual({
      inputIds: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(5n, 6n, 7n, 9n, 8n, 9n, 9n, 9n) },
      attentionMask: {
        dtype: "int64",
        shape: [2, 4],
        data: BigInt64Array.of(1n, 1n, 1n, 0n, 1n, 0n, 0n, 0n),
      },
      tokenTypeIds: { dtype: "int64", shape: [2, 4], data: BigInt64Array.of(0n, 1n, 1n, 0n, 1n, 0n, 0n, 0n) },
      labels: {
        dtype: "int64",
        shape: [2, 4],
        data: BigInt64Array.of(-100n, 6n, 7n, -100n, 8n, -100n, -100n, -100n),
      },
      tokens: 4,
      supervisedTokens: 3,
    });
  });

  test("of pairs each side is padded by itself, only what is written to a multiple", () => {
    const batch = collate(
      [
        { inputIds: [5, 6, 7], targets: [1, 2] },
        { inputIds: [8], targets: [3, 4, 5, 6, 7] },
      ],
      { padTokenId: 9, padToMultipleOf: 4 },
    );
    const tensor = (shape: number[], data: bigint[]) => ({
      dtype: "int64",
      shape,
      data: BigInt64Array.from(data),
    });
    expect(batch).toEqual({
      inputIds: tensor([2, 3], [5n, 6n, 7n, 8n, 9n, 9n]),
      attentionMask: tensor([2, 3], [1n, 1n, 1n, 1n, 0n, 0n]),
      targets: tensor(
        [2, 8],
        [1n, 2n, ...Array<bigint>(6).fill(-100n), 3n, 4n, 5n, 6n, 7n, -100n, -100n, -100n],
      ),
      tokens: 11,
      supervisedTokens: 7,
    });
  });

  test("examples with one label have no labels at positions", () => {
    const batch = collate(
      [
        { inputIds: [1, 2], label: 3 },
        { inputIds: [1], label: 0.5 },
      ],
      { padTokenId: 0 },
    );
    expect(Object.keys(batch)).toEqual([
      "inputIds",
      "attentionMask",
      "classLabels",
      "tokens",
      "supervisedTokens",
    ]);
    expect([batch.classLabels, batch.tokens, batch.supervisedTokens]).toEqual([[3, 0.5], 3, 2]);
  });
});

describe("order", () => {
  const order = (options: Partial<BatchOrderOptions>, count = 10): number[][] =>
    batchOrder(count, { batchSize: 4, epoch: 0, seed: 1, ...options });

  test("each example comes once, the last batch may be smaller", () => {
    expect(order({}).map((batch) => batch.length)).toEqual([4, 4, 2]);
    expect(
      order({})
        .flat()
        .sort((a, b) => a - b),
    ).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(order({ shuffle: false })).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
  });

  test("follows from seed and epoch, and stays as it is from version to version", () => {
    expect(order({})).toMatchInlineSnapshot(`
      [
        [
          2,
          9,
          3,
          4,
        ],
        [
          5,
          6,
          0,
          1,
        ],
        [
          8,
          7,
        ],
      ]
    `);
    expect(order({ epoch: 1 })).not.toEqual(order({}));
    expect(order({ seed: 2 })).not.toEqual(order({}));
    expect(order({ seed: 2, epoch: 0 })).not.toEqual(order({ seed: 1, epoch: 1 }));
  });

  test("grouping puts similar lengths together, in shuffled batches", () => {
    const lengths = Array.from({ length: 1000 }, (_, index) => (index * 37) % 101);
    const bucketed = order({ groupByLength: true, lengths }, 1000);
    expect(new Set(bucketed.flat()).size).toBe(1000);
    const padding = (rows: readonly (readonly number[])[]): number =>
      rows.reduce((sum, row) => {
        const own = row.map((index) => lengths[index] ?? 0);
        return sum + Math.max(...own) * own.length - own.reduce((total, length) => total + length, 0);
      }, 0);
    expect(padding(bucketed)).toBeLessThan(padding(order({}, 1000)) / 10);
    const firstLengths = bucketed.slice(0, 20).map(([index = 0]) => lengths[index] ?? 0);
    expect(firstLengths).not.toEqual([...firstLengths].sort((a, b) => a - b));
    expect(order({ groupByLength: true, lengths }, 1000)).toEqual(bucketed);
  });

  test("a batch size must be a count", () => {
    expect(failureOf(() => order({ batchSize: 0 })).message).toBe(
      "Batch size: expected an integer above 0, found 0.",
    );
  });
});

describe("batches", () => {
  const examples: readonly TokenizedExample[] = Array.from({ length: 7 }, (_, index) => ({
    inputIds: Array.from({ length: 1 + (index % 3) }, () => index),
    labels: Array.from({ length: 1 + (index % 3) }, () => index),
  }));
  const options: BatchesOptions = { padTokenId: 0, batchSize: 3, seed: 5, groupByLength: true, epochs: 3 };

  test("go on from any cursor as if they had never stopped", () => {
    const all = [...batches(examples, options)];
    expect(all.map(({ cursor }) => [cursor.epoch, cursor.index])).toEqual([
      [0, 1],
      [0, 2],
      [1, 0],
      [1, 1],
      [1, 2],
      [2, 0],
      [2, 1],
      [2, 2],
      [3, 0],
    ]);
    all.forEach(({ cursor }, done) => {
      expect([...batches(examples, options, cursor)]).toEqual(all.slice(done + 1));
    });
  });

  test("never end without a number of epochs", () => {
    const { epochs: _epochs, ...endless } = options;
    const taken: PlacedBatch[] = [];
    for (const placed of batches(examples, endless)) if (taken.push(placed) === 20) break;
    expect(taken.at(-1)?.cursor).toEqual({ epoch: 6, index: 2 });
  });

  test("a transformation knows index and epoch", () => {
    const seen: string[] = [];
    const transform: BatchesOptions["transform"] = (example, index, epoch) => {
      seen.push(`${epoch}:${index}`);
      return example;
    };
    expect([
      ...batches(examples, { ...options, shuffle: false, groupByLength: false, epochs: 2, transform }),
    ]).toHaveLength(6);
    expect(seen.slice(5, 9)).toEqual(["0:5", "0:6", "1:0", "1:1"]);
  });

  test("a cursor beyond the epoch belongs to other data", () => {
    expect(failureOf(() => batches(examples, options, { epoch: 0, index: 4 }).next())).toEqual({
      code: "usage-invalid",
      message: "Batch cursor: expected an index from 0 to 3, found 4.",
      hint: "Resume with the data and the batch size of the run.",
    });
  });
});

describe("masking", () => {
  const length = 10_000;
  const ids = Array.from({ length }, (_, position) => 1000 + position);
  const example = { inputIds: [1, ...ids], labels: [-100, ...ids] };
  const options = { maskTokenId: 4, vocabularySize: 1000, seed: 3 };

  test("15 % are chosen: 80 % of them masked, 10 % replaced, 10 % kept", () => {
    const masked = maskExample(example, 0, 0, options);
    const chosen = masked.labels.flatMap((label, position) => (label === -100 ? [] : [position]));
    const share = (matches: (position: number) => boolean): number =>
      chosen.filter(matches).length / chosen.length;
    const isMask = (position: number): boolean => masked.inputIds[position] === 4;
    const isKept = (position: number): boolean => masked.inputIds[position] === example.inputIds[position];
    expect(chosen.length / length).toBeCloseTo(0.15, 1);
    expect(share(isMask)).toBeCloseTo(0.8, 1);
    expect(share(isKept)).toBeCloseTo(0.1, 1);
    expect(chosen.every((position) => masked.labels[position] === example.inputIds[position])).toBe(true);
    const others = example.inputIds.filter((_, position) => masked.labels[position] === -100);
    expect(masked.inputIds.filter((_, position) => masked.labels[position] === -100)).toEqual(others);
  });

  test("follows from seed, epoch and index", () => {
    const masked = maskExample(example, 4, 2, options);
    expect(maskExample(example, 4, 2, options)).toEqual(masked);
    for (const [index, epoch, seed] of [
      [5, 2, 3],
      [4, 3, 3],
      [4, 2, 4],
    ] as const) {
      expect(maskExample(example, index, epoch, { ...options, seed }).labels).not.toEqual(masked.labels);
    }
  });

  test("at least one token is chosen, never a special one", () => {
    for (let index = 0; index < 50; index++) {
      const { labels } = maskExample({ inputIds: [1, 7, 2], labels: [-100, 7, -100] }, index, 0, options);
      expect(labels).toEqual([-100, 7, -100]);
    }
  });

  test("a probability beyond 1 is refused", () => {
    expect(failureOf(() => maskExample(example, 0, 0, { ...options, probability: 15 })).message).toBe(
      "Masking probability: expected above 0 and up to 1, found 15.",
    );
  });
});

test("derived seeds differ for neighbouring and for large parts", () => {
  const seeds = [[], [0], [1], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 33], [-1]].map((parts) =>
    deriveSeed(...parts),
  );
  expect(new Set(seeds).size).toBe(seeds.length);
  expect(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)).toBe(true);
});
