/**
 * @file ModernBERT (Warner et al. 2024): pre-norm bidirectional encoder without biases, with rotary positions, gated
 * feed-forward layers, and attention that is local in most layers.
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
import { fusedGatedFeedForward } from "./layers/feed-forward.ts";
import { tokenHead, tokenOutput, transform } from "./layers/heads.ts";
import { rotaryFrequencies, rotaryScalingSchema, rotaryTables } from "./layers/rotary.ts";
import type { RotarySettings, RotaryTables } from "./layers/rotary.ts";
import { attendRotated, projectionSlices, splitProjections } from "./layers/self-attention.ts";
import { layerTypes, layerTypesOf, layerTypesSchema } from "./layers/windows.ts";
import type { LayerType } from "./layers/windows.ts";

const theta = z.number().positive();

const schema = z.object({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  intermediate_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  hidden_activation: activationSchema.default("gelu"),
  max_position_embeddings: positiveInteger.default(8192),
  initializer_range: z.number().positive().default(0.02),
  norm_eps: z.number().positive().default(1e-5),
  norm_bias: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  attention_dropout: probability.default(0),
  mlp_bias: z.boolean().default(false),
  mlp_dropout: probability.default(0),
  embedding_dropout: probability.default(0),
  /** Positions in a local window, half of them to either side. */
  local_attention: positiveInteger.default(128),
  layer_types: layerTypesSchema,
  global_attn_every_n_layers: positiveInteger.default(3),
  rope_parameters: z.partialRecord(z.enum(layerTypes), rotaryScalingSchema.nullish()).nullish(),
  global_rope_theta: theta.default(160_000),
  /** Local layers take the global setting where it is null. */
  local_rope_theta: theta.nullable().default(10_000),
  decoder_bias: z.boolean().default(true),
  classifier_pooling: z.enum(["cls", "mean"]).default("cls"),
  classifier_bias: z.boolean().default(false),
  classifier_activation: activationSchema.default("gelu"),
  classifier_dropout: probability.default(0),
  tie_word_embeddings: z.boolean().default(true),
  pad_token_id: tokenIdSchema,
});

type Configuration = z.output<typeof schema>;

const wordsPath = "model.embeddings.tok_embeddings";

export const modernbert: Architecture = {
  modelType: "modernbert",
  classDefaults: {
    vocab_size: 50368,
    hidden_size: 768,
    intermediate_size: 1152,
    num_hidden_layers: 22,
    num_attention_heads: 12,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, num_attention_heads: heads } = config;
    requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
    const size = hidden / heads;
    // Older files only say that each n-th layer, counted from the first, is global.
    const isSliding = (index: number) => index % config.global_attn_every_n_layers !== 0;
    const types = layerTypesOf(config.layer_types, config.num_hidden_layers, isSliding);
    const output = { path: "classifier", hidden, dropout: config.classifier_dropout };
    const head = (context: ForwardContext, x: Value) =>
      transform(context, x, {
        dense: "head.dense",
        norm: "head.norm",
        in: hidden,
        out: hidden,
        activation: config.classifier_activation,
        epsilon: config.norm_eps,
        bias: config.classifier_bias,
        normBias: config.norm_bias,
      });

    return {
      modelType: "modernbert",
      bodyPath: "model",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.num_hidden_layers,
      maximumPositions: config.max_position_embeddings,
      causal: false,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads, size },
      tokenTypes: false,
      ignoredTensors: [/rotary_emb\.inv_freq$/],
      encode: (context) => encode(context, config, types),
      tokenLogits: (context, x) =>
        tokenOutput(context, head(context, x), {
          path: "decoder",
          in: hidden,
          vocabulary: config.vocab_size,
          tiedWeight: config.tie_word_embeddings ? `${wordsPath}.weight` : undefined,
          bias: config.decoder_bias,
        }),
      sequenceLogits(context, x, labelCount) {
        const pooled = config.classifier_pooling === "cls" ? context.firstTokens(x) : context.meanTokens(x);
        return tokenHead(context, head(context, pooled), labelCount, output);
      },
      labelLogits: (context, x, labelCount) => tokenHead(context, head(context, x), labelCount, output),
      spanLogits: (context, x) => tokenHead(context, head(context, x), 2, output),
    };
  },
};

function encode(context: ForwardContext, config: Configuration, types: readonly LayerType[]): Value {
  const size = config.hidden_size / config.num_attention_heads;
  const tablesOf = (type: LayerType) =>
    rotaryTables(context, rotaryFrequencies(rotaryOf(config, type), size));
  const tables: Readonly<Record<LayerType, RotaryTables>> = {
    full_attention: tablesOf("full_attention"),
    sliding_attention: tablesOf("sliding_attention"),
  };
  const words = context.tokenEmbedding({
    path: wordsPath,
    rows: config.vocab_size,
    size: config.hidden_size,
    paddingRow: config.pad_token_id,
  });
  let x = context.dropout(norm(context, config, "model.embeddings.norm", words), config.embedding_dropout);
  for (const [index, type] of types.entries()) {
    const path = `model.layers.${index}`;
    x = context.layer(path, x, (input) => {
      // The embeddings are already normalised when they reach the first layer.
      const normed = index === 0 ? input : norm(context, config, `${path}.attn_norm`, input);
      const output = attention(context, config, `${path}.attn`, normed, type, tables[type]);
      const middle = context.sublayer({ path, kind: "attention", residual: input, output });
      const fed = feedForward(
        context,
        config,
        `${path}.mlp`,
        norm(context, config, `${path}.mlp_norm`, middle),
      );
      return context.sublayer({ path, kind: "feed-forward", residual: middle, output: fed });
    });
  }
  return norm(context, config, "model.final_norm", x);
}

function rotaryOf(config: Configuration, type: LayerType): RotarySettings {
  const scaling = config.rope_parameters?.[type] ?? {};
  const own = type === "full_attention" ? config.global_rope_theta : config.local_rope_theta;
  return { theta: scaling.rope_theta ?? own ?? config.global_rope_theta, scaling };
}

function norm(context: ForwardContext, config: Configuration, path: string, x: Value): Value {
  return context.layerNorm(path, x, config.hidden_size, config.norm_eps, config.norm_bias);
}

function attention(
  context: ForwardContext,
  config: Configuration,
  path: string,
  x: Value,
  type: LayerType,
  tables: RotaryTables,
): Value {
  const { hidden_size: hidden, num_attention_heads: heads, attention_bias: bias } = config;
  const shape = { heads, groups: heads, size: hidden / heads };
  const slices = projectionSlices(shape);
  const fused = context.linear(`${path}.Wqkv`, x, { in: hidden, out: 3 * hidden, bias, slices });
  const projections = splitProjections(context, fused, shape);
  const result = attendRotated(context, projections, tables, {
    path,
    scale: Math.sqrt(heads / hidden),
    causal: false,
    window: type === "full_attention" ? undefined : Math.floor(config.local_attention / 2) + 1,
    dropout: config.attention_dropout,
  });
  const output = context.linear(`${path}.Wo`, result, { in: hidden, out: hidden, bias });
  return context.dropout(output, config.attention_dropout);
}

function feedForward(context: ForwardContext, config: Configuration, path: string, x: Value): Value {
  return fusedGatedFeedForward(context, { expand: `${path}.Wi`, contract: `${path}.Wo` }, x, {
    hidden: config.hidden_size,
    intermediate: config.intermediate_size,
    activation: config.hidden_activation,
    bias: config.mlp_bias,
    dropout: config.mlp_dropout,
    halves: ["input", "gate"],
  });
}
