/**
 * @file What BERT shares with the encoders that kept its configuration and module names: the keys of config.json, the
 * input, the stack of post-norm layers, and what a model says of itself.
 */
import { z } from "zod";
import type { Value } from "../../graph/graph.ts";
import {
  activationSchema,
  positiveInteger,
  probability,
  requireDivisible,
  tokenIdSchema,
} from "../configuration.ts";
import type { ForwardContext, Model } from "../forward.ts";
import { embedTokens } from "./embeddings.ts";
import { postNormLayer } from "./post-norm-layer.ts";
import type { PostNormModules, PostNormSettings, SelfAttention } from "./post-norm-layer.ts";

/** Keys of config.json that these encoders have in common. */
export const postNormSchema = z.object({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  intermediate_size: positiveInteger,
  hidden_act: activationSchema.default("gelu"),
  max_position_embeddings: positiveInteger.default(512),
  type_vocab_size: positiveInteger.default(2),
  layer_norm_eps: z.number().positive().default(1e-12),
  initializer_range: z.number().positive().default(0.02),
  hidden_dropout_prob: probability.default(0.1),
  attention_probs_dropout_prob: probability.default(0.1),
  classifier_dropout: probability.nullish(),
  tie_word_embeddings: z.boolean().default(true),
  pad_token_id: tokenIdSchema,
});

export type PostNormConfiguration = z.output<typeof postNormSchema>;

/** Names of the modules in a layer of BERT. */
const modules: PostNormModules = {
  attention: "attention.self",
  query: "attention.self.query",
  key: "attention.self.key",
  value: "attention.self.value",
  attentionOutput: "attention.output.dense",
  attentionNorm: "attention.output.LayerNorm",
  attentionEnd: "attention.output",
  expand: "intermediate.dense",
  contract: "output.dense",
  outputNorm: "output.LayerNorm",
  feedForwardEnd: "output",
};

/** The settings of one layer. */
export function layerSettings(
  config: Omit<PostNormConfiguration, "pad_token_id" | "type_vocab_size">,
): PostNormSettings {
  return {
    hidden: config.hidden_size,
    intermediate: config.intermediate_size,
    heads: config.num_attention_heads,
    activation: config.hidden_act,
    epsilon: config.layer_norm_eps,
    attentionDropout: config.attention_probs_dropout_prob,
    attentionOutputDropout: config.hidden_dropout_prob,
    feedForwardDropout: config.hidden_dropout_prob,
  };
}

/** BERT's input under `path`: [tokens, size]. */
export function embedPostNorm(
  context: ForwardContext,
  config: PostNormConfiguration,
  path: string,
  size = config.hidden_size,
  paddingPosition?: number,
): Value {
  return embedTokens(context, {
    path,
    size,
    words: config.vocab_size,
    positions: config.max_position_embeddings,
    segments: config.type_vocab_size,
    padding: config.pad_token_id,
    paddingPosition,
    epsilon: config.layer_norm_eps,
    dropout: config.hidden_dropout_prob,
  });
}

/** x [tokens, hidden] after layer `index` of the encoder under `root`. */
export function encoderLayer(
  context: ForwardContext,
  root: string,
  index: number,
  x: Value,
  settings: PostNormSettings,
  selfAttention?: SelfAttention,
): Value {
  return postNormLayer(context, `${root}.encoder.layer.${index}`, x, settings, modules, selfAttention);
}

/** x [tokens, hidden] after all layers of the encoder under `root`. */
export function encodePostNorm(
  context: ForwardContext,
  config: PostNormConfiguration,
  root: string,
  x: Value,
): Value {
  const settings = layerSettings(config);
  let state = x;
  for (let index = 0; index < config.num_hidden_layers; index++)
    state = encoderLayer(context, root, index, state, settings);
  return state;
}

/** What such an encoder says of itself. */
export function describeEncoder(
  config: Pick<
    PostNormConfiguration,
    | "vocab_size"
    | "hidden_size"
    | "num_hidden_layers"
    | "num_attention_heads"
    | "max_position_embeddings"
    | "initializer_range"
    | "pad_token_id"
  > & { readonly type_vocab_size: number },
): Omit<Model, "modelType" | "bodyPath" | "ignoredTensors" | "encode"> {
  const { hidden_size: hidden, num_attention_heads: heads } = config;
  requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
  return {
    vocabularySize: config.vocab_size,
    hiddenSize: hidden,
    layerCount: config.num_hidden_layers,
    maximumPositions: config.max_position_embeddings,
    causal: false,
    initialDeviation: config.initializer_range,
    padTokenId: config.pad_token_id,
    keyValue: { heads, size: hidden / heads },
    tokenTypes: config.type_vocab_size > 1,
  };
}
