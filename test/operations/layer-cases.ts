/** @file Cases of matrix products, normalisations, losses, rotary embedding and dropout. */
import type { Shape } from "../../src/graph/dimension.ts";
import type { GemmOptions } from "../../src/graph/builder.ts";
import type { OperationName } from "../../src/graph/graph.ts";
import { exactly, float32 } from "./harness.ts";
import type { OperationCase } from "./harness.ts";

const symbols = { batch: 2, length: 3, rows: 0 };

function matmul(name: string, left: Shape, right: Shape): OperationCase {
  return {
    operation: "MatMul",
    name,
    symbols,
    sources: [float32(left), float32(right)],
    build: (b, x, y) => b.matmul(x, y),
  };
}

function gemm(
  name: string,
  left: Shape,
  right: Shape,
  options: GemmOptions = {},
  third?: Shape,
): OperationCase {
  return {
    operation: "Gemm",
    name,
    symbols,
    sources: [float32(left), float32(right), ...(third ? [float32(third)] : [])],
    build: (b, x, y, c) => b.gemm(x, y, { ...options, c }),
  };
}

const matrixCases: readonly OperationCase[] = [
  matmul("matrices", [2, 3], [3, 4]),
  matmul("batched", [2, 2, 3], [2, 3, 2]),
  matmul("a matrix on the right", [2, 2, 3], [3, 2]),
  matmul("a matrix on the left", [2, 3], [2, 3, 2]),
  matmul("leading axes both ways", [2, 1, 2, 3], [3, 3, 2]),
  matmul("symbolic", ["batch", 2, "length", 2], ["batch", 2, 2, "length"]),
  matmul("no rows", ["rows", 3], [3, 2]),
  matmul("no inner extent", [2, "rows"], ["rows", 3]),
  gemm("plain", [2, 3], [3, 4]),
  gemm("the first transposed", [3, 2], [3, 4], { transA: true }),
  gemm("the second transposed", [2, 3], [4, 3], { transB: true }),
  gemm("both transposed", [3, 2], [4, 3], { transA: true, transB: true, alpha: 0.5 }),
  gemm("a bias", [2, 3], [3, 4], { alpha: -1.5, beta: 0.25 }, [4]),
  gemm("a bias of one column", [2, 3], [3, 4], {}, [2, 1]),
  gemm("a scalar bias", [2, 3], [3, 4], { beta: 2 }, []),
  gemm("a full third matrix", ["batch", 3], [4, 3], { transB: true, beta: 0.5 }, ["batch", 4]),
  gemm("symbolic rows", ["length", 2], [2, 2], {}, [2]),
  gemm("no rows", ["rows", 3], [3, 2], {}, [2]),
  gemm("no inner extent", ["rows", 3], ["rows", 2], { transA: true, beta: 2 }, [3, 2]),
];

/** I + S - S^T of given matrices S: as far from singular as a rotation's are. */
function inverse(name: string, shape: readonly number[]): OperationCase {
  const extent = shape.at(-1) ?? 0;
  const identity = Array.from({ length: extent * extent }, (_, at) => Number(at % (extent + 1) === 0));
  return {
    operation: "Inverse",
    name,
    sources: [float32(shape)],
    build: (b, x) =>
      b.inverse(b.add(b.constant("float32", [extent, extent], identity), b.subtract(x, b.transposeLast(x)))),
  };
}

const inverseCases: readonly OperationCase[] = [
  inverse("one matrix", [4, 4]),
  inverse("several matrices", [2, 3, 3]),
  {
    operation: "Inverse",
    name: "a zero on the diagonal",
    sources: [exactly("float32", [1, 2, 2], [0, 2, -4, 1])],
    build: (b, x) => b.inverse(x),
  },
];

const targets = (shape: Shape, data: readonly number[]) => exactly("int64", shape, data);

function cross(name: string, rows: Shape, ids: readonly number[], from = -2, to = 2): OperationCase[] {
  const sources = [float32([...rows, 4], from, to), targets(rows, ids)];
  return [
    {
      operation: "SoftmaxCrossEntropyLoss",
      name,
      symbols,
      sources,
      build: (b, logits, classes) => b.softmaxCrossEntropyLoss(logits, classes),
    },
    {
      operation: "SoftmaxCrossEntropyLoss",
      name: `${name}, summed`,
      symbols,
      sources,
      build: (b, logits, classes) => b.sumAll(b.softmaxCrossEntropyLoss(logits, classes)),
    },
    {
      operation: "SoftmaxCrossEntropyLossGradient",
      name,
      symbols,
      sources: [float32(rows), ...sources],
      variables: [],
      build: (b, dy, logits, classes) => b.softmaxCrossEntropyLossGradient(dy, logits, classes),
    },
    {
      operation: "SoftmaxCrossEntropyLossGradient",
      name: `${name}, of a sum`,
      symbols,
      sources,
      variables: [],
      build: (b, logits, classes) =>
        b.softmaxCrossEntropyLossGradient(b.expand(b.scalar(1), rows), logits, classes),
    },
  ];
}

