/**
 * @file Host tensors: a dtype, a shape and a typed array in row-major order. Knows nothing of files
 * or graphs.
 */

/** Element types of graph values and host tensors. bfloat16 and float16 exist on disk only. */
export type DataType = "float32" | "int64" | "int32" | "uint32" | "uint8" | "int8" | "bool";

/** Element types that tensor files hold. */
export type StoredDataType = DataType | "float64" | "float16" | "bfloat16" | "int16";

export const bytesPerElement: Readonly<Record<StoredDataType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int64: 8,
  int32: 4,
  uint32: 4,
  int16: 2,
  uint8: 1,
  int8: 1,
  bool: 1,
};

export interface TypedArrayOf {
  float32: Float32Array;
  int64: BigInt64Array;
  int32: Int32Array;
  uint32: Uint32Array;
  uint8: Uint8Array;
  int8: Int8Array;
  /** One byte an element, 0 or 1. */
  bool: Uint8Array;
}

/** A tensor in host memory. */
export interface Tensor<T extends DataType = DataType> {
  readonly dtype: T;
  readonly shape: readonly number[];
  readonly data: TypedArrayOf[T];
}

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function float32Tensor(
  shape: readonly number[],
  data: Float32Array | readonly number[],
): Tensor<"float32"> {
  return { dtype: "float32", shape, data: data instanceof Float32Array ? data : Float32Array.from(data) };
}

export function int64Tensor(shape: readonly number[], data: readonly number[]): Tensor<"int64"> {
  return { dtype: "int64", shape, data: BigInt64Array.from(data, BigInt) };
}
