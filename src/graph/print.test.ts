/** @file The text of graphs and its hash, which caches on disk are keyed by and which must not change unnoticed. */
import { expect, test } from "vitest";
import { GraphBuilder } from "./builder.ts";
import { graphOf } from "./graph.ts";
import type { Graph } from "./graph.ts";
import { hash, hashText, print } from "./print.ts";

function small(epsilon = 1e-5, literal = 2): Graph {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["batch*length", 4]);
  const normal = builder.layerNormalization(x, builder.weight("norm.weight", [4]), undefined, epsilon);
  const scaled = builder.multiply(normal, builder.scalar(literal));
  return graphOf([
    { name: "scaled", value: scaled },
    { name: "mean", value: normal.node.outputs[1]! },
    { name: "shape", value: builder.slice(builder.reshape(scaled, ["4*batch*length"]), 0, 1, 3) },
  ]);
}

test("a graph prints a line for each node and each output", () => {
  expect(print(small())).toMatchInlineSnapshot(`
    "%0: float32[batch*length, 4] = Input(name="x")
    %1: float32[4] = Weight(name="norm.weight")
    %2: float32[batch*length, 4], float32[batch*length, 1], float32[batch*length, 1] = LayerNormalization(%0, %1, epsilon=0.00001)
    %3: float32[] = Constant(data=[2])
    %4: float32[batch*length, 4] = Mul(%2, %3)
    %5: float32[4*batch*length] = Reshape(%4, shape=["4*batch*length"])
    %6: float32[2] = Slice(%5, axis=0, start=1, end=3)
    scaled = %4
    mean = %2.1
    shape = %6"
  `);
});

test("a literal prints its numbers as they are", () => {
  const builder = new GraphBuilder();
  const value = builder.constant("float32", [6], [0, -0, NaN, Infinity, -Infinity, 1e-5]);
  expect(print(graphOf([{ name: "y", value }]))).toMatchInlineSnapshot(`
    "%0: float32[6] = Constant(data=[0,-0,NaN,Infinity,-Infinity,0.00001])
    y = %0"
  `);
});

test("node numbers start anew in every graph", () => {
  const builder = new GraphBuilder();
  builder.input("other", "float32", [3]);
  const graph = graphOf([{ name: "y", value: builder.negate(builder.input("x", "float32", [2])) }]);
  expect(print(graph)).toMatchInlineSnapshot(`
    "%0: float32[2] = Input(name="x")
    %1: float32[2] = Neg(%0)
    y = %1"
  `);
});

test("the hash is fixed, and follows everything that is printed", () => {
  expect(hash(small())).toMatchInlineSnapshot(`"837852282e0b0263fa7f6fa9a7d85697"`);
  expect(hash(small())).toBe(hash(small()));
  expect(hash(small(1e-6))).not.toBe(hash(small()));
  expect(
    new Set([0.5, -0.5, 0, -0, NaN, Infinity, -Infinity].map((literal) => hash(small(1e-5, literal)))).size,
  ).toBe(7);
});

test("hashes of similar texts differ in all parts", () => {
  const texts = Array.from({ length: 2000 }, (_, index) => `weight ${index}`);
  const hashes = texts.map((text) => hashText(text));
  for (const lane of [0, 8, 16, 24])
    expect(new Set(hashes.map((text) => text.slice(lane, lane + 8))).size).toBe(2000);
  expect(hashText("")).toMatch(/^[0-9a-f]{32}$/);
});
