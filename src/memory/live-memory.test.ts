import { expect, test } from "vitest";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import { liveMemory } from "./live-memory.ts";

const dimensions = new Map([["rows", 100]]);

test("a chain of operations that cannot work in place holds two values at once", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 10]);
  const weight = builder.input("w", "float32", [10, 10]);
  let value = x;
  for (let index = 0; index < 3; index++) value = builder.gemm(value, weight);
  const { peakBytes, peakOperation } = liveMemory(graphOf([{ name: "y", value }]), dimensions);
  expect([peakBytes, peakOperation]).toEqual([2 * 100 * 10 * 4, "Gemm"]);
});

test("some operations write over what nothing else reads, and views cost nothing", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 10]);
  const product = builder.gemm(x, builder.input("w", "float32", [10, 10]));
  const value = builder.sumAll(builder.reshape(builder.tanh(builder.tanh(product)), ["10*rows"]));
  expect(liveMemory(graphOf([{ name: "y", value }]), dimensions).peakBytes).toBe(100 * 10 * 4 + 4);
});

test("what a graph gives out has a buffer of its own", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 10]);
  const value = builder.tanh(builder.exponential(x));
  expect(liveMemory(graphOf([{ name: "y", value }]), dimensions).peakBytes).toBe(2 * 100 * 10 * 4);
});

test("a value that is read later stays alive", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 10]);
  const product = builder.gemm(x, builder.input("w", "float32", [10, 10]));
  const value = builder.add(
    builder.gemm(builder.tanh(product), builder.input("w", "float32", [10, 10])),
    product,
  );
  expect(liveMemory(graphOf([{ name: "y", value }]), dimensions).peakBytes).toBe(3 * 100 * 10 * 4);
});

test("what a lowering needs for itself is told apart", () => {
  const builder = new GraphBuilder();
  const logits = builder.exponential(builder.input("x", "float32", ["rows", 50]));
  const loss = builder.sumAll(builder.softmaxCrossEntropyLoss(logits, builder.input("t", "int64", ["rows"])));
  const { peakBytes, workspaceBytes } = liveMemory(graphOf([{ name: "loss", value: loss }]), dimensions);
  expect([peakBytes, workspaceBytes]).toEqual([2 * 100 * 50 * 4 + 100 * 4, 100 * 50 * 4]);
});

test("an arena takes what buffers of other sizes leave between them as well", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 400]);
  let value = x;
  for (const width of [300, 200, 250, 350])
    value = builder.gemm(value, builder.input(`w${width}`, "float32", [Number(value.shape[1]), width]));
  const { peakBytes, arenaBytes } = liveMemory(graphOf([{ name: "y", value }]), dimensions);
  expect(peakBytes).toBe(100 * (250 + 350) * 4);
  expect(arenaBytes).toBeGreaterThan(peakBytes);
});
