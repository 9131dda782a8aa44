import { expect, test } from "vitest";
import type { AnsweredQuestion } from "../data/tokenized-example.ts";
import { answerScores, normaliseAnswer, predictAnswers } from "./answers.ts";

/** What `normalize_answer` of SQuAD's evaluate-v1.1.py gives. */
test.each([
  ["The  Quick, brown\tfox!", "quick brown fox"],
  ["an apple a day", "apple day"],
  ["Theatre a-la-carte", "theatre alacarte"],
  ["éa the", "éa"],
  ["U.S.A.", "usa"],
  ["  ", ""],
])("%j without case, punctuation and articles", (text, expected) => {
  expect(normaliseAnswer(text)).toBe(expected);
});

const context = "Ada wrote the first program in 1843 for Charles.";
const offsets: [number, number][] = [
  [0, 3],
  [4, 9],
  [10, 13],
  [14, 19],
  [20, 27],
  [28, 30],
  [31, 35],
];
const asked = (answers: readonly string[]): AnsweredQuestion => ({ context, answers });

/** Logits over 2 positions of the question and 7 of the context: `at` has the given ones, the rest are -5. */
const logits = (at: Readonly<Record<number, number>>) =>
  Array.from({ length: 9 }, (_, position) => at[position] ?? -5);

test("the best span of all windows lies in the context, and ends after it starts", () => {
  const question = asked(["first program"]);
  const window = { question, contextStart: 2, offsets };
  const answers = predictAnswers(
    [
      // The question's own tokens and a span that runs backwards score higher, and do not count.
      { window, start: logits({ 1: 9, 5: 3, 8: 4 }), end: logits({ 1: 9, 6: 3, 2: 4 }) },
      { window, start: logits({ 2: 1 }), end: logits({ 2: 1 }) },
    ],
    false,
  );
  expect([...answers.values()]).toEqual(["first program"]);
  expect(answerScores(answers)).toEqual({ exactMatch: 1, f1: 1 });
});

test("no answer is right where every window is surer of it than of a span", () => {
  const question = asked([]);
  const window = { question, contextStart: 2, offsets };
  const sure = { window, start: logits({ 0: 5 }), end: logits({ 0: 5 }) };
  const unsure = { window, start: logits({ 0: 1, 3: 4 }), end: logits({ 0: 1, 3: 4 }) };
  expect([...predictAnswers([sure], true).values()]).toEqual([""]);
  expect([...predictAnswers([sure, unsure], true).values()]).toEqual(["wrote"]);
  expect(answerScores(new Map([[question, ""]]))).toEqual({ exactMatch: 1, f1: 1 });
  expect(answerScores(new Map([[question, "wrote"]]))).toEqual({ exactMatch: 0, f1: 0 });
});

test("F1 is that of the shared words, with the best of the right answers", () => {
  const answers = new Map([
    [asked(["in 1843", "the year 1843"]), "year 1843"],
    [asked(["Charles"]), "Ada"],
  ]);
  expect(answerScores(answers)).toEqual({ exactMatch: 0.5, f1: 0.5 });
  const { f1 } = answerScores(new Map([[asked(["Ada wrote it it"]), "it it it"]]));
  expect(f1).toBeCloseTo((2 * (2 / 3) * (2 / 4)) / (2 / 3 + 2 / 4), 12);
});
