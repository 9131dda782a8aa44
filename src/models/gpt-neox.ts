/**
 * @file GPT-NeoX (Black et al. 2022; also Pythia, Biderman et al. 2023): decoder with layer norms, rotary positions for
 * a part of each head, and attention and feed-forward layer side by side instead of one after the other.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import {
  activationSchema,
  positiveInteger,
  probability,
  readConfiguration,
  requireDivisible,
  tokenIdSchema,
} from "./configuration.ts";
import type { Architecture, ForwardContext, Model } from "./forward.ts";
import { feedForward } from "./layers/feed-forward.ts";
import { tokenHeads, tokenOutput } from "./layers/heads.ts";
import { rotaryFrequencies, rotarySchema, rotarySettings, rotaryTables } from "./layers/rotary.ts";
import type { RotaryTables } from "./layers/rotary.ts";
import { attendRotated } from "./layers/self-attention.ts";
import type { Projections } from "./layers/self-attention.ts";

const schema = rotarySchema.extend({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  intermediate_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  hidden_act: activationSchema.default("gelu"),
  max_position_embeddings: positiveInteger.default(2048),
  layer_norm_eps: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  attention_bias: z.boolean().default(true),
  attention_dropout: probability.default(0),
  hidden_dropout: probability.default(0),
  use_parallel_residual: z.boolean().default(true),
  tie_word_embeddings: z.boolean().default(false),
  /** The rotary settings where `rope_parameters` has none: the base, and the share of each head that is rotated. */
  rotary_emb_base: z.number().positive().default(10_000),
  rotary_pct: z.number().positive().max(1).default(0.25),
  classifier_dropout: probability.default(0.1),
  pad_token_id: tokenIdSchema,
});

type Configuration = z.output<typeof schema>;

export const gptNeox: Architecture = {
  modelType: "gpt_neox",
  classDefaults: {
    vocab_size: 50432,
    hidden_size: 6144,
    intermediate_size: 24576,
    num_hidden_layers: 44,
    num_attention_heads: 64,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: depth } = config;
    requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
    const size = hidden / heads;
    const rotary = rotarySettings(config, config.rotary_emb_base);
    const share = rotary.scaling.partial_rotary_factor ?? config.rotary_pct;
    const frequencies = rotaryFrequencies(rotary, size, share);
    const embedding = { path: "gpt_neox.embed_in", rows: config.vocab_size, size: hidden };
    return {
      modelType: "gpt_neox",
      bodyPath: "gpt_neox",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: depth,
      maximumPositions: config.max_position_embeddings,
      causal: true,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads, size },
      tokenTypes: false,
      // Old checkpoints hold the causal mask and the frequencies as tensors.
      ignoredTensors: [/\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/],
      encode(context) {
        const tables = rotaryTables(context, frequencies);
        let x = context.dropout(context.tokenEmbedding(embedding), config.hidden_dropout);
        for (let index = 0; index < depth; index++)
          x = layer(context, config, `gpt_neox.layers.${index}`, x, tables);
        return context.layerNorm("gpt_neox.final_layer_norm", x, hidden, config.layer_norm_eps);
      },
      tokenLogits: (context, x) =>
        tokenOutput(context, x, {
          path: "embed_out",
          in: hidden,
          vocabulary: config.vocab_size,
          tiedWeight: config.tie_word_embeddings ? `${embedding.path}.weight` : undefined,
          bias: false,
        }),
      ...tokenHeads({ hidden, labelDropout: config.classifier_dropout }),
      sequenceLogits: (context, x, labelCount) =>
        context.linear("score", context.lastTokens(x), { in: hidden, out: labelCount, isOutput: true }),
    };
  },
};

function layer(
  context: ForwardContext,
  config: Configuration,
  path: string,
  x: Value,
  tables: RotaryTables,
): Value {
  const { hidden_size: hidden, hidden_dropout: dropout } = config;
  const norm = (name: string, of: Value) =>
    context.layerNorm(`${path}.${name}`, of, hidden, config.layer_norm_eps);
  const modules = { expand: `${path}.mlp.dense_h_to_4h`, contract: `${path}.mlp.dense_4h_to_h` };
  return context.layer(path, x, (input) => {
    const attended = attention(context, config, `${path}.attention`, norm("input_layernorm", input), tables);
    const middle = context.sublayer({
      path,
      kind: "attention",
      residual: input,
      output: context.dropout(attended, dropout),
    });
    const source = config.use_parallel_residual ? input : middle;
    const fed = feedForward(context, modules, norm("post_attention_layernorm", source), {
      hidden,
      intermediate: config.intermediate_size,
      activation: config.hidden_act,
      bias: true,
    });
    return context.sublayer({
      path,
      kind: "feed-forward",
      residual: middle,
      output: context.dropout(fed, dropout),
    });
  });
}

function attention(
  context: ForwardContext,
  config: Configuration,
  path: string,
  x: Value,
  tables: RotaryTables,
): Value {
  const { hidden_size: hidden, num_attention_heads: heads, attention_bias: bias } = config;
  const fused = context.linear(`${path}.query_key_value`, x, { in: hidden, out: 3 * hidden, bias });
  const result = attendRotated(context, projectionsOf(context, fused, heads, hidden / heads), tables, {
    path,
    scale: Math.sqrt(heads / hidden),
    causal: true,
    dropout: config.attention_dropout,
  });
  return context.linear(`${path}.dense`, result, { in: hidden, out: hidden, bias });
}

/** Each head has its query, key and value side by side. */
function projectionsOf(context: ForwardContext, fused: Value, heads: number, size: number): Projections {
  const { builder, sequence } = context;
  const byHead = builder.reshape(fused, [sequence.batch, sequence.length, heads, 3 * size]);
  const [query = byHead, key = byHead, value = byHead] = builder
    .split(byHead, 3, [size, size, size])
    .map((part) => builder.transpose(part, [0, 2, 1, 3]));
  return { query, key, value };
}
