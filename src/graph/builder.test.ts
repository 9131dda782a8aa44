/** @file What the builder makes once, what it leaves out, and what it refuses. */
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { GraphBuilder } from "./builder.ts";
import { graphOf, nodesOf } from "./graph.ts";
import type { Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import { print } from "./print.ts";

function start() {
  const builder = new GraphBuilder();
  return {
    builder,
    x: builder.input("x", "float32", ["batch", 3]),
    n: builder.input("n", "int64", ["batch"]),
  };
}

describe("equal nodes are made once", () => {
  test("leaves, literals and operations", () => {
    const { builder, x } = start();
    expect(builder.input("x", "float32", ["batch", 3])).toBe(x);
    expect(builder.weight("w", [3])).toBe(builder.weight("w", [3]));
    expect(builder.scalar(0.5)).toBe(builder.scalar(0.5));
    expect(builder.tanh(builder.negate(x))).toBe(builder.tanh(builder.negate(x)));
    expect(builder.gelu(x, "tanh")).not.toBe(builder.gelu(x, "none"));
    expect(builder.reduceSum(x, [1])).not.toBe(builder.reduceSum(x, [1], false));
    expect(builder.seededDropout(x, n32(builder), { ratio: 0.5, site: 1 })).toBe(
      builder.seededDropout(x, n32(builder), { site: 1, ratio: 0.5 }),
    );
  });

  test("literals of different numbers stay apart, also those that JSON confuses", () => {
    const { builder } = start();
    const values = [0, -0, NaN, Infinity, -Infinity, 1];
    expect(new Set(values.map((value) => builder.scalar(value))).size).toBe(values.length);
    expect(builder.constant("float32", [1], [0])).not.toBe(builder.constant("float32", [], [0]));
    expect(builder.constant("float32", [], [0])).not.toBe(builder.constant("int64", [], [0]));
  });

  const n32 = (builder: GraphBuilder) => builder.input("seed", "int32", [1]);
});

describe("what changes nothing is left out", () => {
  test.each<[string, (builder: GraphBuilder, x: Value) => Value]>([
    ["x + 0", (b, x) => b.add(x, b.scalar(0))],
    ["0 + x", (b, x) => b.add(b.constant("float32", [1, 3], [0, 0, 0]), x)],
    ["x - 0", (b, x) => b.subtract(x, b.scalar(0))],
    ["x * 1", (b, x) => b.multiply(x, b.expand(b.scalar(1), ["batch", 3]))],
    ["1 * x", (b, x) => b.multiply(b.scalar(1), x)],
    ["x / 1", (b, x) => b.divide(x, b.scalar(1))],
    ["scaling by 1", (b, x) => b.scale(x, 1)],
    ["a cast to its own type", (b, x) => b.cast(x, "float32")],
    ["its own shape", (b, x) => b.reshape(x, ["batch", 3])],
    ["there and back", (b, x) => b.reshape(b.reshape(x, ["3*batch"]), ["batch", 3])],
    ["transposed twice", (b, x) => b.transposeLast(b.transposeLast(x))],
    ["concatenation of one", (b, x) => b.concat([x], 1)],
    ["the whole slice", (b, x) => b.slice(x, 0, 0, "batch")],
    ["padding by nothing", (b, x) => b.pad(x, 0, 0, 0)],
    ["expansion to its own shape", (b, x) => b.expand(x, ["batch", 3])],
    ["a sum over no axes", (b, x) => b.reduceSum(x, [])],
    ["a mean over no axes", (b, x) => b.reduceMean(x, [], false)],
    ["a maximum over no axes", (b, x) => b.reduceMax(x, [])],
    ["a sum to its own shape", (b, x) => b.sumToShape(x, ["batch", 3])],
  ])("%s", (_name, build) => {
    const { builder, x } = start();
    expect(build(builder, x)).toBe(x);
  });

  test("but a literal that broadcasts to more stays", () => {
    const { builder } = start();
    const row = builder.input("row", "float32", [3]);
    expect(builder.multiply(row, builder.constant("float32", [2, 1], [1, 1])).shape).toEqual([2, 3]);
    expect(builder.add(builder.constant("float32", [2, 1], [0, 0]), row).shape).toEqual([2, 3]);
  });

  test("transposes in a row become one", () => {
    const { builder } = start();
    const x = builder.input("three", "float32", [2, 3, 4]);
    const twice = builder.transpose(builder.transpose(x, [1, 2, 0]), [0, 2, 1]);
    expect(twice.shape).toEqual([3, 2, 4]);
    expect(twice.node.inputs).toEqual([x]);
  });
});

test("a graph holds only what its outputs need, in running order", () => {
  const { builder, x } = start();
  const wanted = builder.tanh(builder.negate(x));
  builder.exponential(wanted);
  const graph = graphOf([{ name: "y", value: wanted }]);
  expect(graph.nodes.map(({ operation }) => operation)).toEqual(["Input", "Neg", "Tanh"]);
  expect(nodesOf(graph, "Input").map(({ attributes }) => attributes.name)).toEqual(["x"]);
});

test("a split covers symbolic extents", () => {
  const { builder } = start();
  const x = builder.input("long", "float32", ["2*length+4"]);
  const graph = graphOf(
    builder.split(x, 0, ["length", 4, "length"]).map((value, index) => ({ name: `part${index}`, value })),
  );
  expect(print(graph)).toMatchInlineSnapshot(`
    "%0: float32[2*length+4] = Input(name="long")
    %1: float32[length] = Slice(%0, axis=0, start=0, end="length")
    %2: float32[4] = Slice(%0, axis=0, start="length", end="length+4")
    %3: float32[length] = Slice(%0, axis=0, start="length+4", end="2*length+4")
    part0 = %1
    part1 = %2
    part2 = %3"
  `);
});

test("a gradient is summed to the shape it was broadcast from", () => {
  const { builder } = start();
  const dy = builder.input("dy", "float32", ["batch", 2, 3]);
  for (const shape of [[], [1], [3], [2, 1], [1, 1, 1], ["batch", 1, 3]]) {
    const sum = builder.sumToShape(dy, shape);
    expect(sum.shape).toEqual(shape);
    const data = Float64Array.from({ length: 12 }, (_, index) => index);
    const results = interpret(graphOf([{ name: "sum", value: sum }]), { dy: { shape: [2, 2, 3], data } });
    expect(results["sum"]!.data.reduce((a, b) => a + b, 0)).toBe(66);
  }
  expect(builder.sumToShape(builder.scalar(1), [2, 3]).shape).toEqual([2, 3]);
  expect(failureOf(() => builder.sumToShape(builder.constant("float32", [2], [1, 2]), [3])).message).toBe(
    "internal: a gradient of shape [2] does not fit [3].",
  );
});

describe("what cannot be meant is refused", () => {
  test.each<[string, (builder: GraphBuilder, x: Value, n: Value) => unknown]>([
    ["Add of float32[batch, 3] and int64[batch]: types differ.", (b, x, n) => b.add(x, n)],
    ["Add of int64[batch] and float32[]: types differ.", (b, _x, n) => b.add(n, b.scalar(0))],
    [
      "Mul of float32[batch, 3] and float32[2]: the shapes do not fit.",
      (b, x) => b.multiply(x, b.constant("float32", [2], [1, 2])),
    ],
    [
      "Where of float32[batch, 3], float32[batch, 3], float32[batch, 3]: types do not fit.",
      (b, x) => b.where(x, x, x),
    ],
    ["MatMul of float32[batch, 3] and float32[batch, 3]: the shapes do not fit.", (b, x) => b.matmul(x, x)],
    ["Gemm of float32[batch, 3] and float32[batch, 3]: the shapes do not fit.", (b, x) => b.gemm(x, x)],
    [
      "Gemm of float32[batch, 3]^T and float32[batch, 3]^T: the shapes do not fit.",
      (b, x) => b.gemm(x, x, { transA: true, transB: true }),
    ],
    [
      "Gemm: the third input float32[2] does not broadcast to [batch, batch].",
      (b, x) => b.gemm(x, x, { transB: true, c: b.constant("float32", [2], [1, 2]) }),
    ],
    ["Reshape of float32[batch, 3] to [batch, 2]: the sizes differ.", (b, x) => b.reshape(x, ["batch", 2])],
    [
      "Transpose of float32[batch, 3] by [1,0,2]: the number of axes differs.",
      (b, x) => b.transpose(x, [1, 0, 2]),
    ],
    [
      "Concat of float32[batch, 3], int64[batch] along 0: the shapes do not fit.",
      (b, x, n) => b.concat([x, n], 0),
    ],
    ["Slice of float32[batch, 3] along 1 from 2 to 4: out of range.", (b, x) => b.slice(x, 1, 2, 4)],
    ["Slice of float32[batch, 3] along 1 from 2 to 1: out of range.", (b, x) => b.slice(x, 1, 2, 1)],
    ["Slice of float32[batch, 3] along 2 from 0 to 1: out of range.", (b, x) => b.slice(x, 2, 0, 1)],
    ["Slice of float32[batch, 3] along 1 from -1 to 1: out of range.", (b, x) => b.slice(x, 1, -1, 1)],
    ["Expand of float32[batch, 3] to [1, 3]: the shapes do not fit.", (b, x) => b.expand(x, [1, 3])],
    [
      "Expand of float32[batch, 3] to [batch, 4]: the shapes do not fit.",
      (b, x) => b.expand(x, ["batch", 4]),
    ],
    [
      "SoftmaxCrossEntropyLoss of float32[batch, 3] and float32[batch, 3] is not defined.",
      (b, x) => b.softmaxCrossEntropyLoss(x, x),
    ],
    [
      "RotaryEmbedding of float32[batch, 3] by tables float32[batch, 3]: the shapes do not fit.",
      (b, x) => b.rotaryEmbedding(x, x, x),
    ],
    ["Concat lacks its input 0.", (b) => b.concat([], 0)],
  ])("%s", (message, build) => {
    const { builder, x, n } = start();
    expect(failureOf(() => build(builder, x, n)).message).toBe(`internal: ${message}`);
  });
});
