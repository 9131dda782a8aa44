/** @file Cases of operations that move elements, and of reductions. */
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Shape } from "../../src/graph/dimension.ts";
import type { OperationName, Value } from "../../src/graph/graph.ts";
import { exactly, float32 } from "./harness.ts";
import type { OperationCase, Source } from "./harness.ts";

const symbols = { batch: 2, length: 3, rows: 0 };

type Unary = (builder: GraphBuilder, x: Value) => Value;

/** One case of an operation with one float32 source. */
function of(operation: OperationName, name: string, shape: Shape, build: Unary): OperationCase {
  return { operation, name, symbols, sources: [float32(shape)], build };
}

/** The same on every element type that deltafit's graphs move around. */
function ofIntegers(operation: OperationName, shape: readonly number[], build: Unary): OperationCase[] {
  const count = shape.reduce((a, b) => a * b, 1);
  return (["int64", "int32", "bool"] as const).map((dtype) => ({
    operation,
    name: dtype,
    sources: [
      exactly(
        dtype,
        shape,
        Array.from({ length: count }, (_, index) => (dtype === "bool" ? index % 2 : index - 2)),
      ),
    ],
    build,
  }));
}

const movingCases: readonly OperationCase[] = [
  of("Reshape", "numbers", [2, 6], (b, x) => b.reshape(x, [3, 2, 2])),
  of("Reshape", "to a vector", ["batch", 2, "length"], (b, x) => b.reshape(x, ["2*batch*length"])),
  of("Reshape", "one symbol", ["batch", 2, 3], (b, x) => b.reshape(x, ["batch", 6])),
  {
    operation: "Reshape",
    name: "two symbols",
    symbols,
    sources: [float32(["batch", "length", 1, 1]), float32(["batch*length", 4])],
    build: (b, x, y) => b.multiply(x, b.reshape(y, ["batch", "length", 2, 2])),
  },
  of("Reshape", "to a scalar", [1, 1], (b, x) => b.reshape(x, [])),
  of("Reshape", "from a scalar", [], (b, x) => b.reshape(x, [1, 1])),
  of("Reshape", "no rows, one symbol", ["rows", 2, 3], (b, x) => b.reshape(x, ["rows", 6])),
  of("Reshape", "no rows, two symbols", [2, "rows", "length"], (b, x) => b.reshape(x, ["rows", 2, "length"])),
  of("Reshape", "an extent of zero", [4, 0], (b, x) => b.reshape(x, [0, 2, 2])),
  ...ofIntegers("Reshape", [2, 3], (b, x) => b.reshape(x, [6])),
  of("Transpose", "a matrix", [2, 3], (b, x) => b.transpose(x, [1, 0])),
  of("Transpose", "not its own inverse", [2, 3, 4], (b, x) => b.transpose(x, [2, 0, 1])),
  of("Transpose", "symbolic extents", ["batch", "length", 2, 2], (b, x) => b.transpose(x, [0, 2, 1, 3])),
  of("Transpose", "no rows", ["rows", 3], (b, x) => b.transpose(x, [1, 0])),
  of("Transpose", "the last two axes", [2, 3, 4], (b, x) => b.transposeLast(x)),
  ...ofIntegers("Transpose", [2, 3], (b, x) => b.transpose(x, [1, 0])),
  {
    operation: "Concat",
    name: "three parts along the first axis",
    symbols,
    sources: [float32(["batch", 2]), float32([1, 2]), float32(["rows", 2])],
    build: (b, ...parts) => b.concat(parts, 0),
  },
  {
    operation: "Concat",
    name: "along the last axis",
    symbols,
    sources: [float32(["batch", 2, 3]), float32(["batch", 2, 1])],
    build: (b, ...parts) => b.concat(parts, 2),
  },
  of("Concat", "a value with itself", [2, 2], (b, x) => b.concat([x, x], 1)),
  ...ofIntegers("Concat", [2, 3], (b, x) => b.concat([x, x], 0)),
  of("Slice", "numbers", [5, 2], (b, x) => b.slice(x, 0, 1, 4)),
  of("Slice", "the middle axis", [2, 5, 2], (b, x) => b.slice(x, 1, 2, 5)),
  of("Slice", "nothing", [5, 2], (b, x) => b.slice(x, 0, 2, 2)),
  of("Slice", "symbolic bounds", ["2*length", 2], (b, x) => b.slice(x, 0, "length", "2*length")),
  {
    operation: "Slice",
    name: "symbolic bounds with a constant",
    symbols,
    sources: [float32(["length"]), float32(["length+4"])],
    build: (b, x, y) => b.multiply(x, b.slice(y, 0, 1, "length+1")),
  },
  of("Slice", "parts of a split", ["batch", 5], (b, x) => {
    const [first, second, third] = b.split(x, 1, [1, 3, 1]);
    return first && second && third ? b.multiply(b.multiply(first, second), third) : x;
  }),
  ...ofIntegers("Slice", [4], (b, x) => b.slice(x, 0, 1, 3)),
  of("Pad", "both sides", [2, 3], (b, x) => b.pad(x, 1, 2, 1)),
  of("Pad", "symbolic", ["length", 2], (b, x) => b.pad(x, 0, "length", 1)),
  of("Pad", "between transposes", [2, "length", 3, 2], (b, x) =>
    b.transpose(b.pad(b.transpose(x, [0, 2, 1, 3]), 2, "length", 1), [0, 2, 1, 3]),
  ),
  of("Pad", "nothing to start with", ["rows", 2], (b, x) => b.pad(x, 0, 1, 2)),
  ...ofIntegers("Pad", [2, 2], (b, x) => b.pad(x, 0, 1, 1)),
  of("Expand", "a scalar", [], (b, x) => b.expand(x, [2, 3])),
  of("Expand", "more axes", [3, 1], (b, x) => b.expand(x, [2, 3, 2])),
  of("Expand", "symbolic", ["batch", 1], (b, x) => b.expand(x, [2, "batch", 4])),
  of("Expand", "to no rows", [1, 2], (b, x) => b.expand(x, [0, 2])),
  ...ofIntegers("Expand", [2, 1], (b, x) => b.expand(x, [2, 2, 3])),
  { operation: "Range", name: "a number", sources: [], build: (b) => b.range(5) },
  { operation: "Range", name: "nothing", sources: [], build: (b) => b.range(0) },
  {
    operation: "Range",
    name: "a symbol",
    symbols,
    sources: [exactly("int64", ["length"], [5, 6, 7])],
    build: (b, x) => b.add(x, b.range("length")),
  },
  {
    operation: "Range",
    name: "a polynomial",
    symbols,
    sources: [exactly("int64", ["batch", "length"], [1, 2, 3, 4, 5, 6])],
    build: (b, x) => b.add(b.reduceSum(x, [0, 1], false), b.range("batch*length+-1*length+4")),
  },
];