function softmaxes(name: string, shape: Shape, from = -2, to = 2): OperationCase[] {
  return [
    {
      operation: "Softmax",
      name,
      symbols,
      sources: [float32(shape, from, to)],
      build: (b, x) => b.softmax(x),
    },
    {
      operation: "SoftmaxGradient",
      name,
      symbols,
      sources: [float32(shape, 0, 1), float32(shape)],
      variables: [],
      build: (b, p, dp) => b.softmaxGradient(p, dp),
    },
  ];
}

function norms(name: string, shape: Shape, epsilon: number): OperationCase[] {
  const size: Shape = shape.slice(-1);
  const extents = shape.some((dimension) => typeof dimension === "string") ? { symbols } : {};
  const sources = [float32(shape), float32(size), float32(size)];
  const [x, scale] = [float32(shape), float32(size)];
  const layer: OperationName = "LayerNormalization";
  return [
    {
      operation: layer,
      name,
      ...extents,
      sources,
      build: (b, ...values) => b.layerNormalization(values[0]!, values[1]!, values[2], epsilon),
    },
    {
      operation: layer,
      name: `${name}, no bias`,
      ...extents,
      sources: [x, scale],
      build: (b, value, factor) => b.layerNormalization(value, factor, undefined, epsilon),
    },
    {
      operation: layer,
      name: `${name}, frozen scale`,
      ...extents,
      sources,
      variables: [0],
      build: (b, ...values) => b.layerNormalization(values[0]!, values[1]!, values[2], epsilon),
    },
    {
      operation: "RMSNormalization",
      name,
      ...extents,
      sources: [x, scale],
      build: (b, value, factor) => b.rmsNormalization(value, factor, epsilon),
    },
  ];
}

const normalisationCases: readonly OperationCase[] = [
  ...softmaxes("a vector", [5]),
  ...softmaxes("large values", [2, 5], -50, 50),
  ...softmaxes("symbolic", ["batch", 2, "length", "length"]),
  ...softmaxes("no rows", ["rows", 4]),
  ...cross("three rows", [3], [0, 3, 2]),
  ...cross("large logits", [2], [1, 1], -60, 60),
  ...cross("symbolic rows", ["length"], [1, 1, 0]),
  ...cross("no rows", ["rows"], []),
  ...norms("a matrix", [2, 6], 1e-5),
  ...norms("three axes", ["batch", "length", 4], 1e-6),
  ...norms("a large epsilon", [2, 3], 0.5),
  ...norms("no rows", ["rows", 4], 1e-5),
];

const rotaryCases: readonly OperationCase[] = [
  {
    operation: "RotaryEmbedding",
    name: "numbers",
    sources: [float32([2, 2, 3, 4]), float32([2, 3, 2]), float32([2, 3, 2])],
    variables: [0],
    build: (b, x, cosine, sine) => b.rotaryEmbedding(x, cosine, sine),
  },
  {
    operation: "RotaryEmbedding",
    name: "symbolic, tables from angles",
    symbols,
    sources: [float32(["batch", 3, "length", 8]), float32(["batch", "length", 4])],
    variables: [0],
    build: (b, x, angles) => b.rotaryEmbedding(x, b.cosine(angles), b.sine(angles)),
  },
];

function dropout(name: string, shape: Shape, ratio: number, site: number, seed: number): OperationCase {
  return {
    operation: "SeededDropout",
    name,
    symbols,
    sources: [float32(shape, 1, 2), exactly("int32", [1], [seed])],
    build: (b, x, key) => b.seededDropout(x, key, { ratio, site }),
  };
}

const dropoutCases: readonly OperationCase[] = [
  dropout("a vector", [20], 0.5, 0, 1),
  dropout("a matrix", [4, 6], 0.25, 3, -7),
  dropout("three axes, symbolic", ["batch", "length", 5], 0.5, 2 ** 20, 2 ** 31 - 1),
  dropout("nothing", [4, 6], 0, 1, 5),
  dropout("no rows", ["rows", 6], 0.1, 1, -(2 ** 31)),
];

export const layerCases = [
  ...matrixCases,
  ...inverseCases,
  ...normalisationCases,
  ...rotaryCases,
  ...dropoutCases,
];
