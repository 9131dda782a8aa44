/**
 * @file The graph: values, the nodes that make them, and the closed list of operations with their
 * attributes. Forward and backward passes are the same type of graph. Knows no runtime, no file format
 * and no model.
 */
import type { DataType } from "../tensor/tensor.ts";
import type { Dimension, Shape } from "./dimension.ts";
import type { RowRange, WeightForm } from "./weight-form.ts";

/**
 * Every operation and its attributes. Names and meanings are ONNX's own wherever ONNX (or ONNX Runtime's
 * `com.microsoft` set) has the operation.
 */
export interface OperationAttributes {
  /** A tensor given at every run. */
  Input: { readonly name: string };
  /** A frozen tensor of the base model, by its name in the checkpoint; kept as float32 numbers where no form is given. */
  Weight: { readonly name: string; readonly form?: WeightForm };
  /** A small literal, row-major. */
  Constant: { readonly data: readonly number[] };

  Add: NoAttributes;
  Sub: NoAttributes;
  Mul: NoAttributes;
  Div: NoAttributes;
  Neg: NoAttributes;
  Exp: NoAttributes;
  Log: NoAttributes;
  Sqrt: NoAttributes;
  Reciprocal: NoAttributes;
  Cos: NoAttributes;
  Sin: NoAttributes;
  Tanh: NoAttributes;
  Sigmoid: NoAttributes;
  Erf: NoAttributes;
  /** alpha * x + beta, cut to 0 ... 1. */
  HardSigmoid: { readonly alpha: number; readonly beta: number };
  Relu: NoAttributes;
  Gelu: { readonly approximate: "none" | "tanh" };
  /** x * sigmoid(x): SiLU. */
  Swish: NoAttributes;

  /** 1 where the comparison holds. */
  Equal: NoAttributes;
  LessOrEqual: NoAttributes;
  And: NoAttributes;
  Where: NoAttributes;
  Cast: { readonly to: DataType };
  /** x, taken as a constant by whoever differentiates. */
  StopGradient: NoAttributes;

  /** Batched matrix product with NumPy's broadcasting of leading axes. */
  MatMul: NoAttributes;
  /** alpha * op(A) op(B) + beta * C over matrices; C is optional and broadcasts. */
  Gemm: { readonly alpha: number; readonly beta: number; readonly transA: boolean; readonly transB: boolean };
  /** Inverses of the square matrices of the last two axes. */
  Inverse: NoAttributes;

  /** The largest magnitude of each row of a matrix / (255 - zeroPoint), and never zero: [rows, 1]. */
  RowScale: ZeroPoint;
  /** Rows divided by their scales, rounded and moved to 0 ... 255 around the zero point: uint8. */
  QuantizeRows: ZeroPoint;
  /** (x - zeroPoint) W or (x - zeroPoint) W^T for x of `QuantizeRows` and W in eight bits, or some of its rows: float32. */
  QuantizedGemm: ZeroPoint & { readonly transB: boolean; readonly rows?: RowRange };
  /** x W^T for float32 x, rounded to eight bits on the way, and W in blocks of four bits. */
  BlockGemm: NoAttributes;

  Reshape: { readonly shape: Shape };
  Transpose: { readonly permutation: readonly number[] };
  Concat: { readonly axis: number };
  Slice: { readonly axis: number; readonly start: Dimension; readonly end: Dimension };
  /** Zeros around one axis: the transpose of `Slice`. */
  Pad: { readonly axis: number; readonly before: Dimension; readonly after: Dimension };
  Expand: { readonly shape: Shape };
  /** The integers from 0 to an extent: int64 of shape [end]. */
  Range: { readonly end: Dimension };

  /** Rows of the first input along axis 0, chosen by the int64 indices of the second. */
  Gather: DistinctIndices;
  /** Zeros with `rows` rows, to which rows are added at the int64 indices: the transpose of `Gather`. */
  ScatterRows: DistinctIndices & { readonly rows: Dimension };

