/**
 * @file Records to token ids with labels, one function a task. Knows one record at a time.
 *
 * Prompt and completion are encoded apart and joined: the prompt as it will be at generation (with the special
 * tokens the tokenizer puts in front), then the completion and the end-of-sequence token. No token can reach
 * over the seam, so what is trained is what generation continues.
 */
import { DeltafitError, internalError } from "../errors.ts";
import { encodeChat } from "../files/chat-template.ts";
import { quote } from "../files/quote.ts";
import type { EncodedInput, Tokenizer } from "../files/tokenizer.ts";
import type { Task } from "../models/forward.ts";
import { encodeQuestion } from "./answer-windows.ts";
import type { DataRecord } from "./formats.ts";
import type { LabelMap, PlacedLabel } from "./labels.ts";
import { regressionTarget } from "./labels.ts";
import type { TokenizedExample, TokenLabelledExample } from "./tokenized-example.ts";
import { ignoredLabel } from "./tokenized-example.ts";
import { addsLeadingSpace } from "./word-pieces.ts";

export interface EncodeOptions {
  /** Longer examples are cut; at least 1. */
  readonly sequenceLength: number;
  /** Whether prompts are trained on as well. Default false. */
  readonly trainOnPrompt?: boolean;
  /** What ends a causal example. Default: the tokenizer's own. */
  readonly eosTokenId?: number | undefined;
  /** Tokens that the windows of a long context share. Default 128, or half of what fits. */
  readonly stride?: number | undefined;
}

/** The examples of a record, usually one, or why there is none. */
export type Outcome =
  | { readonly examples: readonly TokenizedExample[]; readonly isTruncated: boolean }
  | { readonly dropped: string };

export type Encode = (record: DataRecord) => Outcome;

/** @param labels The classes, for the tasks that have some. */
export function encoderFor(
  task: Task,
  tokenizer: Tokenizer,
  options: EncodeOptions,
  labels: LabelMap | undefined,
): Encode {
  const idOf = labels?.idOf ?? regressionTarget;
  switch (task) {
    case "causal-lm":
      return causalEncoder(tokenizer, options);
    case "seq2seq-lm":
      return pairEncoder(tokenizer, options);
    case "classification":
    case "regression":
      return (record) =>
        record.kind === "labelled"
          ? encodeLabelled(record, tokenizer, options.sequenceLength, idOf)
          : wrongKind(record, task);
    case "multi-label-classification":
      return (record) =>
        record.kind === "label-set"
          ? encodeLabelSet(record, tokenizer, options.sequenceLength, requiredLabels(labels))
          : wrongKind(record, task);
    case "token-classification":
      return taggedEncoder(tokenizer, options.sequenceLength, idOf);
    case "question-answering":
      return (record) => {
        if (record.kind !== "question") return wrongKind(record, task);
        const examples = encodeQuestion(record, tokenizer, options.sequenceLength, options.stride);
        return examples.length === 0
          ? { dropped: "its question leaves no room for the context" }
          : { examples, isTruncated: false };
      };
    case "masked-lm":
      return (record) =>
        record.kind === "text"
          ? encodeMaskable(record.text, tokenizer, options.sequenceLength)
          : wrongKind(record, task);
  }
}

function wrongKind(record: DataRecord, task: Task): never {
  const message = `${record.row.where}: expected data for ${task}, found ${record.kind} data.`;
  throw new DeltafitError("data-invalid", message);
}

function causalEncoder(tokenizer: Tokenizer, options: EncodeOptions): Encode {
  const eosTokenId = options.eosTokenId ?? tokenizer.eosTokenId;
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const leading = tokenizer.leadingTokenIds;
  const finish = (
    prompt: readonly number[],
    completion: readonly number[],
    trainsOnPrompt: boolean,
  ): Outcome => {
    if (completion.length === 0) return { dropped: "it has no text to train on" };
    if (eosTokenId === undefined) throw noEndToken(tokenizer);
    const inputIds = [...prompt, ...completion, ...(completion.at(-1) === eosTokenId ? [] : [eosTokenId])];
    const start = trainsOnPrompt ? 0 : prompt.length;
    const labels = inputIds.map((id, position) => (position < start ? ignoredLabel : id));
    return cutCausal({ inputIds, labels, leading: leading.length }, options.sequenceLength, tokenizer);
  };
  return (record) => {
    switch (record.kind) {
      case "text":
        return finish(leading, encode(record.text), true);
      case "completion":
        return finish(
          [...leading, ...encode(record.prompt)],
          encode(record.completion),
          options.trainOnPrompt ?? false,
        );
      case "chat": {
        if (!record.messages.some(({ role }) => role === "assistant")) {
          return { dropped: "it has no turn of the assistant to train on" };
        }
        const { inputIds, labels } = encodeChat(tokenizer, record.messages, { tools: record.tools });
        const chosen = options.trainOnPrompt === true ? inputIds : labels;
        return cutCausal({ inputIds, labels: chosen, leading: 0 }, options.sequenceLength, tokenizer);
      }
      default:
        return wrongKind(record, "causal-lm");
    }
  };
}