const int64 = (shape: Shape, data: readonly number[]): Source => exactly("int64", shape, data);

const indexingCases: readonly OperationCase[] = [
  {
    operation: "Gather",
    name: "rows by a matrix of indices, one twice",
    symbols,
    sources: [float32([4, 2]), int64(["batch", "length"], [0, 3, 3, 1, 0, 3])],
    build: (b, table, indices) => b.gather(table, indices),
  },
  {
    operation: "Gather",
    name: "elements of a vector",
    sources: [float32([4]), int64([3], [2, 2, 0])],
    build: (b, table, indices) => b.gather(table, indices),
  },
  {
    operation: "Gather",
    name: "a scalar index",
    sources: [float32([4, 2]), int64([], [2])],
    build: (b, table, indices) => b.gather(table, indices),
  },
  {
    operation: "Gather",
    name: "a table of three axes and symbolic rows",
    symbols,
    sources: [float32(["length", 2, 2]), int64([2], [2, 0])],
    build: (b, table, indices) => b.gather(table, indices),
  },
  {
    operation: "Gather",
    name: "no rows",
    symbols,
    sources: [float32([4, 2]), int64(["rows"], [])],
    build: (b, table, indices) => b.gather(table, indices),
  },
  {
    operation: "Gather",
    name: "distinct indices",
    symbols,
    sources: [float32([5, 2]), int64(["length"], [3, 0, 4])],
    build: (b, table, indices) => b.gather(table, indices, true),
  },
  {
    operation: "Gather",
    name: "distinct indices, no rows",
    symbols,
    sources: [float32([4, 2]), int64(["rows"], [])],
    build: (b, table, indices) => b.gather(table, indices, true),
  },
  {
    operation: "ScatterRows",
    name: "distinct indices of a vector",
    sources: [int64([2], [3, 1]), float32([2])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, 4, true),
  },
  {
    operation: "ScatterRows",
    name: "an index twice",
    sources: [int64([3], [1, 1, 0]), float32([3, 2])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, 4),
  },
  {
    operation: "ScatterRows",
    name: "elements of a vector",
    sources: [int64([3], [1, 1, 0]), float32([3])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, 2),
  },
  {
    operation: "ScatterRows",
    name: "three axes, symbolic",
    symbols,
    sources: [int64(["length"], [1, 0, 1]), float32(["length", "batch", 2])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, "2*batch"),
  },
  {
    operation: "ScatterRows",
    name: "no rows",
    symbols,
    sources: [int64(["rows"], []), float32(["rows", 2])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, 3),
  },
  {
    operation: "ScatterRows",
    name: "integers",
    sources: [int64([3], [1, 1, 0]), int64([3, 1], [4, 5, 6])],
    build: (b, indices, updates) => b.scatterRows(indices, updates, 3),
  },
];

