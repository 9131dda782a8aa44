/** @file The soft cap against its formula. */
import { expect, it } from "vitest";
import { GraphBuilder } from "../../graph/builder.ts";
import { graphOf } from "../../graph/graph.ts";
import { interpret } from "../../graph/interpret.ts";
import { softCap } from "./soft-cap.ts";

it("keeps small values, and large ones within the cap", () => {
  const builder = new GraphBuilder();
  const result = softCap(builder, builder.input("x", "float32", [4]), 3);
  const feeds = { x: { shape: [4], data: Float64Array.of(-100, -0.001, 2, 100) } };
  const { data } = interpret(graphOf([{ name: "y", value: result }]), feeds)["y"]!;
  const expected = [-3, -0.001, 3 * Math.tanh(2 / 3), 3];
  for (const [index, value] of expected.entries()) expect(data[index]).toBeCloseTo(value, 6);
});

it("without a cap is nothing at all", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [4]);
  expect(softCap(builder, x, undefined)).toBe(x);
});
