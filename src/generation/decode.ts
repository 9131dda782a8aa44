/** @file The decoding loop: choose a token for every row, end rows, feed the tokens, again. */
import type { Model } from "../models/forward.ts";
import type { Decoder } from "./decoder.ts";
import { newTokenLimit } from "./request.ts";
import type { FinishReason, GeneratedToken, GenerationRequest } from "./request.ts";
import { createSampler } from "./sampling.ts";
import type { Sampler } from "./sampling.ts";

interface Row {
  readonly row: number;
  /** The prompt's tokens and the new ones. */
  readonly history: number[];
  readonly choose: Sampler;
  remaining: number;
}

/** Yields tokens as they are chosen, step by step, within a step in the order of the rows. */
export async function* decode(
  decoder: Decoder,
  model: Model,
  request: GenerationRequest,
  stopTokens: ReadonlySet<number>,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { prompts, maximumNewTokens, seed = 0, stopWhen } = request;
  let rows = prompts.map((prompt, row): Row => ({
    row,
    history: [...prompt],
    choose: createSampler(request, seed, row),
    remaining: newTokenLimit(prompt, maximumNewTokens, model),
  }));
  let logits = await decoder.advance(prompts);
  for (;;) {
    const going: number[] = [];
    for (const [index, state] of rows.entries()) {
      const id = state.choose(logits[index] ?? new Float32Array(0), state.history);
      state.history.push(id);
      state.remaining--;
      const finishReason = endOf(state, id, stopTokens, stopWhen);
      if (finishReason === undefined) going.push(index);
      yield { row: state.row, id, finishReason };
    }
    if (going.length === 0) return;
    // Finished rows leave the batch: the others get faster.
    decoder.selectRows(going);
    rows = going.flatMap((index) => rows[index] ?? []);
    logits = await decoder.advance(rows.map(({ history }) => history.slice(-1)));
  }
}

function endOf(
  { row, remaining }: Row,
  id: number,
  stopTokens: ReadonlySet<number>,
  stopWhen: GenerationRequest["stopWhen"],
): FinishReason | undefined {
  // Asked first and for every token: whoever follows the text must see all of it.
  const stopped = stopWhen?.(row, id) ?? false;
  if (stopTokens.has(id)) return "stop-token";
  if (stopped) return "stop-condition";
  return remaining === 0 ? "length" : undefined;
}