type Reduce = (builder: GraphBuilder, x: Value, axes: readonly number[], keep: boolean) => Value;

function reductions(operation: OperationName, reduce: Reduce): OperationCase[] {
  return [
    of(operation, "the last axis, kept", [2, 3], (b, x) => reduce(b, x, [1], true)),
    of(operation, "the last axis", [2, 3], (b, x) => reduce(b, x, [1], false)),
    of(operation, "the first axis", [2, 3], (b, x) => reduce(b, x, [0], false)),
    of(operation, "two axes of three", [2, 3, 4], (b, x) => reduce(b, x, [0, 2], false)),
    of(operation, "all axes", [2, 3], (b, x) => reduce(b, x, [0, 1], false)),
    of(operation, "beside symbolic extents", ["batch", "length", 4], (b, x) => reduce(b, x, [2], true)),
    of(operation, "of no rows", ["rows", 3], (b, x) => reduce(b, x, [1], false)),
  ];
}

const reductionCases: readonly OperationCase[] = [
  ...reductions("ReduceSum", (b, x, axes, keep) => b.reduceSum(x, axes, keep)),
  ...reductions("ReduceMean", (b, x, axes, keep) => b.reduceMean(x, axes, keep)),
  ...reductions("ReduceMax", (b, x, axes, keep) => b.reduceMax(x, axes, keep)),
  of("ReduceSum", "a symbolic axis", ["batch", 2], (b, x) => b.reduceSum(x, [0])),
  of("ReduceSum", "over no rows is zero", ["rows", 2], (b, x) => b.reduceSum(x, [0])),
  of("ReduceMax", "a symbolic axis", ["batch", 2], (b, x) => b.reduceMax(x, [0])),
  {
    operation: "ReduceSum",
    name: "int64",
    sources: [int64([2, 2], [1, 2, 3, 4])],
    build: (b, x) => b.reduceSum(x, [0]),
  },
];

export const shapingCases = [...movingCases, ...indexingCases, ...reductionCases];
