import { expect, test } from "vitest";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import { planBuffers } from "./buffers.ts";

const planned = (graph: Graph) => planBuffers(graph, new Map([["rows", 100]]));

test("a buffer that a later value of the same extents takes over is held in between", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 10]);
  const narrow = builder.gemm(builder.exponential(x), builder.input("a", "float32", [10, 5]));
  const wide = builder.gemm(narrow, builder.input("b", "float32", [5, 10]));
  const buffers = planned(graphOf([{ name: "y", value: builder.sumAll(wide) }]));
  const wideBuffers = buffers.filter(({ bytes }) => bytes === 100 * 10 * 4);
  expect(wideBuffers).toHaveLength(1);
  // From the exponential to the sum.
  expect(wideBuffers[0]).toMatchObject({ from: 1, to: 6 });
});

test("dropout's mask is kept for the same mask later, unless matrices are kept in forms", () => {
  const masksWith = (form?: { readonly kind: "bfloat16" }) => {
    const builder = new GraphBuilder();
    const seed = builder.input("seed", "int32", [1]);
    const settings = { ratio: 0.5, site: 1 };
    const x = builder.input("x", "float32", ["rows", 10]);
    const dropped = builder.seededDropout(x, seed, settings);
    const product = builder.gemm(dropped, builder.weight("w", [10, 10], form));
    const value = builder.sumAll(builder.seededDropout(product, seed, settings));
    return planned(graphOf([{ name: "y", value }])).filter(({ bytes }) => bytes === 100 * 10);
  };
  expect(masksWith()).toMatchObject([{ from: 2, to: 5 }]);
  expect(masksWith({ kind: "bfloat16" })).toEqual([]);
});
