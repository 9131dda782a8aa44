/** @file Disentangled attention against its definition, and the rows of relative positions that the original gives. */
import { describe, expect, test } from "vitest";
import { GraphBuilder } from "../../graph/builder.ts";
import { graphOf } from "../../graph/graph.ts";
import { interpret } from "../../graph/interpret.ts";
import { relativeRow, relativeScores } from "./disentangled-attention.ts";
import type { RelativePositions } from "./disentangled-attention.ts";

const distances = [-40, -20, -9, -6, -5, -4, -3, 0, 3, 4, 5, 6, 9, 20, 40];
const rowsOf = (positions: RelativePositions) =>
  distances.map((distance) => relativeRow(distance, positions));

describe("rows of relative positions", () => {
  test("without buckets each distance has its own, up to the ends of the table", () => {
    const rows = rowsOf({ span: 6, maximumDistance: 6 });
    expect(rows).toEqual([0, 0, 0, 0, 1, 2, 3, 6, 9, 10, 11, 11, 11, 11, 11]);
  });

  // Values of transformers' make_log_bucket_position(distance, 8, 40) + 8, limited to 0 .. 15.
  test("with buckets they grow logarithmically beyond half the buckets", () => {
    const rows = rowsOf({ span: 8, buckets: 8, maximumDistance: 40 });
    expect(rows).toEqual([0, 1, 2, 3, 3, 4, 5, 8, 11, 12, 13, 13, 14, 15, 15]);
  });
});

const [batch, heads, size] = [2, 2, 3];
const numbers = (count: number, seed: number) =>
  Float64Array.from({ length: count }, (_, index) => Math.sin((index + 1) * seed));

/** Scores as the graph computes them, and as equation 4 of the paper states them. */
function scores(
  length: number,
  positions: RelativePositions,
  kinds: { readonly keys: boolean; readonly queries: boolean },
) {
  const rows = 2 * positions.span;
  const data = {
    query: { shape: [batch, heads, length, size], data: numbers(batch * heads * length * size, 0.7) },
    key: { shape: [batch, heads, length, size], data: numbers(batch * heads * length * size, 1.3) },
    positionKeys: { shape: [rows, heads * size], data: numbers(rows * heads * size, 0.9) },
    positionQueries: { shape: [rows, heads * size], data: numbers(rows * heads * size, 2.1) },
  };
  const builder = new GraphBuilder();
  const content = (name: string) => builder.input(name, "float32", ["batch", heads, "length", size]);
  const table = (name: string) => builder.input(name, "float32", [rows, heads * size]);
  const value = relativeScores(builder, {
    query: content("query"),
    key: content("key"),
    positionKeys: kinds.keys ? table("positionKeys") : undefined,
    positionQueries: kinds.queries ? table("positionQueries") : undefined,
    positions,
    maximumLength: 6,
  });
  if (!value) return { actual: undefined, expected: undefined };
  const actual = interpret(graphOf([{ name: "scores", value }]), data)["scores"];
  const dot = (of: Float64Array, row: number, from: Float64Array, place: number, head: number) => {
    let sum = 0;
    for (let index = 0; index < size; index++)
      sum += (of[row * size + index] ?? 0) * (from[place * heads * size + head * size + index] ?? 0);
    return sum;
  };
  const expected: number[] = [];
  for (let row = 0; row < batch * heads; row++)
    for (let i = 0; i < length; i++)
      for (let j = 0; j < length; j++) {
        const place = relativeRow(i - j, positions);
        const toPosition = dot(data.query.data, row * length + i, data.positionKeys.data, place, row % heads);
        const toContent = dot(data.key.data, row * length + j, data.positionQueries.data, place, row % heads);
        expected.push((kinds.keys ? toPosition : 0) + (kinds.queries ? toContent : 0));
      }
  return { actual: Array.from(actual?.data ?? []), expected };
}

describe("scores that depend on positions", () => {
  const plain: RelativePositions = { span: 4, maximumDistance: 4 };
  const bucketed: RelativePositions = { span: 3, buckets: 3, maximumDistance: 6 };
  const both = { keys: true, queries: true };

  test.each([
    ["of one position", 1, plain, both],
    ["of two positions", 2, plain, both],
    ["of as many positions as the model has", 6, plain, both],
    ["in buckets", 5, bucketed, both],
    ["of content to position only", 5, plain, { keys: true, queries: false }],
    ["of position to content only", 5, bucketed, { keys: false, queries: true }],
  ] as const)("%s", (_name, length, positions, kinds) => {
    const { actual, expected } = scores(length, positions, kinds);
    expect(actual).toHaveLength(expected?.length ?? 0);
    for (const [index, value] of (expected ?? []).entries()) expect(actual?.[index]).toBeCloseTo(value, 12);
  });

  test("there are none without a table", () => {
    expect(scores(3, plain, { keys: false, queries: false }).actual).toBeUndefined();
  });
});
