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
  const neighbours = Array.from({ length: kernel }, (_, offset) =>
    builder.reshape(builder.slice(padded, 1, offset, addDimensions(sequence.length, offset)), [
      sequence.tokens,
      from,
      1,
    ]),
  );
  const unfolded = builder.reshape(builder.concat(neighbours, 2), [sequence.tokens, from * kernel]);
  const weight = builder.reshape(context.parameter(`${path}.weight`, [out, from, kernel]), [
    out,
    from * kernel,
  ]);
  return builder.gemm(unfolded, weight, { transB: true, c: context.parameter(`${path}.bias`, [out]) });
}
