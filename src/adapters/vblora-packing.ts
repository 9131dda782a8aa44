/**
 * @file VB-LoRA's logits as PEFT keeps them with `save_only_topk_weights`: of each piece the k vectors of its largest
 * logits, as indices into the bank, and the shares of all but the last, which is what is left of 1. Unpacked, a logit is
 * the logarithm of its share, and of the vectors left out minus infinity: the same mixture, not the same logits.
 * Source: huggingface/peft, src/peft/tuners/vblora, version 0.21.
 */
import { DeltafitError } from "../errors.ts";
import { isVbloraLogits } from "../methods/vblora.ts";
import type { VbloraConfiguration } from "../methods/vblora.ts";
import type { PackedForm, PackedNumbers, PackedTensor, Packing } from "./adapter-format.ts";

const indexSuffix = "_topk_indices";
const shareSuffix = "_topk_weights";

/** Shares of one piece may add up to more than 1 by as much as rounding to 16 bits does. */
const roundingOfShares = 2 ** -6;

export const vbloraPacking: Packing<VbloraConfiguration> = {
  wholeNumbers: indexSuffix,
  formOf: (configuration, key, shape) =>
    configuration.saveTopOnly === true && isVbloraLogits(key)
      ? packedLogits(configuration, shape)
      : undefined,
};

function packedLogits(
  { topVectors, vectorCount }: VbloraConfiguration,
  shape: readonly number[],
): PackedForm {
  const pieces = shape.slice(0, -1);
  const dtype = indexType(vectorCount);
  return {
    tensors: [
      { suffix: indexSuffix, shape: [...pieces, topVectors], dtype },
      { suffix: shareSuffix, shape: [...pieces, topVectors - 1], dtype: "float32" },
    ],
    pack: (values) => packLogits(values, vectorCount, topVectors, dtype),
    unpack: ([indices = new Int32Array(), shares = new Float32Array()], where) =>
      unpackLogits({ indices, shares, vectorCount, topVectors, where }),
  };
}

function indexType(vectorCount: number): PackedTensor["dtype"] {
  if (vectorCount < 2 ** 8) return "uint8";
  return vectorCount < 2 ** 15 ? "int16" : "int32";
}

const indexArrays = { uint8: Uint8Array, int16: Int16Array, int32: Int32Array, float32: Float32Array };

function packLogits(
  values: Float32Array,
  vectorCount: number,
  topVectors: number,
  dtype: PackedTensor["dtype"],
): PackedNumbers[] {
  const pieces = values.length / vectorCount;
  const indices = new indexArrays[dtype](pieces * topVectors);
  const shares = new Float32Array(pieces * (topVectors - 1));
  for (let piece = 0; piece < pieces; piece++) {
    const logits = values.subarray(piece * vectorCount, (piece + 1) * vectorCount);
    const order = Array.from(logits.keys()).sort((a, b) => descending(logits[a] ?? 0, logits[b] ?? 0));
    const top = order.slice(0, topVectors);
    const largest = logits[top[0] ?? 0] ?? 0;
    const weights = top.map((index) => Math.exp((logits[index] ?? 0) - largest));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    indices.set(top, piece * topVectors);
    const kept = weights.slice(0, -1).map((weight) => weight / sum);
    shares.set(kept, piece * (topVectors - 1));
  }
  return [indices, shares];
}

/** Differences of infinities are no order. */
function descending(a: number, b: number): number {
  if (a === b) return 0;
  return a > b ? -1 : 1;
}

function unpackLogits({
  indices,
  shares,
  vectorCount,
  topVectors,
  where,
}: {
  readonly indices: PackedNumbers;
  readonly shares: PackedNumbers;
  readonly vectorCount: number;
  readonly topVectors: number;
  readonly where: string;
}): Float32Array {
  const pieces = indices.length / topVectors;
  const logits = new Float32Array(pieces * vectorCount).fill(-Infinity);
  for (let piece = 0; piece < pieces; piece++) {
    const chosen = indices.subarray(piece * topVectors, (piece + 1) * topVectors);
    checkIndices(chosen, vectorCount, where);
    const kept = [...shares.subarray(piece * (topVectors - 1), (piece + 1) * (topVectors - 1))];
    for (const [rank, share] of [...kept, lastShare(kept, where)].entries())
      logits[piece * vectorCount + (chosen[rank] ?? 0)] = Math.log(share);
  }
  return logits;
}

function checkIndices(chosen: PackedNumbers, vectorCount: number, where: string): void {
  const outside = chosen.find((index) => index < 0 || index >= vectorCount);
  if (outside !== undefined)
    throw invalid(where, `a piece is mixed of vector ${outside}, and the bank has ${vectorCount}`);
  if (new Set(chosen).size !== chosen.length)
    throw invalid(where, `a piece is mixed of one vector twice: ${chosen.join(", ")}`);
}

function lastShare(kept: readonly number[], where: string): number {
  const sum = kept.reduce((total, share) => total + share, 0);
  const isShare = kept.every((share) => share >= 0);
  if (!isShare || sum > 1 + roundingOfShares)
    throw invalid(
      where,
      `the shares of a piece are ${kept.join(", ")}, expected numbers from 0 that add up to at most 1`,
    );
  return Math.max(0, 1 - sum);
}

function invalid(where: string, what: string): DeltafitError {
  return new DeltafitError(
    "file-invalid",
    `${where}: ${what}.`,
    "Check that the download or the copy is complete.",
  );
}
