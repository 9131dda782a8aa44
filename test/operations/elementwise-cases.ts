/** @file Cases of leaves and of operations that work element by element. */
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { OperationName, Value } from "../../src/graph/graph.ts";
import { exactly, float32, weight } from "./harness.ts";
import type { OperationCase, Source } from "./harness.ts";

const leafCases: readonly OperationCase[] = [
  { operation: "Input", name: "is its own output", sources: [float32([2, 3])], build: (_, x) => x },
  {
    operation: "Input",
    name: "of symbolic extents",
    symbols: { batch: 2, length: 3 },
    sources: [float32(["batch", "length"])],
    build: (_, x) => x,
  },
  { operation: "Weight", name: "plain", sources: [weight([2, 3])], build: (_, x) => x },
  {
    operation: "Weight",
    name: "with an input",
    sources: [weight([2, 3]), float32([2, 3])],
    build: (b, w, x) => b.multiply(w, x),
  },
  {
    operation: "Constant",
    name: "scalar",
    sources: [float32([2])],
    build: (b, x) => b.add(x, b.scalar(0.1)),
  },
  {
    operation: "Constant",
    name: "matrix",
    sources: [float32([2, 2])],
    build: (b, x) => b.multiply(x, b.constant("float32", [2, 2], [1, -2, 0.3, 4e-9])),
  },
  {
    operation: "Constant",
    name: "infinities, NaN and both zeros",
    sources: [exactly("bool", [5], [1, 0, 1, 0, 1])],
    variables: [],
    build: (b, c) =>
      b.add(
        b.where(c, b.scalar(Infinity), b.scalar(-Infinity)),
        b.divide(b.scalar(1), b.constant("float32", [5], [0, -0, -0, 0, NaN])),
      ),
  },
  {
    operation: "Constant",
    name: "int64",
    sources: [exactly("int64", [2], [5, -6])],
    build: (b, x) => b.add(x, b.constant("int64", [2], [2 ** 40, -1])),
  },
];

type Binary = (builder: GraphBuilder, a: Value, b: Value) => Value;

/** Equal shapes, a row, a column, both ways, more axes, a scalar, symbols. */
function broadcasts(
  operation: OperationName,
  apply: Binary,
  make: (shape: Source["shape"]) => Source,
): OperationCase[] {
  const shapes: readonly (readonly [string, Source["shape"], Source["shape"]])[] = [
    ["equal shapes", [2, 3], [2, 3]],
    ["a row", [2, 3], [3]],
    ["a column", [2, 1], [2, 3]],
    ["both ways", [2, 1], [1, 3]],
    ["more axes on the right", [3], [2, 2, 3]],
    ["a scalar on the right", [2, 3], []],
    ["a scalar on the left", [], [2, 3]],
    ["two scalars", [], []],
    ["symbolic extents", ["batch", "length", 2], ["length", 1]],
    ["no rows", ["rows", 2], [2]],
  ];
  return shapes.map(([name, left, right]) => ({
    operation,
    name,
    symbols: { batch: 2, length: 3, rows: 0 },
    sources: [make(left), make(right)],
    build: apply,
  }));
}

const arithmeticCases: readonly OperationCase[] = [
  ...broadcasts("Add", (b, x, y) => b.add(x, y), float32),
  ...broadcasts("Sub", (b, x, y) => b.subtract(x, y), float32),
  ...broadcasts("Mul", (b, x, y) => b.multiply(x, y), float32),
  ...broadcasts(
    "Div",
    (b, x, y) => b.divide(x, y),
    (shape) => float32(shape, 0.5, 2),
  ),
  { operation: "Mul", name: "with itself", sources: [float32([3])], build: (b, x) => b.multiply(x, x) },
  {
    operation: "Div",
    name: "by itself",
    sources: [float32([3], 1, 2)],
    build: (b, x) => b.divide(x, b.multiply(x, x)),
  },
  {
    operation: "Div",
    name: "of integers rounds toward zero",
    sources: [exactly("int64", [4], [7, -7, 7, 6]), exactly("int64", [4], [2, 2, -2, 3])],
    build: (b, x, y) => b.divide(x, y),
  },
  {
    operation: "Sub",
    name: "of int32",
    sources: [exactly("int32", [2], [7, -7]), exactly("int32", [1], [9])],
    build: (b, x, y) => b.subtract(x, y),
  },
];

type Unary = (builder: GraphBuilder, x: Value) => Value;

/** Over the range in which the function is smooth, and for symbolic extents, without rows and without axes. */
function unary(
  operation: OperationName,
  apply: Unary,
  from: number,
  to: number,
  suffix = "",
): OperationCase[] {
  return [
    { operation, name: `a vector${suffix}`, sources: [float32([16], from, to)], build: apply },
    { operation, name: `a scalar${suffix}`, sources: [float32([], from, to)], build: apply },
    {
      operation,
      name: `symbolic extents${suffix}`,
      symbols: { batch: 2 },
      sources: [float32(["batch", 3], from, to)],
      build: apply,
    },
    {
      operation,
      name: `no rows${suffix}`,
      symbols: { rows: 0 },
      sources: [float32(["rows", 3])],
      build: apply,
    },
  ];
}

