/** @file How examples become batches for a model and a task, the same for training, evaluation and the command line. */
import type { Base } from "../base/base.ts";
import type { BatchesOptions } from "../data/batches.ts";
import { maskExample } from "../data/masking.ts";
import type { PackingOptions } from "../data/packing.ts";
import { supervisedTokens } from "../data/tokenized-example.ts";
import type { TokenizedExample } from "../data/tokenized-example.ts";
import { DeltafitError } from "../errors.ts";
import type { Tokenizer } from "../files/tokenizer.ts";

/** What batches need of a tokenizer. */
export type BatchTokenizer = Pick<Tokenizer, "padTokenId" | "eosTokenId" | "maskTokenId" | "vocabularySize">;

/**
 * Padding and, for masked language modelling, masks that differ from epoch to epoch.
 * @param seed Decides the order of the examples and the masks.
 * @throws DeltafitError `tokenizer-mismatch` where the task needs a token that the tokenizer does not have.
 */
export function batchSettings(
  { model, settings }: Pick<Base, "model" | "settings">,
  tokenizer: BatchTokenizer,
  { batchSize, seed }: Pick<BatchesOptions, "batchSize" | "seed">,
): BatchesOptions {
  const padTokenId = tokenizer.padTokenId ?? model.padTokenId ?? tokenizer.eosTokenId ?? 0;
  const common = { padTokenId, batchSize, seed };
  if (settings.task !== "masked-lm") return common;
  const { maskTokenId, vocabularySize } = tokenizer;
  if (maskTokenId === undefined)
    throw new DeltafitError(
      "tokenizer-mismatch",
      "The tokenizer has no mask token, which masked language modelling needs.",
      "Use an encoder's own tokenizer.",
    );
  const masking = { maskTokenId, vocabularySize, seed };
  return {
    ...common,
    transform: (example, index, epoch) =>
      "labels" in example ? maskExample(example, index, epoch, masking) : example,
  };
}

/**
 * How examples are packed into rows: never longer than `sequenceLength`. Of a layer's products, those with weights
 * cost about 24 * hidden^2 operations a position and those of attention 4 * hidden * length, so their costs meet at
 * a length of some hidden sizes; with the softmax and the masks, at about four.
 */
export function packingFor({ model }: Pick<Base, "model">, sequenceLength: number): PackingOptions {
  return { maximumLength: sequenceLength, attentionLength: 4 * model.hiddenSize };
}

/** The row in which an example is supervised. */
function supervisedRow(example: TokenizedExample): readonly number[] {
  return "targets" in example ? example.targets : example.inputIds;
}

/** The largest batch that examples can make: its longest row, and the supervised tokens in all its rows. */
export function largestBatch(
  examples: readonly TokenizedExample[],
  batchSize: number,
): { readonly length: number; readonly supervisedTokens: number } {
  const counts = examples.map(supervisedTokens).sort((a, b) => b - a);
  return {
    length: examples.reduce((longest, example) => Math.max(longest, supervisedRow(example).length), 1),
    supervisedTokens: counts.slice(0, batchSize).reduce((sum, count) => sum + count, 0),
  };
}
