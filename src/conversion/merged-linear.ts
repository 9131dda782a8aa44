/**
 * @file LoRA on slices of a fused layer's output, each with matrices of its own, as one LoRA on the whole layer:
 * A's one below the other, B's as blocks, zeros elsewhere. The product is the same to the last bit.
 * Source: loralib's `MergedLinear` (microsoft/LoRA), in which `enable_lora` says which slices are adapted.
 */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { NamedValues } from "./named-values.ts";

export interface SlicedMatrices {
  readonly path: string;
  /** [slices x rank, in] */
  readonly a: NamedValues;
  /** [slices x part, rank] */
  readonly b: NamedValues;
}

export interface WholeMatrices {
  /** [slices x rank, in] */
  readonly a: NamedValues;
  /** [out, slices x rank] */
  readonly b: NamedValues;
}

/** The paper's choice where two of three slices are adapted: query and value. */
const queryAndValue = [0, 2];

/**
 * @param out Width of the fused layer.
 * @param slices Numbers of the adapted slices; without them all, or of three two, which are query and value.
 * @throws DeltafitError `adapter-mismatch` where shapes are of no fused layer of that width.
 */
export function wholeMatrices(
  { path, a, b }: SlicedMatrices,
  out: number,
  slices: readonly number[] | undefined,
  where: string,
): WholeMatrices {
  const [rows = 0, rank = 0] = b.shape;
  const count = (a.shape[0] ?? 0) / rank;
  const part = rows / count;
  const total = out / part;
  const isWhole = [count, part, total].every((value) => Number.isInteger(value) && value > 0);
  const places = slices ?? (isWhole && count === total ? [...Array(count).keys()] : queryAndValue);
  const fits =
    isWhole &&
    places.length === count &&
    places.every((place) => place < total) &&
    (slices !== undefined || count === total || total === 3);
  if (!fits)
    throw new DeltafitError(
      "adapter-mismatch",
      `${where}: ${quote(path)} has matrices [${a.shape.join(", ")}] and [${b.shape.join(", ")}], which fit no slices of a layer of width ${out}.`,
      "Open the base the adapter was trained on.",
    );
  const width = count * rank;
  const values = new Float32Array(out * width);
  for (const [group, place] of places.entries())
    for (let row = 0; row < part; row++)
      values.set(
        b.values.subarray((group * part + row) * rank, (group * part + row + 1) * rank),
        (place * part + row) * width + group * rank,
      );
  return { a, b: { shape: [out, width], values } };
}
