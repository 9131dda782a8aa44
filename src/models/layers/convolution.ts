/** @file Convolution along the sequence, as one matrix product over neighbouring positions. */
import { addDimensions } from "../../graph/dimension.ts";
import type { Value } from "../../graph/graph.ts";
import type { ForwardContext } from "../forward.ts";

/**
 * y[p] = bias + sum over t of W[:, :, t] x[p + t - (kernel - 1) / 2], zero beyond the sequence's ends:
 * x [tokens, in] -> [tokens, out]. The weight is stored as [out, in, kernel]; the kernel is odd.
 */
export function convolveSequence(
  context: ForwardContext,
  path: string,
  x: Value,
  settings: { readonly in: number; readonly out: number; readonly kernel: number },
): Value {
  const { builder, sequence } = context;
  const { in: from, out, kernel } = settings;
  const margin = (kernel - 1) / 2;
  const padded = builder.pad(builder.reshape(x, [sequence.batch, sequence.length, from]), 1, margin, margin);
  const neighbours = Array.from({ length: kernel }, (_, offset) => {
    const rows = builder.slice(padded, 1, offset, addDimensions(sequence.length, offset));
    const inSequence = sharesSequence(context, offset, margin);
    const seen = inSequence ? builder.multiply(rows, inSequence) : rows;
    return builder.reshape(seen, [sequence.tokens, from, 1]);
  });
  const unfolded = builder.reshape(builder.concat(neighbours, 2), [sequence.tokens, from * kernel]);
  const weight = builder.reshape(context.parameter(`${path}.weight`, [out, from, kernel]), [
    out,
    from * kernel,
  ]);
  return builder.gemm(unfolded, weight, { transB: true, c: context.parameter(`${path}.bias`, [out]) });
}

/**
 * float32 [batch, length, 1]: 1 where the position `offset - margin` places on belongs to the same sequence; `undefined`
 * where rows are single sequences.
 */
function sharesSequence(
  { builder, sequence }: ForwardContext,
  offset: number,
  margin: number,
): Value | undefined {
  const { batch, length, sequenceStarts } = sequence;
  if (!sequenceStarts || offset === margin) return undefined;
  const padded = builder.pad(builder.cast(sequenceStarts, "float32"), 1, margin, margin);
  const ofNeighbours = builder.slice(padded, 1, offset, addDimensions(length, offset));
  const isSame = builder.equal(builder.cast(ofNeighbours, "int64"), sequenceStarts);
  return builder.reshape(builder.cast(isSame, "float32"), [batch, length, 1]);
}
