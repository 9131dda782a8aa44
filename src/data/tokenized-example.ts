/** @file What an example is once it is token ids. Knows nothing of how it was made. */

/** The label of a position that is not trained on. */
export const ignoredLabel = -100;

interface EncodedTokens {
  readonly inputIds: readonly number[];
  /** Missing for causal language models. */
  readonly tokenTypeIds?: readonly number[];
}

/** An example with a label at every position of `inputIds`, not shifted; -100 where it is not trained on. */
export interface TokenLabelledExample extends EncodedTokens {
  readonly labels: readonly number[];
}

/** An example with one label: a class id, or a number for regression. */
export interface SequenceLabelledExample extends EncodedTokens {
  readonly label: number;
}

export type TokenizedExample = TokenLabelledExample | SequenceLabelledExample;

/** Positions with a label; 1 for an example with one label. */
export function supervisedTokens(example: TokenizedExample): number {
  if ("label" in example) return 1;
  return example.labels.reduce((count, label) => (label === ignoredLabel ? count : count + 1), 0);
}