  ReduceSum: ReduceAttributes;
  ReduceMean: ReduceAttributes;
  ReduceMax: ReduceAttributes;

  /** Over the last axis. */
  Softmax: NoAttributes;
  /** Gradient of `Softmax` from its output p and dp: p * (dp - sum(p * dp)). */
  SoftmaxGradient: NoAttributes;
  /** Per-row negative log-likelihood of int64 class ids. */
  SoftmaxCrossEntropyLoss: NoAttributes;
  /** (softmax(logits) - one-hot(targets)) * dy per row. */
  SoftmaxCrossEntropyLossGradient: NoAttributes;
  /** The softmax over all classes but the target's, whose own number is 0. */
  OtherProbabilities: NoAttributes;
  /** Over the last axis; further outputs are the mean and the inverse standard deviation. */
  LayerNormalization: { readonly epsilon: number };
  /** x / rms(x) * scale over the last axis; the second output is 1 / rms(x). */
  RMSNormalization: { readonly epsilon: number };
  /** Rotates halves of the last axis of [batch, heads, length, size] by tables [batch, length, size / 2]. */
  RotaryEmbedding: NoAttributes;

  /**
   * x / (1 - ratio) where a hash of (seed, site, element index) is above the ratio, else 0. The mask is a
   * pure function of its inputs: no random state lives in a session.
   */
  SeededDropout: { readonly ratio: number; readonly site: number };
}

type NoAttributes = Readonly<Record<never, never>>;

interface ZeroPoint {
  /** What zero becomes: 128, or 0 for rows of which no number is negative. */
  readonly zeroPoint: 0 | 128;
}

interface DistinctIndices {
  /** Whether the caller promises that no index occurs twice: scattering back is then a plain copy of rows. */
  readonly distinct: boolean;
}

interface ReduceAttributes {
  readonly axes: readonly number[];
  readonly keepDimensions: boolean;
}

export type OperationName = keyof OperationAttributes;

/** A tensor in a graph: an output of a node. */
export interface Value {
  readonly node: Node;
  readonly outputIndex: number;
  readonly dtype: DataType;
  readonly shape: Shape;
}

export interface ValueType {
  readonly dtype: DataType;
  readonly shape: Shape;
}

/** One application of an operation. Nodes are numbered in an order in which they can run. */
export interface Node<K extends OperationName = OperationName> {
  readonly id: number;
  readonly operation: K;
  readonly attributes: OperationAttributes[K];
  /** `undefined` stands for an optional input left out. */
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly Value[];
}

/** A named output of a graph. */
export interface GraphOutput {
  readonly name: string;
  readonly value: Value;
}

/** What runs: the nodes that the outputs need, in order. */
export interface Graph {
  readonly nodes: readonly Node[];
  readonly outputs: readonly GraphOutput[];
}

/** An attribute's value as text; unlike JSON it tells -0 from 0 and the infinities from NaN. */
export function attributeText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(attributeText).join()}]`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value);
  return JSON.stringify(value);
}

/** Narrows a node to one operation. */
export function isOperation<K extends OperationName>(node: Node, operation: K): node is Node<K> {
  return node.operation === operation;
}

/** The graph of everything that `outputs` need and nothing else, in running order. */
export function graphOf(outputs: readonly GraphOutput[]): Graph {
  const needed = new Map<number, Node>();
  const pending = outputs.map(({ value }) => value.node);
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (needed.has(node.id)) continue;
    needed.set(node.id, node);
    for (const input of node.inputs) if (input !== undefined) pending.push(input.node);
  }
  return { nodes: [...needed.values()].sort((a, b) => a.id - b.id), outputs };
}

/** The nodes of one operation, typed. */
export function nodesOf<K extends OperationName>(graph: Graph, operation: K): Node<K>[] {
  return graph.nodes.filter((node): node is Node<K> => isOperation(node, operation));
}
