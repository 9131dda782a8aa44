/**
 * @file Products in whole numbers of eight bits: ONNX Runtime computes what the interpreter computes, and both are near
 * the product of the numbers themselves.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { roundTo } from "../../src/base/weight-storage.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { graphOf, nodesOf } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import { print } from "../../src/graph/print.ts";
import { overKeptWeights } from "../../src/graph/stored-weights.ts";
import type { WeightForm } from "../../src/graph/weight-form.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { float32Tensor, int64Tensor } from "../../src/tensor/tensor.ts";
import { storeMatrix, writeArray } from "../support/stored-matrix.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { difference } from "./harness.ts";

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const shape = [12, 40] as const;
const values = new TorchGenerator(1).normal(480);
const isKept = { productAxes: [0, 1] } as const;

function locations() {
  const scaledBy = (axis: 0 | 1) => storeMatrix({ kind: "int8", axis }, shape, values);
  return { ...writeArray("float32", values), products: { byRow: scaledBy(0), byColumn: scaledBy(1) } };
}

const host = (extents: readonly number[], data: ArrayLike<number>) => ({
  shape: extents,
  data: Float64Array.from(data),
});

const cases: readonly {
  readonly name: string;
  readonly axis: 0 | 1;
  readonly columns: number;
  readonly build: (builder: GraphBuilder, x: Value, w: Value) => Value;
}[] = [
  { name: "x W^T", axis: 0, columns: 40, build: (b, x, w) => b.gemm(x, w, { transB: true }) },
  { name: "x W", axis: 1, columns: 12, build: (b, x, w) => b.gemm(x, w) },
  {
    name: "x W^T plus twice x's first columns",
    axis: 0,
    columns: 40,
    build: (b, x, w) => b.gemm(x, w, { transB: true, beta: 2, c: b.slice(x, 1, 0, 12) }),
  },
];

test.each(cases)("$name", async ({ axis, columns, build }) => {
  const builder = new GraphBuilder();
  const x = new TorchGenerator(2).normal(6 * columns);
  // A row of zeros, and one far smaller than the others.
  x.fill(0, 0, columns);
  for (let index = columns; index < 2 * columns; index++) x[index] = (x[index] ?? 0) * 1e-6;
  const y = build(builder, builder.input("x", "float32", ["rows", columns]), builder.weight("w", shape));
  const graph = graphOf([{ name: "y", value: y }]);
  const session = await cpu.createSession(graph, locations, { threads: 1 });
  const actual = (await session.run({ x: float32Tensor([6, columns], x) }))["y"]!;
  await session.dispose();
  const found = host(actual.shape, actual.data as Float32Array);
  const feeds = { x: host([6, columns], x), w: host(shape, roundTo({ kind: "int8", axis }, shape, values)) };
  const exact = interpret(
    overKeptWeights(graph, () => isKept),
    feeds,
  )["y"];
  expect(difference(found, exact)).toBeLessThan(1e-5);
  const near = interpret(graph, { ...feeds, w: host(shape, values) })["y"]!;
  for (const row of [0, 1, 2, 3, 4, 5]) {
    const width = near.shape[1]!;
    const of = (array: Float64Array) => array.subarray(row * width, (row + 1) * width);
    const largest = Math.max(...of(near.data).map(Math.abs));
    for (const [index, value] of of(near.data).entries())
      expect(Math.abs(of(found.data)[index]! - value)).toBeLessThanOrEqual(0.03 * largest);
  }
});

describe("the gradient of a softmax times the matrix that made the logits", () => {
  const [classes, size] = [96, 5];
  const rounded = roundTo(
    { kind: "int8", axis: 1 },
    [classes, size],
    new TorchGenerator(6).normal(classes * size),
  );
  const isOutput = () => ({ productAxes: [1], isOutput: true }) as const;

  function build(wide: number, change = (dlogits: Value, _builder: GraphBuilder) => dlogits) {
    const builder = new GraphBuilder();
    const logits = builder.input("logits", "float32", ["rows", wide]);
    const targets = builder.input("targets", "int64", ["rows"]);
    const dy = builder.input("dy", "float32", ["rows"]);
    const dlogits = builder.softmaxCrossEntropyLossGradient(dy, logits, targets);
    const addend = builder.input("c", "float32", ["rows", size]);
    const w = builder.weight("w", [wide, size]);
    const y = builder.gemm(change(dlogits, builder), w, { beta: 2, c: addend });
    return graphOf([{ name: "y", value: y }]);
  }

  test("small probabilities are not lost beside the target's or each other", async () => {
    const graph = build(classes);
    const logits = new TorchGenerator(7).normal(3 * classes).map((value) => 3 * value);
    // A target that is missed, one that is nearly certain, and a class that is wrong and nearly certain.
    logits[classes + 8] = 12;
    logits[2 * classes + 8] = 14;
    const [targets, dy, addend] = [[3, 8, 40], [1, 1, -0.5], new TorchGenerator(8).normal(3 * size)];
    const byColumn = storeMatrix({ kind: "int8", axis: 1 }, [classes, size], rounded);
    const products = { byRow: undefined, byColumn, isOutput: true };
    const session = await cpu.createSession(graph, () => ({ ...writeArray("w", rounded), products }), {
      threads: 1,
    });
    const found = (
      await session.run({
        logits: float32Tensor([3, classes], logits),
        targets: int64Tensor([3], targets),
        dy: float32Tensor([3], Float32Array.from(dy)),
        c: float32Tensor([3, size], addend),
      })
    )["y"]!;
    await session.dispose();
    const feeds = {
      ...{ logits: host([3, classes], logits), targets: host([3], targets), dy: host([3], dy) },
      ...{ c: host([3, size], addend), w: host([classes, size], rounded) },
    };
    const kept = overKeptWeights(graph, isOutput);
    expect(nodesOf(kept, "QuantizedGemm")).toHaveLength(32);
    const same = interpret(kept, feeds)["y"]!;
    expect(difference(host([3, size], found.data as Float32Array), same)).toBeLessThan(1e-5);
    const exact = interpret(graph, feeds)["y"]!;
    for (const row of [0, 1, 2]) {
      const of = ({ data }: { data: Float64Array }) =>
        data
          .subarray(row * size, (row + 1) * size)
          .map((value, index) => value - 2 * (addend[row * size + index] ?? 0));
      const error = of(same).map((value, index) => value - (of(exact)[index] ?? 0));
      expect(Math.hypot(...error)).toBeLessThan(0.005 * Math.hypot(...of(exact)));
    }
  });

  test("it stays as it is where something lies between, and where the classes have no equal runs", () => {
    const scaled = build(classes, (dlogits, builder) => builder.scale(dlogits, 2));
    for (const graph of [scaled, build(97), build(2 * 97)]) {
      const kept = overKeptWeights(graph, isOutput);
      expect([nodesOf(kept, "QuantizedGemm").length, nodesOf(kept, "Gemm").length]).toEqual([0, 1]);
    }
  });
});

test("few rows are multiplied with blocks of four bits", async () => {
  const [rows, columns, blockSize] = [12, 64, 32];
  const matrix = new TorchGenerator(3).normal(rows * columns);
  const keep = (form: WeightForm) => storeMatrix(form, [rows, columns], matrix);
  const blocks = keep({ kind: "int4-blocks", blockSize });
  const [byRow, byColumn] = [keep({ kind: "int8", axis: 0 }), keep({ kind: "int8", axis: 1 })];
  const builder = new GraphBuilder();
  const x = new TorchGenerator(4).normal(2 * columns);
  const addend = new TorchGenerator(5).normal(2 * rows);
  const c = builder.input("c", "float32", ["rows", rows]);
  const w = builder.weight("w", [rows, columns]);
  const y = builder.gemm(builder.input("x", "float32", ["rows", columns]), w, { transB: true, beta: 2, c });
  const graph = graphOf([{ name: "y", value: y }]);
  const locate = () => ({ ...byRow, products: { byRow, byColumn, blocks: () => blocks } });
  const session = await cpu.createSession(graph, locate, { threads: 1, fewRows: true });
  const found = await session.run({ x: float32Tensor([2, columns], x), c: float32Tensor([2, rows], addend) });
  await session.dispose();
  const rounded = roundTo({ kind: "int4-blocks", blockSize }, [rows, columns], matrix);
  expect(rounded).toEqual(roundTo({ kind: "int4", axis: 1, blockSize }, [rows, columns], matrix));
  const feeds = {
    x: host([2, columns], x),
    c: host([2, rows], addend),
    w: host([rows, columns], rounded),
  };
  const kept = overKeptWeights(graph, () => ({ productAxes: [0, 1], blockSize }));
  expect(nodesOf(kept, "BlockGemm")).toHaveLength(1);
  const exact = interpret(kept, feeds)["y"]!;
  // The rows are rounded to eight bits, 64 products a sum.
  const largest = Math.max(...exact.data.map(Math.abs));
  for (const [index, value] of exact.data.entries())
    expect(Math.abs((found["y"]!.data as Float32Array)[index]! - value)).toBeLessThan(0.01 * largest);
});

test("inputs are rounded once for all products that read them, and other products stay as they are", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 8]);
  const [q, k] = [builder.weight("q", [4, 8]), builder.weight("k", [4, 8])];
  const both = builder.add(builder.gemm(x, q, { transB: true }), builder.gemm(x, k, { transB: true }));
  const few = builder.gemm(builder.input("a", "float32", [2, 8]), q, { transB: true });
  const graph = graphOf([
    { name: "both", value: both },
    { name: "few", value: few },
  ]);
  expect(print(overKeptWeights(graph, () => isKept))).toMatchInlineSnapshot(`
    "%0: float32[rows, 8] = Input(name="x")
    %1: float32[4, 8] = Weight(name="q")
    %2: float32[4, 8] = Weight(name="q", form={"kind":"int8","axis":0})
    %3: float32[rows, 1] = RowScale(%0, zeroPoint=128)
    %4: uint8[rows, 8] = QuantizeRows(%0, %3, zeroPoint=128)
    %5: float32[rows, 4] = QuantizedGemm(%4, %2, transB=true, zeroPoint=128)
    %6: float32[rows, 4] = Mul(%5, %3)
    %7: float32[4, 8] = Weight(name="k", form={"kind":"int8","axis":0})
    %8: float32[rows, 4] = QuantizedGemm(%4, %7, transB=true, zeroPoint=128)
    %9: float32[rows, 4] = Mul(%8, %3)
    %10: float32[rows, 4] = Add(%6, %9)
    %11: float32[2, 8] = Input(name="a")
    %12: float32[2, 4] = Gemm(%11, %1, alpha=1, beta=1, transA=false, transB=true)
    both = %10
    few = %12"
  `);
});

test("a matrix is read in eight bits only by products along the axes that it is there for", () => {
  const builder = new GraphBuilder();
  const w = builder.weight("w", [4, 8]);
  const forward = builder.gemm(builder.input("x", "float32", ["rows", 8]), w, { transB: true });
  const backward = builder.gemm(builder.input("dy", "float32", ["rows", 4]), w, {});
  const graph = graphOf([
    { name: "forward", value: forward },
    { name: "backward", value: backward },
  ]);
  const counts = ([[0], [1], [0, 1]] as const).map((productAxes) => {
    const kept = overKeptWeights(graph, () => ({ productAxes }));
    return [
      nodesOf(kept, "QuantizedGemm").length,
      nodesOf(kept, "Gemm").map(({ attributes }) => attributes.transB),
    ];
  });
  expect(counts).toEqual([
    [1, [false]],
    [1, [true]],
    [2, []],
  ]);
});

test("a graph whose weights are all float32 is left alone", () => {
  const builder = new GraphBuilder();
  const graph = graphOf([{ name: "y", value: builder.scale(builder.weight("w", [2]), 2) }]);
  expect(overKeptWeights(graph, () => ({ productAxes: [] }))).toBe(graph);
});
