/** @file Generating text: prompts and conversations in, text with stop strings out, whole or as it comes. */
import { DeltafitError } from "../errors.ts";
import { renderChat } from "../files/chat-template.ts";
import type { ChatMessage } from "../files/chat-template.ts";
import { quote } from "../files/quote.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import type { GenerationResult, Generator } from "./generate.ts";
import type { FinishReason, GenerationRequest, GenerationSettings } from "./request.ts";
import { createStopScanner } from "./stop-strings.ts";

export interface TextRequest extends GenerationSettings {
  /** Texts, or conversations for the model's chat template. */
  readonly prompts: readonly (string | readonly ChatMessage[])[];
  /** For each prompt the adapters that act on it, in place of the active ones. */
  readonly adapters?: GenerationRequest["adapters"];
  /** Strings before which a text ends. */
  readonly stopStrings?: readonly string[] | undefined;
}

export type TextFinishReason = "stop-token" | "stop-string" | "length";

export interface TextResult extends Omit<GenerationResult, "finishReasons"> {
  /** The new text of every row: without special tokens, without the stop string. */
  readonly texts: readonly string[];
  readonly finishReasons: readonly TextFinishReason[];
}

/** A piece of one row's text. */
export interface GeneratedText {
  readonly row: number;
  /** Possibly "". */
  readonly text: string;
  /** Set on the last piece of the row. */
  readonly finishReason: TextFinishReason | undefined;
}

/**
 * The token ids of a prompt. A text gets the special tokens that stand in front of texts; not those behind, which
 * would tell the model that it is over, unless the model reads it as a whole, as an encoder-decoder does. A conversation is written by the chat template up to the assistant's answer.
 * @throws DeltafitError `tokenizer-mismatch`, `file-invalid` where there is no usable chat template, `data-invalid`.
 */
export function encodePrompt(
  tokenizer: Tokenizer,
  prompt: string | readonly ChatMessage[],
  isWhole = false,
): number[] {
  if (typeof prompt === "string" && isWhole) return tokenizer.encode(prompt);
  if (typeof prompt === "string")
    return [...tokenizer.leadingTokenIds, ...tokenizer.encode(prompt, { addSpecialTokens: false })];
  if (tokenizer.chatTemplate === undefined)
    throw new DeltafitError(
      "file-invalid",
      `The tokenizer ${quote(tokenizer.folder)} has no chat template.`,
      "Give a plain prompt, use a model with a chat template, or add a chat_template.jinja to it.",
    );
  const token = (id: number | undefined): string | undefined =>
    id === undefined ? id : tokenizer.idToToken(id);
  const text = renderChat(tokenizer.chatTemplate, prompt, {
    addGenerationPrompt: true,
    bosToken: token(tokenizer.bosTokenId),
    eosToken: token(tokenizer.eosTokenId),
  });
  return tokenizer.encode(text, { addSpecialTokens: false });
}

/**
 * Generates a text for every prompt.
 * @throws DeltafitError what `encodePrompt` and `Generator.generate` throw.
 */
export async function generateText(
  generator: Generator,
  tokenizer: Tokenizer,
  request: TextRequest,
): Promise<TextResult> {
  const rows = request.prompts.map(() => createTextRow(tokenizer, request.stopStrings ?? []));
  const { finishReasons, ...result } = await generator.generate(
    tokenRequest(generator, tokenizer, request, rows),
  );
  const texts = result.tokens.map((ids, row) => {
    // A beam search tells its tokens only now.
    if (isBeamSearch(request)) for (const id of ids) rows[row]?.push(id);
    rows[row]?.finish();
    return rows[row]?.text() ?? "";
  });
  return { ...result, texts, finishReasons: finishReasons.map(textReason) };
}

/** Generates texts piece by piece; pieces never end within a character. Leaving the loop ends generation. */
export async function* streamText(
  generator: Generator,
  tokenizer: Tokenizer,
  request: TextRequest,
): AsyncGenerator<GeneratedText, void, undefined> {
  const rows = request.prompts.map(() => createTextRow(tokenizer, request.stopStrings ?? []));
  const shown = rows.map(() => 0);
  for await (const { row, id, finishReason } of generator.stream(
    tokenRequest(generator, tokenizer, request, rows),
  )) {
    const own = rows[row];
    if (isBeamSearch(request)) own?.push(id);
    if (finishReason !== undefined) own?.finish();
    const all = own?.text() ?? "";
    const text = all.slice(shown[row]);
    shown[row] = all.length;
    if (text !== "" || finishReason !== undefined)
      yield { row, text, finishReason: finishReason === undefined ? undefined : textReason(finishReason) };
  }
}

function tokenRequest(
  generator: Generator,
  tokenizer: Tokenizer,
  request: TextRequest,
  rows: readonly TextRow[],
): GenerationRequest {
  const { prompts, stopStrings = [], ...settings } = request;
  if (isBeamSearch(request) && stopStrings.length > 0)
    throw new DeltafitError(
      "usage-invalid",
      "Generation: a beam search does not stop at strings.",
      "Leave out beams or the stop strings.",
    );
  const isRead = generator.base.model.encoderDecoder !== undefined;
  const ends = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId];
  return {
    ...settings,
    prompts: prompts.map((prompt) => encodePrompt(tokenizer, prompt, isRead)),
    stopTokens: request.stopTokens ?? [...new Set([...generator.stopTokens, ...ends])],
    ...(isBeamSearch(request) ? {} : { stopWhen: (row: number, id: number) => rows[row]?.push(id) ?? false }),
  };
}

/** One row's text as it grows. */
interface TextRow {
  /** Takes a token and tells whether a stop string is complete. */
  push(id: number): boolean;
  /** Adds what was held back. */
  finish(): void;
  text(): string;
}

function createTextRow(tokenizer: Tokenizer, stopStrings: readonly string[]): TextRow {
  const decoder = tokenizer.createStreamDecoder();
  const scanner = createStopScanner(stopStrings);
  let text = "";
  const take = (piece: string): boolean => {
    const found = scanner.push(piece);
    text += found.text;
    return found.stopped;
  };
  return {
    push: (id) => take(decoder.push(id)),
    finish() {
      take(decoder.flush());
      text += scanner.flush();
    },
    text: () => text,
  };
}

function isBeamSearch({ beams = 1 }: GenerationSettings): boolean {
  return beams > 1;
}

function textReason(reason: FinishReason): TextFinishReason {
  return reason === "stop-condition" ? "stop-string" : reason;
}
