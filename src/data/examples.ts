/**
 * @file The records of a data file tokenised for a task, and a report of what became of its rows. Knows nothing of
 * batches or models.
 */
import { DeltafitError } from "../errors.ts";
import { withTimeLimit } from "../files/time-limit.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import type { Encode, EncodeOptions, Outcome } from "./encode-record.ts";
import { encoderFor } from "./encode-record.ts";
import type { Task } from "../models/forward.ts";
import type { DataFormat, DataRecord, ParsedData } from "./formats.ts";
import type { LabelMap, LabelOptions, PlacedLabel } from "./labels.ts";
import { createLabelMap } from "./labels.ts";
import type { Row } from "./read-rows.ts";
import type { TokenizedExample } from "./tokenized-example.ts";
import { supervisedTokens, tokenCount } from "./tokenized-example.ts";

export interface DatasetReport {
  readonly format: DataFormat;
  readonly examples: number;
  readonly tokens: number;
  /** Positions with a label; one an example where it is labelled as a whole. */
  readonly supervisedTokens: number;
  /** Examples cut to the sequence length. */
  readonly truncated: number;
  /** Tokens of the longest example, after cutting. */
  readonly longest: number;
  readonly dropped: readonly { readonly line: number; readonly reason: string }[];
}

export interface Dataset {
  readonly examples: readonly TokenizedExample[];
  readonly report: DatasetReport;
  /** Number of classes and their names, for the tasks that have some. */
  readonly labels: Pick<LabelMap, "count" | "names"> | undefined;
}

export interface DatasetOptions extends LabelOptions, EncodeOptions {}

/**
 * Tokenises records for a task. Rows without anything to train on are dropped and listed in the report.
 *
 * - `causal-lm`: text and end of sequence, all trained on; prompt and completion, the completion trained on;
 *   chat, the assistant's turns trained on. The first position never has a label: nothing predicts it.
 * - `seq2seq-lm`: prompt and completion with their special tokens, the completion written after the prompt is read.
 * - `classification`, `regression`: one text or a pair with its special tokens, of a pair the longer text cut
 *   first.
 * - `multi-label-classification`: as classification, with a list of labels.
 * - `question-answering`: a question and its context; a long context makes several examples.
 * - `token-classification`: words with tags; the first piece of a word has the tag's id, the others -100.
 * - `masked-lm`: text with its special tokens; every token that may be masked has its own id as label.
 *
 * @throws DeltafitError `data-invalid` naming the row, or if all rows are dropped; `tokenizer-mismatch`.
 */
export function tokenizeData(
  data: ParsedData,
  task: Task,
  tokenizer: Tokenizer,
  options: DatasetOptions,
): Dataset {
  assertSequenceLength(options.sequenceLength, task, tokenizer);
  const labels = labelMapFor(data.records, task, options);
  const encode = encoderFor(task, tokenizer, options, labels);
  const examples: TokenizedExample[] = [];
  const dropped: { line: number; reason: string }[] = [];
  let truncated = 0;
  for (const { row, outcome } of encodeAll(data.records, encode)) {
    if ("dropped" in outcome) {
      dropped.push({ line: row.line, reason: outcome.dropped });
      continue;
    }
    examples.push(...outcome.examples);
    if (outcome.isTruncated) truncated++;
  }
  if (examples.length === 0) throw allDropped(data.records, dropped);
  const report: DatasetReport = {
    format: data.format,
    examples: examples.length,
    tokens: examples.reduce((sum, example) => sum + tokenCount(example), 0),
    supervisedTokens: examples.reduce((sum, example) => sum + supervisedTokens(example), 0),
    truncated,
    longest: examples.reduce((longest, { inputIds }) => Math.max(longest, inputIds.length), 0),
    dropped,
  };
  return { examples, report, labels: labels && { count: labels.count, names: labels.names } };
}

function assertSequenceLength(sequenceLength: number, task: Task, tokenizer: Tokenizer): void {
  const special = task === "causal-lm" ? 0 : tokenizer.addSpecialTokens([], []).inputIds.length;
  if (Number.isInteger(sequenceLength) && sequenceLength > special) return;
  const expected = `an integer above ${special}${special > 0 ? ", the special tokens of a pair" : ""}`;
  throw new DeltafitError("usage-invalid", `Sequence length: expected ${expected}, found ${sequenceLength}.`);
}

