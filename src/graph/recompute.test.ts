import { expect, test } from "vitest";
import { GraphBuilder } from "./builder.ts";
import { gradient } from "./gradient.ts";
import { graphOf, nodesOf } from "./graph.ts";
import type { Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import type { Segment } from "./recompute.ts";
import { verify } from "./verify.ts";

/** Three layers tanh(x W_i) + x of one width, with a factor that all layers share. */
function layers(recompute: boolean) {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 2]);
  const shared = builder.exponential(builder.input("shared", "float32", [2]));
  const weights = [0, 1, 2].map((index) => builder.input(`w${index}`, "float32", [2, 2]));
  const segments: Segment[] = [];
  let state: Value = x;
  for (const weight of weights) {
    const input = state;
    state = builder.add(builder.tanh(builder.multiply(builder.gemm(input, weight), shared)), input);
    if (recompute) segments.push({ input, output: state });
  }
  const gradients = gradient(builder, builder.sumAll(builder.multiply(state, state)), weights, segments);
  const graph = graphOf(gradients.flatMap((value, index) => (value ? [{ name: `d${index}`, value }] : [])));
  verify(graph);
  return graph;
}

const feeds = {
  x: { shape: [3, 2], data: Float64Array.of(0.1, -0.4, 0.7, 0.3, -0.2, 0.9) },
  shared: { shape: [2], data: Float64Array.of(0.2, -0.1) },
  w0: { shape: [2, 2], data: Float64Array.of(0.5, -0.3, 0.8, 0.2) },
  w1: { shape: [2, 2], data: Float64Array.of(-0.6, 0.4, 0.1, 0.9) },
  w2: { shape: [2, 2], data: Float64Array.of(0.3, 0.3, -0.7, 0.5) },
};

test("gradients are the same with and without recomputation", () => {
  expect(interpret(layers(true), feeds)).toEqual(interpret(layers(false), feeds));
});

test("what a segment computed is computed again, what it shares with others is not", () => {
  const [kept, recomputed] = [layers(false), layers(true)];
  expect([kept, recomputed].map((graph) => nodesOf(graph, "Tanh").length)).toEqual([3, 6]);
  expect([kept, recomputed].map((graph) => nodesOf(graph, "Exp").length)).toEqual([1, 1]);
});

test("the backward pass reads no result of a segment but its input and output", () => {
  const graph = layers(true);
  const firstTanh = nodesOf(graph, "Tanh")[0];
  const readers = graph.nodes.filter((node) => node.inputs.some((value) => value?.node === firstTanh));
  expect(readers.map((node) => node.operation)).toEqual(["Add"]);
});

test("the backward pass reads no activation of a gate, nor its product, but computes them again", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 2]);
  const [gate, up, down] = [0, 1, 2].map((index) => builder.input(`w${index}`, "float32", [2, 2]));
  if (!gate || !up || !down) throw new Error("three matrices were made");
  const activation = builder.swish(builder.gemm(x, gate));
  const product = builder.multiply(activation, builder.gemm(x, up));
  const forward = builder.gemm(product, down);
  const weights = [gate, up, down];
  const gradients = gradient(builder, builder.sumAll(builder.multiply(forward, forward)), weights);
  const graph = graphOf(gradients.flatMap((value, index) => (value ? [{ name: `d${index}`, value }] : [])));
  verify(graph);
  expect(gradients.every((value) => value !== undefined)).toBe(true);
  const readersOf = (value: Value) =>
    graph.nodes
      .filter(({ inputs }) => inputs.some((input) => input === value))
      .map(({ operation }) => operation);
  expect(readersOf(activation)).toEqual(["Mul"]);
  expect(readersOf(product)).toEqual(["Gemm"]);
  const slope = interpret(graph, feeds)["d0"]?.data[0] ?? NaN;
  const lossAt = (first: number) => {
    const w0 = { ...feeds.w0, data: Float64Array.from(feeds.w0.data).fill(first, 0, 1) };
    const { data } = interpret(graphOf([{ name: "y", value: forward }]), { ...feeds, w0 })["y"] ?? {
      data: [],
    };
    return Array.from(data).reduce((sum, value) => sum + value * value, 0);
  };
  const step = 1e-5;
  expect(slope).toBeCloseTo((lossAt(0.5 + step) - lossAt(0.5 - step)) / (2 * step), 6);
});
