/**
 * @file Llama (Touvron et al. 2023; Llama 3, Meta 2024): pre-norm decoder with RMS norms, rotary positions,
 * grouped-query attention and a gated feed-forward layer. Also serves every checkpoint of `model_type` llama.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import { activationSchema, positiveInteger, readConfiguration, requireDivisible, tokenIdSchema } from "./configuration.ts";
import type { Architecture, ForwardContext, Model } from "./forward.ts";
import { gatedFeedForward } from "./layers/feed-forward.ts";
import { rotaryFrequencies, rotarySchema, rotarySettings, rotaryTables, rotate, splitHeads } from "./layers/rotary.ts";
import type { RotaryTables } from "./layers/rotary.ts";

const schema = rotarySchema.extend({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  intermediate_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  num_key_value_heads: positiveInteger.nullish(),
  head_dim: positiveInteger.nullish(),
  hidden_act: activationSchema.default("silu"),
  max_position_embeddings: positiveInteger.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  initializer_range: z.number().positive().default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  attention_dropout: z.number().min(0).lt(1).default(0),
  mlp_bias: z.boolean().default(false),
  pad_token_id: tokenIdSchema,
});

export const llama: Architecture = {
  modelType: "llama",
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const heads = config.num_attention_heads;
    const groups = config.num_key_value_heads ?? heads;
    if (config.head_dim == null) requireDivisible(config.hidden_size, heads, "hidden_size", "num_attention_heads");
    requireDivisible(heads, groups, "num_attention_heads", "num_key_value_heads");
    const size = config.head_dim ?? config.hidden_size / heads;
    const frequencies = rotaryFrequencies(rotarySettings(config), size);
    const hidden = config.hidden_size;
    const embedding = { path: "model.embed_tokens", rows: config.vocab_size, size: hidden };

    const attention = (context: ForwardContext, path: string, x: Value, tables: RotaryTables) => {
      const project = (name: string, count: number) =>
        splitHeads(context, context.linear(`${path}.${name}`, x, { in: hidden, out: count * size, bias: config.attention_bias }), count);
      const result = context.attention({
        path,
        query: rotate(context, project("q_proj", heads), tables),
        key: rotate(context, project("k_proj", groups), tables),
        value: project("v_proj", groups),
        scale: 1 / Math.sqrt(size),
        causal: true,
        dropout: config.attention_dropout,
      });
      return context.linear(`${path}.o_proj`, result, { in: heads * size, out: hidden, bias: config.attention_bias });
    };

    return {
      modelType: "llama",
      bodyPath: "model",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.num_hidden_layers,
      maximumPositions: config.max_position_embeddings,
      causal: true,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads: groups, size },
      tokenTypes: false,
      ignoredTensors: [/rotary_emb\.inv_freq$/],
      encode(context) {
        const norm = (path: string, x: Value) => context.rmsNorm(path, x, hidden, config.rms_norm_eps);
        const tables = rotaryTables(context, frequencies);
        let x = context.tokenEmbedding(embedding);
        for (let index = 0; index < config.num_hidden_layers; index++) {
          const path = `model.layers.${index}`;
          x = context.layer(path, x, (input) => {
            const attended = attention(context, `${path}.self_attn`, norm(`${path}.input_layernorm`, input), tables);
            const middle = context.sublayer({ path, kind: "attention", residual: input, output: attended });
            const fed = gatedFeedForward(context, `${path}.mlp`, norm(`${path}.post_attention_layernorm`, middle), {
              hidden,
              intermediate: config.intermediate_size,
              activation: config.hidden_act,
              bias: config.mlp_bias,
            });
            return context.sublayer({ path, kind: "feed-forward", residual: middle, output: fed });
          });
        }
        return norm("model.norm", x);
      },
      tokenLogits: (context, x) =>
        context.linear("lm_head", x, {
          in: hidden,
          out: config.vocab_size,
          isOutput: true,
          ...(config.tie_word_embeddings ? { tiedWeight: `${embedding.path}.weight` } : {}),
        }),
      sequenceLogits: (context, x, labelCount) =>
        context.linear("score", context.lastTokens(x), { in: hidden, out: labelCount, isOutput: true }),
    };
  },
};
