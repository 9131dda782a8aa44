/**
 * @file Answers to questions: the best span of a context from the logits of its windows, and exact match and F1 of the
 * text as SQuAD's own script computes them (Rajpurkar et al. 2016; without answers, version 2.0 of 2018).
 */
import type { AnsweredQuestion, AnswerWindow } from "../data/tokenized-example.ts";

/** Longest answer considered, in tokens: as BERT's script. */
const maximumAnswerTokens = 30;

/** The logits of one window: that an answer starts at a position, and that it ends there. */
export interface WindowLogits {
  readonly window: AnswerWindow;
  readonly start: readonly number[];
  readonly end: readonly number[];
}

interface Candidate {
  readonly score: number;
  readonly text: string;
}

/** The best span of a window. */
function bestSpan({ window, start, end }: WindowLogits): Candidate {
  const { question, contextStart, offsets } = window;
  let best: Candidate = { score: -Infinity, text: "" };
  for (const [first, [from]] of offsets.entries())
    for (let last = first; last < Math.min(offsets.length, first + maximumAnswerTokens); last++) {
      const score = (start[contextStart + first] ?? -Infinity) + (end[contextStart + last] ?? -Infinity);
      if (score > best.score)
        best = { score, text: question.context.slice(from, offsets[last]?.[1] ?? from) };
    }
  return best;
}

/**
 * The answer to each question, from all its windows.
 * @param mayBeNone Whether a question may have no answer: then pointing to the first position competes with the spans.
 */
export function predictAnswers(
  windows: readonly WindowLogits[],
  mayBeNone: boolean,
): Map<AnsweredQuestion, string> {
  const best = new Map<AnsweredQuestion, Candidate>();
  const none = new Map<AnsweredQuestion, number>();
  for (const logits of windows) {
    const { question } = logits.window;
    const found = bestSpan(logits);
    if (found.score > (best.get(question)?.score ?? -Infinity) || !best.has(question))
      best.set(question, found);
    // The window that sees the answer is the least sure that there is none.
    const score = (logits.start[0] ?? -Infinity) + (logits.end[0] ?? -Infinity);
    none.set(question, Math.min(none.get(question) ?? Infinity, score));
  }
  return new Map(
    [...best].map(([question, { score, text }]) => [
      question,
      mayBeNone && (none.get(question) ?? -Infinity) > score ? "" : text,
    ]),
  );
}

/** A text without case, punctuation, articles and surplus white space, as SQuAD compares answers. */
export function normaliseAnswer(text: string): string {
  return text
    .toLowerCase()
    .replace(/[!-/:-@[-`{-~]/gu, "")
    .replace(/(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu, " ")
    .trim()
    .replace(/\s+/gu, " ");
}

const wordsOf = (text: string): string[] => (text === "" ? [] : text.split(" "));

/** F1 of the words two answers share. */
function wordF1(predicted: string, actual: string): number {
  const [own, expected] = [wordsOf(predicted), wordsOf(actual)];
  if (own.length === 0 || expected.length === 0) return Number(own.length === expected.length);
  const left = new Map<string, number>();
  for (const word of expected) left.set(word, (left.get(word) ?? 0) + 1);
  const shared = own.filter((word) => {
    const count = left.get(word) ?? 0;
    left.set(word, count - 1);
    return count > 0;
  }).length;
  return (2 * shared) / (own.length + expected.length);
}

/** Means over the questions of the best match with one of the right answers, from 0 to 1. */
export function answerScores(answers: ReadonlyMap<AnsweredQuestion, string>): {
  readonly exactMatch: number;
  readonly f1: number;
} {
  let [exactMatch, f1] = [0, 0];
  for (const [question, answer] of answers) {
    const predicted = normaliseAnswer(answer);
    const right = (question.answers.length === 0 ? [""] : question.answers).map(normaliseAnswer);
    exactMatch += right.includes(predicted) ? 1 : 0;
    f1 += Math.max(...right.map((actual) => wordF1(predicted, actual)));
  }
  return { exactMatch: exactMatch / answers.size, f1: f1 / answers.size };
}
