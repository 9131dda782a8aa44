/**
 * @file Matrices in other forms than float32: whatever use a graph makes of one, ONNX Runtime computes what the
 * interpreter computes from the numbers that the form stands for.
 */
import { expect, test } from "vitest";
import { roundTo } from "../../src/base/weight-storage.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { graphOf } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import type { WeightForm } from "../../src/graph/weight-form.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { float32Tensor } from "../../src/tensor/tensor.ts";
import { storeMatrix } from "../support/stored-matrix.ts";
import { difference } from "./harness.ts";

const forms: readonly (readonly [string, WeightForm])[] = [
  ["nf4", { kind: "nf4", blockSize: 64 }],
  ["fp4", { kind: "fp4", blockSize: 64 }],
  ["nf4 twice", { kind: "nf4", blockSize: 64, nestedBlockSize: 256 }],
  ["fp4 twice, in small blocks", { kind: "fp4", blockSize: 16, nestedBlockSize: 4 }],
  ["bfloat16", { kind: "bfloat16" }],
  ["float16", { kind: "float16" }],
  ["int8 by row", { kind: "int8", axis: 0 }],
  ["int8 by column", { kind: "int8", axis: 1 }],
  ["int4 along rows", { kind: "int4", axis: 1, blockSize: 32 }],
  ["int4 along columns", { kind: "int4", axis: 0, blockSize: 32 }],
];

interface Use {
  readonly name: string;
  readonly shape: readonly [number, number];
  readonly build: (
    builder: GraphBuilder,
    weight: Value,
    x: (shape: readonly (number | string)[]) => Value,
  ) => Value;
}

const rows = 5;
const uses: readonly Use[] = [
  ...(
    [
      [32, 64],
      [64, 32],
      [24, 40],
      [6, 10],
      [33, 10],
      [128, 192],
    ] as const
  ).flatMap(([out, columns]): Use[] => [
    {
      name: "x W^T",
      shape: [out, columns],
      build: (b, w, x) => b.gemm(x(["rows", columns]), w, { transB: true }),
    },
    { name: "x W", shape: [out, columns], build: (b, w, x) => b.gemm(x(["rows", out]), w) },
  ]),
  {
    name: "x^T W^T scaled, plus a vector",
    shape: [6, 10],
    build: (b, w, x) =>
      b.gemm(x([10, "rows"]), w, { transA: true, transB: true, alpha: 3, beta: 2, c: x([6]) }),
  },
  {
    name: "W x^T",
    shape: [6, 10],
    build: (b, w, x) => b.gemm(w, x(["rows", 10]), { transB: true, alpha: 2 }),
  },
  { name: "W^T x", shape: [6, 10], build: (b, w, x) => b.gemm(w, x([6, "rows"]), { transA: true }) },
  { name: "squares of its rows", shape: [33, 10], build: (b, w) => b.reduceSum(b.multiply(w, w), [1]) },
  {
    name: "rows of it, and a product",
    shape: [12, 64],
    build: (b, w, x) =>
      b.gemm(
        b.gemm(x(["rows", 64]), w, { transB: true }),
        b.gather(w, b.constant("int64", [12], [3, 0, 1, 2, 5, 4, 6, 7, 8, 9, 11, 10])),
      ),
  },
];

test.each(forms.flatMap(([form, settings]) => uses.map((use) => ({ form, settings, use }))))(
  "$form $use.shape: $use.name",
  async ({ settings, use }) => {
    const builder = new GraphBuilder();
    const generator = new TorchGenerator(3);
    const feeds: Record<string, { shape: number[]; data: Float32Array }> = {};
    const x = (shape: readonly (number | string)[]) => {
      const name = `x${Object.keys(feeds).length}`;
      const extents = shape.map((extent) => (typeof extent === "string" ? rows : extent));
      feeds[name] = { shape: extents, data: generator.normal(extents.reduce((a, b) => a * b, 1)) };
      return builder.input(name, "float32", shape);
    };
    const [out, columns] = use.shape;
    const values = generator.normal(out * columns);
    const y = use.build(builder, builder.weight("w", use.shape), x);
    const graph = graphOf([{ name: "y", value: y }]);
    const location = storeMatrix(settings, use.shape, values);
    const session = await cpu.createSession(graph, () => location, { threads: 1 });
    const results = await session.run(
      Object.fromEntries(
        Object.entries(feeds).map(([name, { shape, data }]) => [name, float32Tensor(shape, data)]),
      ),
    );
    await session.dispose();
    const w = { shape: [...use.shape], data: Float64Array.from(roundTo(settings, use.shape, values)) };
    const arrays = Object.fromEntries(
      Object.entries(feeds).map(([name, { shape, data }]) => [
        name,
        { shape, data: Float64Array.from(data) },
      ]),
    );
    const expected = interpret(graph, { ...arrays, w })["y"];
    const actual = results["y"];
    const found = actual && { shape: actual.shape, data: Float64Array.from(actual.data as Float32Array) };
    expect(difference(found, expected)).toBeLessThan(1e-5);
  },
);
