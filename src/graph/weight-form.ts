/**
 * @file How a frozen matrix is kept in place of float32 numbers: the forms there are, and the arrays each consists of.
 * A value of the graph is the same matrix in every form, up to rounding; only whoever writes the graph for a runtime
 * looks at the form. Knows no files.
 */
import type { DataType } from "../tensor/tensor.ts";
import type { FourBitKind } from "../tensor/four-bit-blocks.ts";
import { blockCount } from "../tensor/four-bit-blocks.ts";

/** A form other than float32 numbers in the matrix's own order. */
export interface FourBitForm {
  readonly kind: FourBitKind;
  /** Consecutive numbers that share a scale. */
  readonly blockSize: number;
}

export type WeightForm = FourBitForm;

/** Element types of arrays that forms consist of. */
export type PartType = DataType;

/** One array of a stored matrix. */
export interface WeightPart {
  readonly dtype: PartType;
  readonly shape: readonly number[];
}

/** Names of a form's arrays: its numbers, and what they are multiplied by. */
export type PartName = "values" | "scales";

/** The arrays that a matrix consists of in a form. */
export function partsOf(form: WeightForm, shape: readonly number[]): Readonly<Record<PartName, WeightPart>> {
  const count = shape.reduce((product, extent) => product * extent, 1);
  return {
    values: { dtype: "uint8", shape: [Math.ceil(count / 2)] },
    scales: { dtype: "float32", shape: [blockCount(count, form.blockSize)] },
  };
}
