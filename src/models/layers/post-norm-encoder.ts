/** @file The encoder that BERT and its descendants share: summed embeddings, then post-norm attention and feed-forward layers. */
import { z } from "zod";
import type { Value } from "../../graph/graph.ts";
import { activationSchema, positiveInteger, requireDivisible, tokenIdSchema } from "../configuration.ts";
import type { ForwardContext } from "../forward.ts";
import { activate } from "./activation.ts";
import { splitHeads } from "./rotary.ts";

const probability = z.number().min(0).lt(1);

/** Keys of config.json that these encoders have in common. */
export const postNormSchema = z.object({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  intermediate_size: positiveInteger,
  hidden_act: activationSchema,
  max_position_embeddings: positiveInteger,
  type_vocab_size: positiveInteger,
  layer_norm_eps: z.number().positive().default(1e-12),
  initializer_range: z.number().positive().default(0.02),
  hidden_dropout_prob: probability.default(0.1),
  attention_probs_dropout_prob: probability.default(0.1),
  pad_token_id: tokenIdSchema,
});

export type PostNormConfiguration = Omit<z.output<typeof postNormSchema>, "pad_token_id">;

/** Hidden states [tokens, hidden] of the encoder under `root`. */
export function encodePostNorm(context: ForwardContext, config: PostNormConfiguration, root: string, positionOffset: number): Value {
  requireDivisible(config.hidden_size, config.num_attention_heads, "hidden_size", "num_attention_heads");
  let x = embed(context, config, `${root}.embeddings`, positionOffset);
  for (let index = 0; index < config.num_hidden_layers; index++) {
    const path = `${root}.encoder.layer.${index}`;
    x = context.layer(path, x, (input) => feedForward(context, config, path, attention(context, config, path, input)));
  }
  return x;
}

function embed(context: ForwardContext, config: PostNormConfiguration, path: string, positionOffset: number): Value {
  const { builder } = context;
  const size = config.hidden_size;
  const words = context.tokenEmbedding({ path: `${path}.word_embeddings`, rows: config.vocab_size, size });
  const types = context.tokenTypeEmbedding({ path: `${path}.token_type_embeddings`, rows: config.type_vocab_size, size });
  const positions = context.positionEmbedding(
    { path: `${path}.position_embeddings`, rows: config.max_position_embeddings, size },
    positionOffset,
  );
  const sum = builder.add(builder.add(words, types), positions);
  return context.dropout(context.layerNorm(`${path}.LayerNorm`, sum, size, config.layer_norm_eps), config.hidden_dropout_prob);
}

function attention(context: ForwardContext, config: PostNormConfiguration, path: string, input: Value): Value {
  const hidden = config.hidden_size;
  const heads = config.num_attention_heads;
  const project = (name: string) =>
    splitHeads(context, context.linear(`${path}.attention.self.${name}`, input, { in: hidden, out: hidden, bias: true }), heads);
  const result = context.attention({
    path: `${path}.attention.self`,
    query: project("query"),
    key: project("key"),
    value: project("value"),
    scale: 1 / Math.sqrt(hidden / heads),
    causal: false,
    dropout: config.attention_probs_dropout_prob,
  });
  const output = context.linear(`${path}.attention.output.dense`, result, { in: hidden, out: hidden, bias: true });
  return context.sublayer({
    path: `${path}.attention.output`,
    kind: "attention",
    residual: input,
    output: context.dropout(output, config.hidden_dropout_prob),
    norm: (sum) => context.layerNorm(`${path}.attention.output.LayerNorm`, sum, hidden, config.layer_norm_eps),
  });
}

function feedForward(context: ForwardContext, config: PostNormConfiguration, path: string, input: Value): Value {
  const { hidden_size: hidden, intermediate_size: intermediate } = config;
  const expanded = context.linear(`${path}.intermediate.dense`, input, { in: hidden, out: intermediate, bias: true });
  const activated = activate(context.builder, config.hidden_act, expanded);
  const output = context.linear(`${path}.output.dense`, activated, { in: intermediate, out: hidden, bias: true });
  return context.sublayer({
    path: `${path}.output`,
    kind: "feed-forward",
    residual: input,
    output: context.dropout(output, config.hidden_dropout_prob),
    norm: (sum) => context.layerNorm(`${path}.output.LayerNorm`, sum, hidden, config.layer_norm_eps),
  });
}
