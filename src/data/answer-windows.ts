/**
 * @file Questions with a context as tokens: a long context in windows that overlap, each with the place of the answer in
 * it, as for SQuAD (Rajpurkar et al. 2016) since BERT. Knows no model.
 */
import { DeltafitError } from "../errors.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import type { DataRecord } from "./formats.ts";
import type { AnsweredQuestion, SpanExample } from "./tokenized-example.ts";
import { placeTokens } from "./word-pieces.ts";
import type { PlacedTokens } from "./word-pieces.ts";

/** Tokens that neighbouring windows share where nothing is said: as BERT's own script. */
const usualStride = 128;

export type QuestionRecord = Extract<DataRecord, { kind: "question" }>;

/**
 * The windows of a question; none where the question leaves no room.
 * @param stride Tokens of the context that neighbouring windows share; by default 128, or half of what fits.
 * @throws DeltafitError `usage-invalid` for a stride that leaves a window nothing new.
 */
export function encodeQuestion(
  record: QuestionRecord,
  tokenizer: Tokenizer,
  sequenceLength: number,
  stride: number | undefined,
): SpanExample[] {
  const { context, answers } = record;
  const question = tokenizer.encode(record.question.trimStart(), { addSpecialTokens: false });
  const placed = placeTokens(context, tokenizer);
  const special = tokenizer.addSpecialTokens([], []).inputIds.length;
  const room = sequenceLength - special - question.length;
  if (room <= 0) return [];
  const shared = stride ?? Math.min(usualStride, Math.floor(room / 2));
  if (shared >= room && placed.ids.length > room)
    throw new DeltafitError(
      "usage-invalid",
      `Windows that share ${shared} tokens would have no new ones: expected below ${room}, what the sequence length leaves beside the question.`,
      "Lower the stride, or raise the sequence length.",
    );
  // Where the second text of a pair begins, whatever the tokenizer puts in front and between.
  const contextStart = tokenizer.addSpecialTokens([], [-1]).inputIds.indexOf(-1) + question.length;
  const asked: AnsweredQuestion = { context, answers: answers.map(({ text }) => text) };
  const answer = answers[0] && { from: answers[0].start, to: answers[0].start + answers[0].text.length };
  return windowStarts(placed.ids.length, room, shared).map((start): SpanExample => {
    const window = {
      ids: placed.ids.slice(start, start + room),
      offsets: placed.offsets.slice(start, start + room),
    };
    const encoded = tokenizer.addSpecialTokens(question, window.ids);
    const span = answer && findSpan(window, answer.from, answer.to);
    return {
      ...encoded,
      // A window without the answer points to its first token, the classification token of encoders.
      span: span ? { start: contextStart + span.start, end: contextStart + span.end } : { start: 0, end: 0 },
      window: { question: asked, contextStart, offsets: window.offsets },
    };
  });
}

/** Where the windows over `count` tokens start. */
function windowStarts(count: number, room: number, shared: number): number[] {
  const starts = [0];
  for (let start = 0; start + room < count;) starts.push((start += room - shared));
  return starts;
}

/** The tokens of a window that hold the characters from `from` to before `to`; none where one of them is outside. */
function findSpan(
  { offsets }: PlacedTokens,
  from: number,
  to: number,
): { readonly start: number; readonly end: number } | undefined {
  const [first, last] = [offsets[0], offsets.at(-1)];
  if (!first || !last || first[0] > from || last[1] < to) return undefined;
  // As BERT's script: the last token that begins no later, and the first that ends no earlier.
  const start = offsets.findLastIndex(([begin]) => begin <= from);
  const end = offsets.findIndex(([, finish]) => finish >= to);
  return start <= end ? { start, end } : { start: Math.min(start, end), end: Math.max(start, end) };
}
