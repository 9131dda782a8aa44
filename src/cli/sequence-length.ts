/** @file How long rows are where nobody says: what the model, the tokenizer and the adapters leave. */
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { takenPositions } from "../methods/forward-pass.ts";
import type { BoundMethod } from "../methods/contract.ts";

/** Longest rows where --sequence-length is not given: attention costs grow with the square. */
const usualSequenceLength = 512;

/**
 * The longest row in tokens. Adapters with a prefix or virtual tokens take some of the model's positions.
 * @throws DeltafitError `usage-invalid` where what is given is more than there is, or nothing is left.
 */
export function sequenceLengthOf(
  given: number | undefined,
  { model, name }: Pick<Base, "model" | "name">,
  tokenizer: Pick<Tokenizer, "modelMaximumLength">,
  adapters: readonly { readonly method: BoundMethod }[],
): number {
  // An encoder-decoder has rows on two sides: what one side may hold, the other may too.
  const { sequence, source } = takenPositions(adapters, model.encoderDecoder !== undefined);
  const taken = Math.max(sequence, source);
  const left = model.maximumPositions - taken;
  const positions =
    taken === 0
      ? `the positions of ${quote(name)}`
      : `the ${model.maximumPositions} positions of ${quote(name)} without the ${taken} that adapters take`;
  if (left < 1)
    throw new DeltafitError(
      "usage-invalid",
      `There is no room for rows: expected at least one of ${positions}, found ${left}.`,
      "Lower the number of virtual tokens, or use a model with more positions.",
    );
  if (given !== undefined && given > left)
    throw new DeltafitError(
      "usage-invalid",
      `--sequence-length: expected at most ${left}, ${positions}, found ${given}.`,
      "Lower it, or use a model with more positions.",
    );
  return given ?? Math.min(usualSequenceLength, left, tokenizer.modelMaximumLength ?? Infinity);
}
