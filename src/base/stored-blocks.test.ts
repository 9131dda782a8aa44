/** @file Large matrices that products read some rows at a time: the same numbers as over the whole matrix. */
import { expect, test } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { storeMatrix, writeArray } from "../../test/support/stored-matrix.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import type { WeightForm } from "../graph/weight-form.ts";
import { cpu } from "../runtime/cpu.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { roundTo } from "./weight-storage.ts";

const [rows, columns] = [16_500, 512];
const shape = [rows, columns];
const numbers = Float32Array.from({ length: rows * columns }, (_, index) => ((index * 7919) % 1009) / 1009 - 0.5);
const wave = (count: number) => Float32Array.from({ length: count }, (_, index) => Math.sin(index));

/** Rows of the table, x W^T + c, and y W + d. */
function graphOverTable(): Graph {
  const builder = new GraphBuilder();
  const table = builder.weight("table", shape);
  const x = builder.input("x", "float32", ["n", columns]);
  const y = builder.input("y", "float32", ["n", rows]);
  const c = builder.input("c", "float32", [rows]);
  const d = builder.input("d", "float32", ["n", columns]);
  return graphOf([
    { name: "rows", value: builder.gather(table, builder.input("ids", "int64", ["ids"])) },
    { name: "plain", value: builder.gemm(x, table, { transB: true, alpha: 0.5 }) },
    { name: "withBias", value: builder.gemm(x, table, { transB: true, c, beta: 2 }) },
    { name: "back", value: builder.gemm(y, table, { c: d, beta: 0.5 }) },
  ]);
}

const feeds = {
  x: float32Tensor([3, columns], wave(3 * columns)),
  y: float32Tensor([3, rows], wave(3 * rows)),
  c: float32Tensor([rows], wave(rows)),
  d: float32Tensor([3, columns], wave(3 * columns)),
  ids: int64Tensor([5], [0, 16_383, 16_384, 16_499, 7]),
};

async function resultsOver(location: WeightLocation) {
  const session = await cpu.createSession(graphOverTable(), () => location);
  const results = await session.run(feeds);
  await session.dispose();
  return results;
}

const numbersOf = (tensor: Tensor | undefined) =>
  Array.from<number | bigint, number>(tensor?.data ?? [], Number);

test.each<WeightForm>([
  { kind: "bfloat16" },
  { kind: "float16" },
  { kind: "nf4", blockSize: 64 },
  { kind: "nf4", blockSize: 64, nestedBlockSize: 256 },
  { kind: "int8", axis: 0 },
  { kind: "int4", axis: 1, blockSize: 32 },
])("products over $kind", async (form) => {
  const expected = await resultsOver(writeArray("plain", roundTo(form, shape, numbers)));
  const found = await resultsOver(storeMatrix(form, shape, numbers));
  for (const name of ["rows", "plain", "withBias", "back"]) {
    const [ours, theirs] = [numbersOf(found[name]), numbersOf(expected[name])];
    expect(ours.length).toBe(theirs.length);
    const largest = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const furthest = ours.reduce((most, value, at) => Math.max(most, Math.abs(value - (theirs[at] ?? NaN))), 0);
    expect(furthest).toBeLessThan(2e-5 * largest);
    if (name === "rows") expect(furthest).toBe(0);
  }
});

test("an index behind the last row is refused as over the whole matrix", async () => {
  const session = await cpu.createSession(graphOverTable(), () => storeMatrix({ kind: "bfloat16" }, shape, numbers));
  const beyond = { ...feeds, ids: int64Tensor([1], [16_500]) };
  expect((await rejectionOf(() => session.run(beyond))).message).toContain(
    "indices element out of data bounds, idx=116 must be within the inclusive range [-116,115]",
  );
  await session.dispose();
});
