/**
 * @file A case of the table of operations and what is checked of each: that ONNX Runtime computes what the
 * interpreter computes, and that gradients are the slopes which finite differences measure.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import { evaluateDimension } from "../../src/graph/dimension.ts";
import type { Shape } from "../../src/graph/dimension.ts";
import type { Graph, OperationName, Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import type { HostArray } from "../../src/graph/operation.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import type { WeightLocation } from "../../src/runtime/session.ts";
import type { DataType, Tensor } from "../../src/tensor/tensor.ts";

/** One leaf of a case: its type and, given the number of elements, its values. */
export interface Source {
  readonly kind: "input" | "weight";
  readonly dtype: DataType;
  readonly shape: Shape;
  readonly values: (count: number) => number[];
}

/** One row of the table: `build` gets the sources as values, called `x0`, `x1`, ... */
export interface OperationCase {
  readonly operation: OperationName;
  readonly name: string;
  readonly symbols?: Readonly<Record<string, number>>;
  readonly sources: readonly Source[];
  readonly build: (builder: GraphBuilder, ...values: Value[]) => Value;
  /** Indices of the sources whose gradients are checked; by default every float32 source, if the result is float32. */
  readonly variables?: readonly number[];
}

/** Deterministic numbers in [0, 1): a linear congruential generator, enough to avoid ties and symmetries. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

let sourceCount = 0;

/** Random float32 values between two bounds, which float64 holds exactly. */
export function float32(shape: Shape, from = -2, to = 2): Source {
  const next = generator(++sourceCount * 7919);
  return {
    kind: "input",
    dtype: "float32",
    shape,
    values: (count) => Array.from({ length: count }, () => Math.fround(from + (to - from) * next())),
  };
}

export function exactly(dtype: DataType, shape: Shape, data: readonly number[]): Source {
  return { kind: "input", dtype, shape, values: () => [...data] };
}

export function weight(shape: readonly number[]): Source {
  return { ...float32(shape), kind: "weight" };
}

/** A leaf of a case with its values. */
export interface Leaf {
  readonly name: string;
  readonly source: Source;
  readonly array: HostArray;
}

export function leavesOf({ sources, symbols = {} }: OperationCase): Leaf[] {
  const dimensions = new Map(Object.entries(symbols));
  return sources.map((source, index) => {
    const shape = source.shape.map((dimension) => evaluateDimension(dimension, dimensions));
    const count = shape.reduce((a, b) => a * b, 1);
    return { name: `x${index}`, source, array: { shape, data: Float64Array.from(source.values(count)) } };
  });
}

export function leafValue(builder: GraphBuilder, { name, source, array }: Leaf): Value {
  return source.kind === "weight"
    ? builder.weight(name, array.shape)
    : builder.input(name, source.dtype, source.shape);
}

export function interpretLeaves(graph: Graph, leaves: readonly Leaf[]): Record<string, HostArray> {
  return interpret(graph, Object.fromEntries(leaves.map(({ name, array }) => [name, array])));
}

/** Runs a graph in ONNX Runtime; weights lie one after the other in a file in `folder`. */
export async function runLeaves(
  graph: Graph,
  leaves: readonly Leaf[],
  folder: string,
): Promise<Record<string, HostArray>> {
  const locations = new Map<string, WeightLocation>();
  for (const { name, source, array } of leaves) {
    if (source.kind !== "weight") continue;
    const file = path.join(folder, `${name}.bin`);
    writeFileSync(file, Float32Array.from(array.data));
    locations.set(name, { path: file, offset: 0, byteLength: array.data.length * 4 });
  }
  const session = await cpu.createSession(graph, (name) => locations.get(name)!);
  const feeds = leaves
    .filter(({ source }) => source.kind === "input")
    .map(({ name, source, array }) => [name, tensorOf(source.dtype, array)] as const);
  const results = await session.run(Object.fromEntries(feeds));
  await session.dispose();
  return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, arrayOf(tensor)]));
}

function tensorOf(dtype: DataType, { shape, data }: HostArray): Tensor {
  switch (dtype) {
    case "float32":
      return { dtype, shape, data: Float32Array.from(data) };
    case "int64":
      return { dtype, shape, data: BigInt64Array.from(Array.from(data, BigInt)) };
    case "int32":
      return { dtype, shape, data: Int32Array.from(data) };
    case "uint32":
      return { dtype, shape, data: Uint32Array.from(data) };
    case "int8":
      return { dtype, shape, data: Int8Array.from(data) };
    case "uint8":
    case "bool":
      return { dtype, shape, data: Uint8Array.from(data) };
  }
}

function arrayOf({ shape, data }: Tensor): HostArray {
  return { shape, data: Float64Array.from(Array.from<number | bigint, number>(data, Number)) };
}

/** The largest difference of two arrays, relative to the largest magnitude if that is above 1; infinite if shapes differ. */
export function difference(actual: HostArray | undefined, expected: HostArray | undefined): number {
  if (!expected || actual?.shape.join() !== expected.shape.join()) return Infinity;
  const magnitude = expected.data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
  return expected.data.reduce((largest, value, index) => {
    const found = actual.data[index] ?? NaN;
    const distance = Object.is(found, value) ? 0 : Math.abs(found - value) / magnitude;
    return Number.isNaN(distance) ? Infinity : Math.max(largest, distance);
  }, 0);
}

/** Slopes of the interpreted output `loss` with respect to one leaf, by central differences. */
export function finiteDifferences(graph: Graph, leaves: readonly Leaf[], variable: Leaf): HostArray {
  const { shape, data } = variable.array;
  const step = 1e-5;
  const lossAt = (element: number, offset: number) => {
    const moved = data.slice();
    moved[element] = (moved[element] ?? 0) + offset;
    const others = leaves.map((leaf) =>
      leaf === variable ? { ...leaf, array: { shape, data: moved } } : leaf,
    );
    return interpretLeaves(graph, others)["loss"]!.data[0]!;
  };
  const slopes = data.map((_, element) => (lossAt(element, step) - lossAt(element, -step)) / (2 * step));
  return { shape, data: slopes };
}
