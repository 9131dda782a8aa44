/**
 * @file What every operation must say of itself: its result types, its gradient, how ONNX expresses it,
 * and what it computes, slowly and plainly, for tests. Knows no operation in particular.
 */
import type { DataType } from "../tensor/tensor.ts";
import type { Dimension, DimensionValues, Shape } from "./dimension.ts";
import type { Node, OperationAttributes, OperationName, Value, ValueType } from "./graph.ts";
import type { GraphBuilder } from "./builder.ts";
import type { PartName, RowRange } from "./weight-form.ts";

/** The record of one operation. */
export interface Operation<K extends OperationName> {
  /**
   * Types of the outputs. Throws an internal error where the inputs cannot be meant; a `Leaf` is typed by
   * whoever creates it and has no rule.
   */
  readonly infer: (inputs: readonly (Value | undefined)[], attributes: OperationAttributes[K]) => ValueType[];
  /**
   * Adds the nodes of the vector-Jacobian product: from the gradients of the outputs to those of the inputs.
   * Only inputs whose `wanted` is true need a result.
   */
  readonly gradient: (rule: GradientRule<K>) => (Value | undefined)[];
  /** Writes the node as ONNX nodes. */
  readonly lower: (node: Node<K>, target: LoweringTarget) => void;
  /** The definition in plain TypeScript, on 64-bit floats. */
  readonly interpret: (
    node: Node<K>,
    inputs: readonly HostArray[],
    dimensions: DimensionValues,
  ) => HostArray[];
}

export interface GradientRule<K extends OperationName> {
  readonly builder: GraphBuilder;
  readonly node: Node<K>;
  /** Gradient of each output; `undefined` where nothing depends on it. */
  readonly outputGradients: readonly (Value | undefined)[];
  readonly wanted: readonly boolean[];
}

/** A tensor of the interpreter: integers and booleans are kept as numbers. */
export interface HostArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export type OnnxAttribute = number | string | boolean | readonly number[];

/** An attribute ONNX types as float although its value may be integral. */
export interface FloatAttribute {
  readonly float: number;
}

/** Where lowering writes to. Names are those of ONNX values. */
export interface LoweringTarget {
  /** Name of a node's input; empty for an optional one left out. */
  readonly input: (index: number) => string;
  /** Name of a node's output; empty where nothing uses it, so that it is not computed. */
  readonly output: (index: number) => string;
  /** Name for the given output even where nothing uses it. */
  readonly requiredOutput: (index: number) => string;
  /** Name of one array of a weight that is kept in a form, of all its rows or of some that can be had alone. */
  readonly weightPart: (weight: Node<"Weight">, part: PartName, rows?: RowRange) => string;
  /** Whether a product of the graph reads the weight some rows at a time. */
  readonly isReadInBlocks: (weight: Node<"Weight">) => boolean;
  /** A fresh name for an intermediate value; with its type, its memory can be reused for others of equal type. */
  readonly intermediate: (hint: string, type?: ValueType) => string;
  readonly emit: (
    operationType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes?: Readonly<Record<string, OnnxAttribute | FloatAttribute>>,
    domain?: "" | "com.microsoft",
  ) => void;
  /** Name of a literal. */
  readonly constant: (dtype: DataType, shape: readonly number[], data: readonly number[]) => string;
  /** Name of an int64 vector holding the extents, computed at run time where they are symbolic. */
  readonly extents: (shape: readonly Dimension[]) => string;
  /** Name of an int64 scalar holding one extent. */
  readonly extent: (dimension: Dimension) => string;
}

/** ONNX's numbers for element types (TensorProto.DataType). */
export const onnxDataType: Readonly<Record<DataType, number>> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  uint32: 12,
};

/** Strides in elements of a row-major array. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = (strides[axis + 1] ?? 1) * (shape[axis + 1] ?? 1);
  return strides;
}

/** Extents before, at and after an axis, multiplied: the loop nest of every operation along one axis. */
export function splitAtAxis(
  shape: readonly number[],
  axis: number,
): [outer: number, extent: number, inner: number] {
  const product = (part: readonly number[]) => part.reduce((a, b) => a * b, 1);
  return [product(shape.slice(0, axis)), shape[axis] ?? 1, product(shape.slice(axis + 1))];
}

/** Type of a value like `value` with another shape. */
export function typed(value: ValueType, shape: Shape): ValueType {
  return { dtype: value.dtype, shape };
}
