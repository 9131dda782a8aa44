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

/** An example with any number of labels. */
export interface LabelSetExample extends EncodedTokens {
  /** Ids of the labels that hold, rising. */
  readonly labelSet: readonly number[];
}

/** An example of one text, `inputIds`, and another that is written after reading it. */
export interface SequencePairExample extends EncodedTokens {
  /** What is written, to its end; -100 where it is not trained on. */
  readonly targets: readonly number[];
}

/** A question as the data asks it. */
export interface AnsweredQuestion {
  readonly context: string;
  /** The answers that are right; none where the context has none. */
  readonly answers: readonly string[];
}

/** The part of a context that an example shows. Windows of one question share the question. */
export interface AnswerWindow {
  readonly question: AnsweredQuestion;
  /** Position of the first token of the context. */
  readonly contextStart: number;
  /** Characters of the context that its tokens stand for, first and one after the last, in UTF-16 units. */
  readonly offsets: readonly (readonly [number, number])[];
}

/** A question with a window of its context; both ends are the first position where it holds no answer. */
export interface SpanExample extends EncodedTokens {
  /** Positions of the answer's first and last token. */
  readonly span: { readonly start: number; readonly end: number };
  readonly window: AnswerWindow;
}

export type TokenizedExample =
  TokenLabelledExample | SequenceLabelledExample | LabelSetExample | SpanExample | SequencePairExample;

/** Positions with a label; 1 for an example that is labelled as a whole. */
export function supervisedTokens(example: TokenizedExample): number {
  const labels = "targets" in example ? example.targets : "labels" in example ? example.labels : undefined;
  return labels?.reduce((count, label) => (label === ignoredLabel ? count : count + 1), 0) ?? 1;
}

/** Tokens that are read and written. */
export function tokenCount(example: TokenizedExample): number {
  return example.inputIds.length + ("targets" in example ? example.targets.length : 0);
}
