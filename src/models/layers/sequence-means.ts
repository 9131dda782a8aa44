/** @file The mean over each sequence's tokens where rows hold several sequences. */
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";
import { internalError } from "../../errors.ts";
import type { SequenceLayout } from "../forward.ts";

/**
 * Means of x [tokens, hidden]: [sequences, hidden], by a product with the matrix [sequences, tokens] that says which
 * tokens are a sequence's.
 * @param firstTokens int64 [sequences]: the places of the sequences' first tokens among all tokens.
 */
export function sequenceMeans(
  builder: GraphBuilder,
  { batch, length, sequences, tokens, sequenceStarts }: SequenceLayout,
  firstTokens: Value,
  x: Value,
): Value {
  if (!sequenceStarts) throw internalError("rows of one sequence have no starts.");
  const places = builder.reshape(builder.range(tokens), [batch, length]);
  const firsts = builder.add(builder.slice(places, 1, 0, 1), sequenceStarts);
  const own = builder.reshape(firstTokens, [sequences, 1]);
  const belongs = builder.cast(builder.equal(builder.reshape(firsts, [1, tokens]), own), "float32");
  return builder.divide(builder.gemm(belongs, x), builder.reduceSum(belongs, [1]));
}