/** Prompt and completion with their special tokens, each cut to the sequence length by itself. */
function pairEncoder(tokenizer: Tokenizer, options: EncodeOptions): Encode {
  const { sequenceLength, trainOnPrompt = false } = options;
  if (trainOnPrompt)
    throw new DeltafitError(
      "usage-invalid",
      "An encoder-decoder cannot be trained on prompts: it reads them and predicts none of their tokens.",
    );
  const eosTokenId = options.eosTokenId ?? tokenizer.eosTokenId;
  const cut = (text: string, trailing: readonly number[]): { ids: number[]; isTruncated: boolean } => {
    const room = sequenceLength - tokenizer.addSpecialTokens([]).inputIds.length - trailing.length;
    const ids = tokenizer.encode(text, { addSpecialTokens: false });
    const whole = [...tokenizer.addSpecialTokens(cutTo(room, ids, tokenizer)).inputIds, ...trailing];
    return { ids: whole, isTruncated: ids.length > room };
  };
  return (record) => {
    if (record.kind !== "completion") return wrongKind(record, "seq2seq-lm");
    if (record.completion === "") return { dropped: "it has no text to train on" };
    if (eosTokenId === undefined) throw noEndToken(tokenizer);
    const prompt = cut(record.prompt, []);
    if (prompt.ids.length === 0) return { dropped: "it has no text to read" };
    const completion = cut(
      record.completion,
      tokenizer.trailingTokenIds.at(-1) === eosTokenId ? [] : [eosTokenId],
    );
    return {
      examples: [{ inputIds: prompt.ids, targets: completion.ids }],
      isTruncated: prompt.isTruncated || completion.isTruncated,
    };
  };
}

function noEndToken(tokenizer: Tokenizer): DeltafitError {
  return new DeltafitError(
    "tokenizer-mismatch",
    `The tokenizer ${quote(tokenizer.folder)} names no end-of-sequence token, with which examples end.`,
    'Name it as "eos_token" in tokenizer_config.json.',
  );
}

type TruncationSide = Pick<Tokenizer, "truncationSide">;

/** At most so many of the tokens, or of their labels, from the side that the tokenizer keeps. */
function cutTo(room: number, of: readonly number[], { truncationSide }: TruncationSide): number[] {
  const kept = Math.max(0, Math.min(room, of.length));
  return truncationSide === "left" ? of.slice(of.length - kept) : of.slice(0, kept);
}

/** @param example.leading Special tokens in front, which stay. */
function cutCausal(
  example: {
    readonly inputIds: readonly number[];
    readonly labels: readonly number[];
    readonly leading: number;
  },
  sequenceLength: number,
  side: TruncationSide,
): Outcome {
  const isTruncated = example.inputIds.length > sequenceLength;
  const cut = (of: readonly number[]): number[] => {
    const leading = of.slice(0, Math.min(example.leading, sequenceLength));
    return [...leading, ...cutTo(sequenceLength - leading.length, of.slice(leading.length), side)];
  };
  const cutLabels = cut(example.labels);
  cutLabels[0] = ignoredLabel;
  if (cutLabels.every((label) => label === ignoredLabel)) {
    return {
      dropped: isTruncated ? "the sequence length leaves nothing to train on" : "it has nothing to train on",
    };
  }
  return { examples: [{ inputIds: cut(example.inputIds), labels: cutLabels }], isTruncated };
}

/**
 * How much of a pair is kept in `room` tokens, as "longest first" of the tokenizers library: the shorter text
 * stays whole if it takes no more than half.
 */
function pairLengths(first: number, second: number, room: number): readonly [number, number] {
  if (first + second <= room) return [first, second];
  const half = Math.floor(room / 2);
  const shorter = Math.min(first, second);
  const keptShorter = Math.min(shorter, half);
  const keptLonger = room - keptShorter;
  return first <= second ? [keptShorter, keptLonger] : [keptLonger, keptShorter];
}

function requiredLabels(labels: LabelMap | undefined): LabelMap {
  if (labels === undefined) throw internalError("label sets without their labels");
  return labels;
}