/** Records that share one time limit: starting a limit for each would cost more than most records themselves. */
const recordsPerLimit = 64;
/** As a tokenizer's own limit: 2 s and 50 microseconds a UTF-16 unit, here for all records that share it. */
const groupLimitMs = (records: readonly DataRecord[]): number =>
  Math.round(2_000 + records.reduce((sum, record) => sum + textLength(record), 0) / 20);

/** Long conversations are rendered and encoded again for each of their turns. */
function textLength(record: DataRecord): number {
  switch (record.kind) {
    case "text":
      return record.text.length;
    case "completion":
      return record.prompt.length + record.completion.length;
    case "label-set":
    case "labelled":
      return record.first.length + (record.second?.length ?? 0);
    case "tagged":
      return record.words.reduce((sum, word) => sum + word.length, 0);
    case "question":
      return record.question.length + record.context.length;
    case "chat": {
      const characters = record.messages.reduce(
        (sum, { content }) => sum + (content?.length ?? 0) + 1_000,
        0,
      );
      return characters * record.messages.length;
    }
  }
}

function* encodeAll(
  records: readonly DataRecord[],
  encode: Encode,
): Generator<{ readonly row: Row; readonly outcome: Outcome }> {
  for (let start = 0; start < records.length; start += recordsPerLimit) {
    const group = records.slice(start, start + recordsPerLimit);
    const limitMs = groupLimitMs(group);
    const outcomes: { row: Row; outcome: Outcome }[] = [];
    const onTimeout = (): DeltafitError => {
      const where = group[outcomes.length]?.row.where ?? "The data";
      const message = `${where}: encoding the rows up to here took more than ${limitMs} ms.`;
      const hint = "A regular expression in tokenizer.json or a loop in the chat template may be at fault.";
      return new DeltafitError("tokenizer-mismatch", message, hint);
    };
    withTimeLimit(
      limitMs,
      () => {
        for (const record of group) {
          outcomes.push({ row: record.row, outcome: inRow(record.row, () => encode(record)) });
        }
      },
      onTimeout,
    );
    yield* outcomes;
  }
}

/** Names the row in errors of the tokenizer and the chat template, which do not know it. */
function inRow<Result>(row: Row, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    if (!DeltafitError.isInstance(error) || error.message.startsWith(row.where)) throw error;
    throw new DeltafitError(error.code, `${row.where}: ${error.message}`, error.hint, error);
  }
}

function allDropped(
  records: readonly DataRecord[],
  dropped: readonly { line: number; reason: string }[],
): DeltafitError {
  const [first] = dropped;
  const place = records[0]?.row.where ?? "The data";
  const reason = first?.reason ?? "unknown";
  const message = `All ${records.length} rows were dropped; the first (${place}): ${reason}.`;
  return new DeltafitError("data-invalid", message, "Check the data, or raise the sequence length.");
}

const tasksWithLabels: readonly Task[] = [
  "classification",
  "multi-label-classification",
  "token-classification",
];

function labelMapFor(
  records: readonly DataRecord[],
  task: Task,
  options: LabelOptions,
): LabelMap | undefined {
  if (!tasksWithLabels.includes(task)) return undefined;
  let flagCount: number | undefined;
  const placed = records.flatMap((record): PlacedLabel[] => {
    const { row } = record;
    if (record.kind === "labelled") return [{ row, label: record.label }];
    if (record.kind === "tagged") return record.tags.map((label) => ({ row, label }));
    if (record.kind !== "label-set") return [];
    return record.labels.flatMap((label, index) => {
      if (typeof label !== "boolean") return [{ row, label }];
      flagCount = Math.max(flagCount ?? 0, index + 1);
      return [];
    });
  });
  // Flags say how many labels there are, but not what they are called.
  const labelCount = options.labelCount ?? options.labelNames?.length ?? flagCount;
  return createLabelMap(placed, { ...options, labelCount });
}
