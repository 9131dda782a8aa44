/** @file The statistics of the dropout mask: shares, and independence of rows, columns, sites and seeds. */
import { describe, expect, test } from "vitest";
import { GraphBuilder } from "../builder.ts";
import { gradient } from "../gradient.ts";
import { graphOf } from "../graph.ts";
import { interpret } from "../interpret.ts";

interface Mask {
  readonly rows: number;
  readonly columns: number;
  readonly ratio: number;
  readonly site?: number;
  readonly seed?: number;
}

/** 1 where an element is kept. */
function maskOf({ rows, columns, ratio, site = 3, seed = 7 }: Mask): Float64Array {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [rows, columns]);
  const kept = builder.seededDropout(x, builder.input("seed", "int32", [1]), { ratio, site });
  const feeds = {
    x: { shape: [rows, columns], data: new Float64Array(rows * columns).fill(1) },
    seed: { shape: [1], data: Float64Array.of(seed) },
  };
  return interpret(graphOf([{ name: "kept", value: kept }]), feeds)["kept"]!.data.map((value) =>
    Math.sign(value),
  );
}

const mean = (values: Float64Array) => values.reduce((a, b) => a + b, 0) / values.length;

/** Correlation in units of what chance gives: about a standard normal variable for independent masks. */
function correlation(a: Float64Array, b: Float64Array): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  const covariance = mean(a.map((value, index) => (value - meanA) * (b[index]! - meanB)));
  const deviation = Math.sqrt(meanA * (1 - meanA) * meanB * (1 - meanB));
  return (covariance / deviation) * Math.sqrt(a.length);
}

/** The correlations of all pairs among the first lines, summed up. */
function pairs(lines: readonly Float64Array[]): { spread: number; largest: number } {
  const all = lines.flatMap((line, index) => lines.slice(0, index).map((other) => correlation(line, other)));
  return {
    spread: Math.sqrt(mean(Float64Array.from(all, (z) => z * z))),
    largest: Math.max(...all.map(Math.abs)),
  };
}

describe.each([0.05, 0.1, 0.5, 0.9])("with a ratio of %d", (ratio) => {
  test("the kept share is one less the ratio", () => {
    const mask = maskOf({ rows: 256, columns: 512, ratio });
    const deviation = Math.sqrt((ratio * (1 - ratio)) / mask.length);
    expect(Math.abs(mean(mask) - (1 - ratio)) / deviation).toBeLessThan(4);
  });

  test("rows are independent", () => {
    const columns = 2048;
    const mask = maskOf({ rows: 32, columns, ratio });
    const { spread, largest } = pairs(
      Array.from({ length: 32 }, (_, row) => mask.subarray(row * columns, (row + 1) * columns)),
    );
    expect(spread).toBeLessThan(1.15);
    expect(largest).toBeLessThan(6);
  });

  test("columns are independent", () => {
    const [rows, columns] = [2048, 32];
    const mask = maskOf({ rows, columns, ratio });
    const column = (at: number) => Float64Array.from({ length: rows }, (_, row) => mask[row * columns + at]!);
    const { spread, largest } = pairs(Array.from({ length: columns }, (_, at) => column(at)));
    expect(spread).toBeLessThan(1.15);
    expect(largest).toBeLessThan(6);
  });

  test.each([
    ["neighbouring sites", { site: 0, seed: 0 }, { site: 1, seed: 0 }],
    ["neighbouring seeds", { site: 0, seed: 0 }, { site: 0, seed: 1 }],
    ["site and seed exchanged", { site: 1, seed: 2 }, { site: 2, seed: 1 }],
    ["seeds of opposite sign", { site: 4, seed: 1234 }, { site: 4, seed: -1234 }],
  ])("%s are independent, also shifted by a row", (_name, first, second) => {
    const [rows, columns] = [256, 256];
    const a = maskOf({ rows, columns, ratio, ...first });
    const b = maskOf({ rows, columns, ratio, ...second });
    expect(Math.abs(correlation(a, b))).toBeLessThan(4);
    expect(Math.abs(correlation(a.subarray(columns), b.subarray(0, -columns)))).toBeLessThan(4);
    expect(Math.abs(correlation(b.subarray(columns), a.subarray(0, -columns)))).toBeLessThan(4);
  });
});

test("rows are hashed apart from columns", () => {
  const size = 256;
  const mask = maskOf({ rows: size, columns: size, ratio: 0.5 });
  const transposed = mask.map((_, element) => mask[(element % size) * size + Math.floor(element / size)]!);
  // Each pair of places counts twice.
  expect(Math.abs(correlation(mask, transposed))).toBeLessThan(4 * Math.SQRT2);
});

test("a ratio of zero keeps everything and a ratio of one nothing", () => {
  expect(new Set(maskOf({ rows: 64, columns: 64, ratio: 0 }))).toEqual(new Set([1]));
  expect(new Set(maskOf({ rows: 64, columns: 64, ratio: 1 }))).toEqual(new Set([0]));
});

test("the same seed gives the same mask, and what is kept is scaled up", () => {
  expect(maskOf({ rows: 8, columns: 8, ratio: 0.5 })).toEqual(maskOf({ rows: 8, columns: 8, ratio: 0.5 }));
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [4]);
  const y = builder.seededDropout(x, builder.input("seed", "int32", [1]), { ratio: 0.75, site: 0 });
  const [slope] = gradient(builder, builder.sumAll(y), [x]);
  const graph = graphOf([
    { name: "y", value: y },
    { name: "slope", value: slope! },
  ]);
  const feeds = (seed: number) => ({
    x: { shape: [4], data: Float64Array.of(1, 2, 3, 4) },
    seed: { shape: [1], data: Float64Array.of(seed) },
  });
  for (let seed = 0; seed < 5; seed++) {
    const results = interpret(graph, feeds(seed));
    expect(results["y"]!.data).toEqual(results["slope"]!.data.map((factor, index) => factor * (index + 1)));
    expect([0, 4]).toEqual(expect.arrayContaining([...results["slope"]!.data]));
  }
});
