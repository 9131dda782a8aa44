/**
 * @file Records to token ids with labels, one function a task. Knows one record at a time.
 *
 * Prompt and completion are encoded apart and joined: the prompt as it will be at generation (with the special
 * tokens the tokenizer puts in front), then the completion and the end-of-sequence token. No token can reach
 * over the seam, so what is trained is what generation continues.
 */
import { DeltafitError } from "../errors.ts";
import { encodeChat } from "../files/chat-template.ts";
import { quote } from "../files/quote.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import type { DataRecord, Task } from "./formats.ts";
import type { LabelMap, PlacedLabel } from "./labels.ts";
import { regressionTarget } from "./labels.ts";
import type { TokenizedExample, TokenLabelledExample } from "./tokenized-example.ts";
import { ignoredLabel } from "./tokenized-example.ts";

export interface EncodeOptions {
  /** Longer examples are cut; at least 1. */
  readonly sequenceLength: number;
  /** Whether prompts are trained on as well. Default false. */
  readonly trainOnPrompt?: boolean;
  /** What ends a causal example. Default: the tokenizer's own. */
  readonly eosTokenId?: number | undefined;
}

/** An example, or why there is none. */
export type Outcome =
  { readonly example: TokenizedExample; readonly isTruncated: boolean } | { readonly dropped: string };

export type Encode = (record: DataRecord) => Outcome;

/** @param labels The classes, for classification and token classification. */
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
    case "classification":
    case "regression":
      return (record) =>
        record.kind === "labelled"
          ? encodeLabelled(record, tokenizer, options.sequenceLength, idOf)
          : wrongKind(record, task);
    case "token-classification":
      return taggedEncoder(tokenizer, options.sequenceLength, idOf);
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
  const finish = (
    prompt: readonly number[],
    completion: readonly number[],
    trainsOnPrompt: boolean,
  ): Outcome => {
    if (completion.length === 0) return { dropped: "it has no text to train on" };
    if (eosTokenId === undefined) throw noEndToken(tokenizer);
    const inputIds = [...prompt, ...completion, ...(completion.at(-1) === eosTokenId ? [] : [eosTokenId])];
    const start = trainsOnPrompt ? 0 : prompt.length;
    return cutCausal(
      inputIds,
      inputIds.map((id, position) => (position < start ? ignoredLabel : id)),
      options.sequenceLength,
    );
  };
  const leading = tokenizer.leadingTokenIds;
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
        return cutCausal(
          inputIds,
          options.trainOnPrompt === true ? inputIds : labels,
          options.sequenceLength,
        );
      }
      default:
        return wrongKind(record, "causal-lm");
    }
  };
}

function noEndToken(tokenizer: Tokenizer): DeltafitError {
  return new DeltafitError(
    "tokenizer-mismatch",
    `The tokenizer ${quote(tokenizer.folder)} names no end-of-sequence token, with which examples end.`,
    'Name it as "eos_token" in tokenizer_config.json.',
  );
}

function cutCausal(inputIds: readonly number[], labels: readonly number[], sequenceLength: number): Outcome {
  const cutLabels = labels.slice(0, sequenceLength);
  cutLabels[0] = ignoredLabel;
  const isTruncated = inputIds.length > sequenceLength;
  if (cutLabels.every((label) => label === ignoredLabel)) {
    return {
      dropped: isTruncated ? "the sequence length leaves nothing to train on" : "it has nothing to train on",
    };
  }
  return { example: { inputIds: inputIds.slice(0, sequenceLength), labels: cutLabels }, isTruncated };
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

function encodeLabelled(
  record: Extract<DataRecord, { kind: "labelled" }>,
  tokenizer: Tokenizer,
  sequenceLength: number,
  idOf: (placed: PlacedLabel) => number,
): Outcome {
  const { row, label } = record;
  const first = tokenizer.encode(record.first, { addSpecialTokens: false });
  const second =
    record.second === undefined ? undefined : tokenizer.encode(record.second, { addSpecialTokens: false });
  const special = tokenizer.addSpecialTokens([], second && []).inputIds.length;
  const secondLength = second?.length ?? 0;
  const [keptFirst, keptSecond] =
    second === undefined
      ? [Math.min(first.length, sequenceLength - special), 0]
      : pairLengths(first.length, secondLength, sequenceLength - special);
  const encoded = tokenizer.addSpecialTokens(first.slice(0, keptFirst), second?.slice(0, keptSecond));
  if (encoded.inputIds.length === 0) return { dropped: "it has no text" };
  return {
    example: { ...encoded, label: idOf({ row, label }) },
    isTruncated: keptFirst + keptSecond < first.length + secondLength,
  };
}

/**
 * Some tokenizers put a space in front of every text themselves; then a second one would be a token of its
 * own.
 */
function wordPrefix(tokenizer: Tokenizer): string {
  const length = (text: string): number => tokenizer.encode(text, { addSpecialTokens: false }).length;
  return length(" a") > length("a") ? "" : " ";
}

function taggedEncoder(
  tokenizer: Tokenizer,
  sequenceLength: number,
  idOf: (placed: PlacedLabel) => number,
): Encode {
  const prefix = wordPrefix(tokenizer);
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
    const example = withSpecialLabels(tokenizer, ids.slice(0, room), labels.slice(0, room));
    return { example, isTruncated: ids.length > room };
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
  const kept = ids.slice(0, room);
  const labels = kept.map((id) => (tokenizer.isSpecialToken(id) ? ignoredLabel : id));
  if (labels.every((label) => label === ignoredLabel)) return { dropped: "it has no text" };
  return { example: withSpecialLabels(tokenizer, kept, labels), isTruncated: ids.length > room };
}
