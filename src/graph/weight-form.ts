/**
 * @file How a frozen matrix is kept in place of float32 numbers: the forms there are, and the arrays each consists of.
 * A value of the graph is the same matrix in every form, up to rounding; only whoever writes the graph for a runtime
 * looks at the form. Knows no files.
 */
import { blockCount } from "../tensor/four-bit-blocks.ts";
import type { FourBitKind } from "../tensor/four-bit-blocks.ts";
import { int4ScaleShape } from "../tensor/integer-groups.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { StoredDataType } from "../tensor/tensor.ts";

/** A form other than float32 numbers in the matrix's own order. */
export type WeightForm =
  | {
      readonly kind: FourBitKind;
      /** Consecutive numbers that share a scale. */
      readonly blockSize: number;
      /** Consecutive scales that are in eight bits and share one in turn (double quantisation); left out, they are float32. */
      readonly nestedBlockSize?: number | undefined;
    }
  | { readonly kind: "bfloat16" | "float16" }
  | {
      readonly kind: "int8";
      /** 0 for one scale a row, 1 for one a column. */
      readonly axis: 0 | 1;
    }
  | {
      readonly kind: "int4";
      /** The axis along which neighbours share a scale. */
      readonly axis: 0 | 1;
      readonly blockSize: number;
    }
  | {
      /** The numbers of `int4` along axis 1, moved to 0 ... 15 around 8: what `BlockGemm` reads. Blocks are whole. */
      readonly kind: "int4-blocks";
      readonly blockSize: number;
    };

/** Rows from one up to, but not including, another. */
export interface RowRange {
  readonly from: number;
  readonly to: number;
}

/**
 * Names of a form's arrays: its numbers, and what they are multiplied by; where these scales are in eight bits, in rows
 * that share a scale, what they are multiplied by and what is added to all of them.
 */
export type PartName = "values" | "scales" | "nestedScales" | "nestedOffset";

/** One array of a stored matrix. */
export interface WeightPart {
  /** Element type in ONNX. */
  readonly type: "float32" | "bfloat16" | "float16" | "uint8" | "int8" | "int4";
  readonly shape: readonly number[];
}

/** The arrays that a matrix consists of in a form. */
export function partsOf(
  form: WeightForm,
  shape: readonly number[],
): Readonly<Partial<Record<PartName, WeightPart>> & Record<"values", WeightPart>> {
  const [rows = 0, columns = 0] = shape;
  const count = rows * columns;
  switch (form.kind) {
    case "nf4":
    case "fp4":
      return {
        values: { type: "uint8", shape: [Math.ceil(count / 2)] },
        ...fourBitScales(blockCount(count, form.blockSize), form.nestedBlockSize),
      };
    case "bfloat16":
    case "float16":
      return { values: { type: form.kind, shape } };
    case "int8":
      return {
        values: { type: "int8", shape },
        scales: { type: "float32", shape: [form.axis === 0 ? rows : columns] },
      };
    case "int4":
      return {
        values: { type: "int4", shape },
        scales: { type: "float32", shape: int4ScaleShape([rows, columns], form.axis, form.blockSize) },
      };
    case "int4-blocks": {
      const blocks = columns / form.blockSize;
      return {
        values: { type: "uint8", shape: [rows, blocks, form.blockSize / 2] },
        scales: { type: "float32", shape: [rows, blocks] },
      };
    }
  }
}

/** Where scales are in eight bits, their last row is filled up. */
function fourBitScales(
  count: number,
  nestedBlockSize: number | undefined,
): Partial<Record<PartName, WeightPart>> {
  if (nestedBlockSize === undefined) return { scales: { type: "float32", shape: [count] } };
  const rows = blockCount(count, nestedBlockSize);
  return {
    scales: { type: "uint8", shape: [rows, nestedBlockSize] },
    nestedScales: { type: "float32", shape: [rows, 1] },
    nestedOffset: { type: "float32", shape: [1] },
  };
}

/** How an array is stored in a file: two integers of four bits share a byte. */
export function storedPart({ type, shape }: WeightPart): {
  readonly dtype: StoredDataType;
  readonly shape: readonly number[];
} {
  if (type !== "int4") return { dtype: type, shape };
  return { dtype: "uint8", shape: [Math.ceil(shape.reduce((product, extent) => product * extent, 1) / 2)] };
}

/** Bytes of a matrix of a shape in a form. */
export function formBytes(form: WeightForm, shape: readonly number[]): number {
  return Object.values(partsOf(form, shape))
    .map(storedPart)
    .reduce((bytes, part) => bytes + elementCount(part.shape) * bytesPerElement[part.dtype], 0);
}

/**
 * Rows of a matrix can be had without the others in multiples of so many, counted from its first: the arrays' bytes of
 * these rows are a part of them. `undefined` where they cannot.
 */
export function rowsTogether(form: WeightForm, [, columns = 0]: readonly number[]): number | undefined {
  switch (form.kind) {
    case "bfloat16":
    case "float16":
      return 1;
    case "nf4":
    case "fp4": {
      const numbers = form.blockSize * (form.nestedBlockSize ?? 1);
      return numbers / greatestCommonDivisor(numbers, columns);
    }
    case "int8":
      return form.axis === 0 ? 1 : undefined;
    case "int4":
      return form.axis === 1 && columns % form.blockSize === 0 ? 1 : undefined;
    case "int4-blocks":
      return undefined;
  }
}

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);
