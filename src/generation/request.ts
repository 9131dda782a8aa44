/** @file What a caller asks of generation, and the checks that come before anything runs. */
import { DeltafitError } from "../errors.ts";
import type { Model } from "../models/forward.ts";
import { checkSampling } from "./sampling.ts";
import type { SamplingSettings } from "./sampling.ts";

/** How generation goes and ends, whatever the prompts are. */
export interface GenerationSettings extends SamplingSettings {
  readonly maximumNewTokens: number;
  /** Seed of what is drawn; each row draws on its own. Default 0. */
  readonly seed?: number | undefined;
  /** Tokens that end a row. Default: what the model's configuration names; `[]` for none. */
  readonly stopTokens?: readonly number[] | undefined;
  /** Beams of a beam search, which draws nothing. Default 1: none. */
  readonly beams?: number | undefined;
  /** A beam's score is its log-probability / tokens ** lengthPenalty: above 0 for longer texts. Default 1. */
  readonly lengthPenalty?: number | undefined;
}

/** An adapter by its name, with a factor of what it adds: 1 as trained, 0 for nothing. */
export interface WeightedAdapter {
  readonly name: string;
  readonly weight: number;
}

export interface GenerationRequest extends GenerationSettings {
  /** Token ids, special tokens included, a row each. Rows may differ in length and never influence each other. */
  readonly prompts: readonly (readonly number[])[];
  /**
   * For each prompt the adapters that act on it, in place of the active ones: so a batch mixes adapters, and none (`[]`)
   * is the base alone. They act in the order in which the generator got them.
   */
  readonly adapters?: readonly (readonly (string | WeightedAdapter)[])[] | undefined;
  /** Told every token as it is chosen. Not while beams are searched. */
  readonly onToken?: ((row: number, id: number) => void) | undefined;
  /** Asked after every token whether its row is to end there. Not for beams. */
  readonly stopWhen?: ((row: number, id: number) => boolean) | undefined;
}

/**
 * Why a row ended: at a stop token, because the caller said so (`stopWhen`, a stop string), or for its length, at
 * `maximumNewTokens` or the last position the model knows.
 */
export type FinishReason = "stop-token" | "stop-condition" | "length";

/** One token of one row. */
export interface GeneratedToken {
  readonly row: number;
  readonly id: number;
  /** Set on the last token of the row. */
  readonly finishReason: FinishReason | undefined;
  /** Set on the last token of a beam search's row: the score of the whole text. */
  readonly score?: number | undefined;
}

/** @throws DeltafitError `usage-invalid` naming the setting or the prompt. */
export function checkRequest(request: GenerationRequest, model: Model): void {
  checkSampling(request);
  checkCounts(request);
  const { prompts } = request;
  if (prompts.length === 0) throw invalid("there is no prompt; expected at least one");
  for (const [row, prompt] of prompts.entries()) {
    const where = prompts.length === 1 ? "the prompt" : `prompt ${row + 1} of ${prompts.length}`;
    if (prompt.length === 0)
      throw invalid(
        `${where} has no token; expected at least one`,
        "Begin with the token that starts a text.",
      );
    if (prompt.length > model.maximumPositions)
      throw invalid(
        `${where} has ${prompt.length} tokens; expected at most ${model.maximumPositions}, the positions of the model`,
        "Shorten the prompt, or use a model with more positions.",
      );
    const stranger = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= model.vocabularySize);
    if (stranger !== undefined)
      throw invalid(
        `${where} contains the token id ${stranger}; expected whole numbers from 0 to ${model.vocabularySize - 1}`,
        "Encode the text with the tokenizer that belongs to the model.",
      );
  }
}

function checkCounts({
  maximumNewTokens,
  seed,
  beams,
  lengthPenalty,
  temperature,
  onToken,
  stopWhen,
}: GenerationRequest): void {
  const isCount = (value: number): boolean => Number.isInteger(value) && value > 0;
  if (!isCount(maximumNewTokens))
    throw invalid(`maximumNewTokens is ${maximumNewTokens}; expected a whole number above 0`);
  if (seed !== undefined && !Number.isSafeInteger(seed))
    throw invalid(`seed is ${seed}; expected a whole number`);
  if (beams !== undefined && !isCount(beams))
    throw invalid(`beams is ${beams}; expected a whole number above 0`);
  if (lengthPenalty !== undefined && !Number.isFinite(lengthPenalty))
    throw invalid(`lengthPenalty is ${lengthPenalty}; expected a number`);
  if (beams === undefined || beams === 1) return;
  if (temperature !== undefined && temperature !== 0)
    throw invalid(
      `beams is ${beams} and temperature ${temperature}; a beam search draws nothing`,
      "Leave one of the two out.",
    );
  if (onToken || stopWhen)
    throw invalid(
      `beams is ${beams}; a beam search knows its tokens only at the end`,
      "Leave out beams to stream tokens or to stop at strings.",
    );
}

/** New tokens of a row: the last one is never fed, so that its position need not exist. */
export function newTokenLimit(prompt: readonly number[], maximumNewTokens: number, model: Model): number {
  return Math.min(maximumNewTokens, model.maximumPositions - prompt.length + 1);
}

function invalid(reason: string, hint?: string): DeltafitError {
  return new DeltafitError("usage-invalid", `Generation: ${reason}.`, hint);
}