function encodeLabelSet(
  record: Extract<DataRecord, { kind: "label-set" }>,
  tokenizer: Tokenizer,
  sequenceLength: number,
  { count, idOf }: LabelMap,
): Outcome {
  const { row, labels } = record;
  const flags = labels.flatMap((label) => (typeof label === "boolean" ? [label] : []));
  if (flags.length > 0 && flags.length !== count)
    throw new DeltafitError(
      "data-invalid",
      `${row.where}: expected true or false for each of ${count} labels, found ${flags.length} of them.`,
    );
  const ids = labels.flatMap((label, index) => {
    if (typeof label === "boolean") return label ? [index] : [];
    return [idOf({ row, label })];
  });
  const labelSet = [...new Set(ids)].sort((a, b) => a - b);
  const { encoded, isTruncated } = encodeTexts(record, tokenizer, sequenceLength);
  if (encoded.inputIds.length === 0) return { dropped: "it has no text" };
  return { examples: [{ ...encoded, labelSet }], isTruncated };
}

function encodeLabelled(
  record: Extract<DataRecord, { kind: "labelled" }>,
  tokenizer: Tokenizer,
  sequenceLength: number,
  idOf: (placed: PlacedLabel) => number,
): Outcome {
  const { row, label } = record;
  const { encoded, isTruncated } = encodeTexts(record, tokenizer, sequenceLength);
  if (encoded.inputIds.length === 0) return { dropped: "it has no text" };
  return { examples: [{ ...encoded, label: idOf({ row, label }) }], isTruncated };
}

/** One text or a pair with its special tokens, cut to the sequence length. */
function encodeTexts(
  record: { readonly first: string; readonly second?: string },
  tokenizer: Tokenizer,
  sequenceLength: number,
): { readonly encoded: EncodedInput; readonly isTruncated: boolean } {
  const first = tokenizer.encode(record.first, { addSpecialTokens: false });
  const second =
    record.second === undefined ? undefined : tokenizer.encode(record.second, { addSpecialTokens: false });
  const special = tokenizer.addSpecialTokens([], second && []).inputIds.length;
  const secondLength = second?.length ?? 0;
  const [keptFirst, keptSecond] =
    second === undefined
      ? [Math.min(first.length, sequenceLength - special), 0]
      : pairLengths(first.length, secondLength, sequenceLength - special);
  const encoded = tokenizer.addSpecialTokens(
    cutTo(keptFirst, first, tokenizer),
    second && cutTo(keptSecond, second, tokenizer),
  );
  return { encoded, isTruncated: keptFirst + keptSecond < first.length + secondLength };
}

function taggedEncoder(
  tokenizer: Tokenizer,
  sequenceLength: number,
  idOf: (placed: PlacedLabel) => number,
): Encode {
  const prefix = addsLeadingSpace(tokenizer) ? "" : " ";
  const room = sequenceLength - tokenizer.addSpecialTokens([]).inputIds.length;
  return (record) => {
    if (record.kind !== "tagged") return wrongKind(record, "token-classification");
    const pieces = record.words.map((word) => tokenizer.encode(prefix + word, { addSpecialTokens: false }));
    const ids = pieces.flat();
    const labels = pieces.flatMap((piece, word) => {
      const label = idOf({ row: record.row, label: record.tags[word] ?? "" });
      return piece.map((_, position) => (position === 0 ? label : ignoredLabel));
    });
    if (ids.length === 0) return { dropped: "it has no words" };
    const example = withSpecialLabels(tokenizer, cutTo(room, ids, tokenizer), cutTo(room, labels, tokenizer));
    return { examples: [example], isTruncated: ids.length > room };
  };
}

/** Puts special tokens around ids, and -100 at the same places around their labels. */
function withSpecialLabels(
  tokenizer: Tokenizer,
  ids: readonly number[],
  labels: readonly number[],
): TokenLabelledExample {
  const encoded = tokenizer.addSpecialTokens(ids);
  const start = tokenizer.leadingTokenIds.length;
  return {
    ...encoded,
    labels: encoded.inputIds.map((_, position) => labels[position - start] ?? ignoredLabel),
  };
}

function encodeMaskable(text: string, tokenizer: Tokenizer, sequenceLength: number): Outcome {
  const room = sequenceLength - tokenizer.addSpecialTokens([]).inputIds.length;
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const kept = cutTo(room, ids, tokenizer);
  const labels = kept.map((id) => (tokenizer.isSpecialToken(id) ? ignoredLabel : id));
  if (labels.every((label) => label === ignoredLabel)) return { dropped: "it has no text" };
  return { examples: [withSpecialLabels(tokenizer, kept, labels)], isTruncated: ids.length > room };
}