const unaryCases: readonly OperationCase[] = [
  ...unary("Neg", (b, x) => b.negate(x), -2, 2),
  ...unary("Exp", (b, x) => b.exponential(x), -3, 2),
  ...unary("Log", (b, x) => b.logarithm(x), 0.2, 3),
  ...unary("Sqrt", (b, x) => b.squareRoot(x), 0.2, 3),
  ...unary("Reciprocal", (b, x) => b.reciprocal(x), 0.4, 3),
  ...unary("Reciprocal", (b, x) => b.reciprocal(x), -3, -0.4, ", negative"),
  ...unary("Cos", (b, x) => b.cosine(x), -6, 6),
  ...unary("Sin", (b, x) => b.sine(x), -6, 6),
  ...unary("Tanh", (b, x) => b.tanh(x), -4, 4),
  ...unary("Sigmoid", (b, x) => b.sigmoid(x), -8, 8),
  ...unary("Erf", (b, x) => b.erf(x), -4, 4),
  ...unary("HardSigmoid", (b, x) => b.hardSigmoid(x, { alpha: 0.5, beta: 0.25 }), -4, 4).map(
    (operationCase) => ({
      ...operationCase,
      variables: [],
    }),
  ),
  ...unary("Relu", (b, x) => b.relu(x), 0.1, 2, ", positive"),
  ...unary("Relu", (b, x) => b.relu(x), -2, -0.1, ", negative"),
  ...unary("Gelu", (b, x) => b.gelu(x, "none"), -5, 5, ", exact"),
  ...unary("Gelu", (b, x) => b.gelu(x, "tanh"), -5, 5, ", tanh"),
  ...unary("Swish", (b, x) => b.swish(x), -8, 8),
];

const bool = (shape: Source["shape"], data: readonly number[]) => exactly("bool", shape, data);

const comparisonCases: readonly OperationCase[] = [
  ...(["int64", "int32", "float32"] as const).flatMap((dtype): OperationCase[] => [
    {
      operation: "Equal",
      name: `${dtype}, broadcast`,
      sources: [exactly(dtype, [2, 3], [1, 2, 3, 3, 2, 1]), exactly(dtype, [3], [1, 2, 1])],
      build: (b, x, y) => b.equal(x, y),
    },
    {
      operation: "LessOrEqual",
      name: `${dtype}, broadcast`,
      sources: [exactly(dtype, [2, 3], [1, 2, 3, 3, 2, 1]), exactly(dtype, [2, 1], [2, -1])],
      build: (b, x, y) => b.lessOrEqual(x, y),
    },
  ]),
  {
    operation: "And",
    name: "broadcast",
    sources: [bool([2, 2], [0, 1, 1, 0]), bool([2], [1, 0])],
    build: (b, x, y) => b.and(x, y),
  },
  {
    operation: "Where",
    name: "equal shapes",
    sources: [bool([2, 2], [0, 1, 1, 0]), float32([2, 2]), float32([2, 2])],
    build: (b, c, x, y) => b.where(c, x, y),
  },
  {
    operation: "Where",
    name: "all three broadcast",
    symbols: { batch: 2 },
    sources: [bool(["batch", 1, 1], [0, 1]), float32([3, 1]), float32([2])],
    build: (b, c, x, y) => b.where(c, x, y),
  },
  {
    operation: "Where",
    name: "scalars chosen by a larger condition",
    sources: [bool([2, 3], [0, 1, 1, 0, 0, 1]), float32([]), float32([1])],
    build: (b, c, x, y) => b.where(c, x, y),
  },
  {
    operation: "Where",
    name: "integers",
    sources: [bool([2], [0, 1]), exactly("int64", [2], [1, 2]), exactly("int64", [1], [-9])],
    build: (b, c, x, y) => b.where(c, x, y),
  },
  {
    operation: "StopGradient",
    name: "beside a variable",
    sources: [float32([2, 3]), float32([2, 3])],
    build: (b, x, y) => b.multiply(x, b.stopGradient(y)),
    variables: [0],
  },
  {
    operation: "Cast",
    name: "int64 to float32",
    sources: [exactly("int64", [3], [1, -2, 2 ** 24])],
    build: (b, x) => b.cast(x, "float32"),
  },
  {
    operation: "Cast",
    name: "bool to float32",
    sources: [bool([2], [0, 1])],
    build: (b, x) => b.cast(x, "float32"),
  },
  {
    operation: "Cast",
    name: "float32 to int64 rounds toward zero",
    sources: [exactly("float32", [4], [1.75, -1.75, 0.5, -0.5])],
    build: (b, x) => b.cast(x, "int64"),
  },
  {
    operation: "Cast",
    name: "float32 to bool",
    sources: [exactly("float32", [4], [0, 0.25, -3, 1])],
    build: (b, x) => b.cast(x, "bool"),
  },
];

export const elementwiseCases = [...leafCases, ...arithmeticCases, ...unaryCases, ...comparisonCases];
