/**
 * @file Trainable tokens: the embeddings of a few tokens are trained, and nothing else (PEFT's
 * `TrainableTokensConfig`; the idea is that of new tokens in Gal et al. 2022, "An Image is Worth One Word"). The rows,
 * their start and merging are those of token-rows.ts.
 */
import type { Method } from "./contract.ts";
import type { ModuleNames } from "./targets.ts";
import { tokenRows } from "./token-rows.ts";

export interface TrainableTokensConfiguration {
  /** Ids of the tokens whose embeddings are trained. */
  readonly tokens: readonly number[];
  /** The token embedding; left out, the model's own. */
  readonly targets?: ModuleNames | undefined;
}

export const trainableTokens: Method<TrainableTokensConfiguration> = {
  type: "TRAINABLE_TOKENS",
  summary: "Trainable tokens: the embeddings of chosen tokens, in place of the base's rows",
  bind: ({ tokens, targets }, modules) =>
    tokenRows({ tokens, targets, suffix: "trainable_tokens_delta" }, modules),
};
