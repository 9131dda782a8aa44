/**
 * @file What both versions of DeBERTa share: configuration, input, the stack of layers around disentangled attention,
 * and heads. How a layer projects content and positions is given by who calls.
 */
import { z } from "zod";
import type { Value } from "../../graph/graph.ts";
import { activationSchema, probability, requireEqual } from "../configuration.ts";
import type { ForwardContext, Model } from "../forward.ts";
import { relativeScores } from "./disentangled-attention.ts";
import type { RelativePositions } from "./disentangled-attention.ts";
import { sumEmbeddings } from "./embeddings.ts";
import { bertPredictions, predictionsHead, sequenceHead, tokenHeads, transform } from "./heads.ts";
import { describeEncoder, encoderLayer, layerSettings, postNormSchema } from "./post-norm-encoder.ts";

/** Position kinds of `pos_att_type`: "c2p|p2c" in older files, a list in newer ones. */
const positionKindsSchema = z
  .union([z.string().transform((kinds) => kinds.toLowerCase().split("|")), z.array(z.string())])
  .nullish()
  .transform((kinds) => (kinds ?? []).map((kind) => kind.trim()))
  .refine(
    (kinds) => kinds.every((kind) => kind === "c2p" || kind === "p2c"),
    'expected "c2p", "p2c" or both, as a list or joined by "|"',
  );

export const disentangledSchema = postNormSchema.extend({
  type_vocab_size: z.int().nonnegative().default(0),
  layer_norm_eps: z.number().positive().default(1e-7),
  embedding_size: z.int().positive().optional(),
  relative_attention: z.boolean().default(false),
  max_relative_positions: z.int().default(-1),
  position_biased_input: z.boolean().default(true),
  pos_att_type: positionKindsSchema,
  pooler_hidden_size: z.int().positive().optional(),
  pooler_dropout: probability.default(0),
  pooler_hidden_act: activationSchema.default("gelu"),
  cls_dropout: probability.nullish(),
  /** The head for masked tokens: BERT's, or the original one. */
  legacy: z.boolean().default(true),
});

export type DisentangledConfiguration = z.output<typeof disentangledSchema>;

/** Which scores besides content to content there are. */
export interface PositionKinds {
  readonly contentToPosition: boolean;
  readonly positionToContent: boolean;
}

export interface DisentangledProjections {
  /** [batch, heads, length, size] */
  readonly query: Value;
  readonly key: Value;
  readonly value: Value;
  /** [rows, hidden], where content sees positions. */
  readonly positionKeys: Value | undefined;
  /** [rows, hidden], where positions see content. */
  readonly positionQueries: Value | undefined;
}

/** What a version of DeBERTa does in its own way. */
export interface DisentangledVariant {
  readonly modelType: string;
  readonly positions: RelativePositions;
  /** Projects x [tokens, hidden], and the table of relative positions [rows, hidden] where there is one. */
  project(
    context: ForwardContext,
    path: string,
    x: Value,
    table: Value | undefined,
    kinds: PositionKinds,
  ): DisentangledProjections;
  /** The table of relative positions as the layers see it. */
  relativeTable?(context: ForwardContext, table: Value): Value;
  /** What follows the first layer: from the model's input and the layer's output. */
  afterFirstLayer?(context: ForwardContext, embedded: Value, x: Value): Value;
}

/** The largest distance that the table of relative positions tells apart. */
export function maximumDistance(config: DisentangledConfiguration): number {
  return config.max_relative_positions < 1 ? config.max_position_embeddings : config.max_relative_positions;
}

const root = "deberta";

export function disentangledModel(config: DisentangledConfiguration, variant: DisentangledVariant): Model {
  const { hidden_size: hidden, embedding_size: embedding = hidden } = config;
  const headDropout = config.cls_dropout ?? config.hidden_dropout_prob;
  requireEqual(config.pooler_hidden_size ?? hidden, hidden, "pooler_hidden_size", "hidden_size");
  if (!config.legacy) requireEqual(embedding, hidden, "embedding_size", "hidden_size");
  return {
    ...describeEncoder(config),
    modelType: variant.modelType,
    bodyPath: root,
    ignoredTensors: [/\.position_ids$/, /\.position_embeddings\./, /^cls\.predictions\.decoder\.bias$/],
    encode: (context) => encode(context, config, variant),
    tokenLogits(context, x) {
      const words = `${root}.embeddings.word_embeddings.weight`;
      if (config.legacy)
        return predictionsHead(context, x, {
          ...bertPredictions("cls.predictions"),
          in: hidden,
          embedding,
          vocabulary: config.vocab_size,
          activation: config.hidden_act,
          epsilon: config.layer_norm_eps,
          tiedWeight: config.tie_word_embeddings ? words : undefined,
        });
      const head = "lm_predictions.lm_head";
      const transformed = transform(context, x, {
        dense: `${head}.dense`,
        norm: `${head}.LayerNorm`,
        in: hidden,
        out: hidden,
        activation: config.hidden_act,
        epsilon: config.layer_norm_eps,
      });
      // This head has no output module of its own: it multiplies by the input embeddings.
      return context.builder.gemm(transformed, context.parameter(words, [config.vocab_size, hidden]), {
        transB: true,
        c: context.parameter(`${head}.bias`, [config.vocab_size]),
      });
    },
    ...tokenHeads({ hidden, labelDropout: config.hidden_dropout_prob }),
    sequenceLogits: (context, x, labelCount) =>
      sequenceHead(context, context.firstTokens(x), labelCount, {
        dense: "pooler.dense",
        output: "classifier",
        hidden,
        activation: config.pooler_hidden_act,
        inputDropout: config.pooler_dropout,
        outputDropout: headDropout,
      }),
  };
}

function encode(
  context: ForwardContext,
  config: DisentangledConfiguration,
  variant: DisentangledVariant,
): Value {
  const settings = layerSettings(config);
  const { span } = variant.positions;
  const stored = config.relative_attention
    ? context.parameter(`${root}.encoder.rel_embeddings.weight`, [2 * span, config.hidden_size])
    : undefined;
  const table = stored && (variant.relativeTable?.(context, stored) ?? stored);
  const attend = (path: string, input: Value) => attention(context, config, variant, path, input, table);
  const embedded = embed(context, config);
  let x = embedded;
  for (let index = 0; index < config.num_hidden_layers; index++) {
    x = encoderLayer(context, root, index, x, settings, attend);
    if (index === 0) x = variant.afterFirstLayer?.(context, embedded, x) ?? x;
  }
  return x;
}

function embed(context: ForwardContext, config: DisentangledConfiguration): Value {
  const { hidden_size: hidden, embedding_size: size = hidden } = config;
  const path = `${root}.embeddings`;
  const sum = sumEmbeddings(context, {
    path,
    size,
    words: config.vocab_size,
    positions: config.position_biased_input ? config.max_position_embeddings : 0,
    segments: config.type_vocab_size,
    padding: config.pad_token_id,
  });
  const widened =
    size === hidden ? sum : context.linear(`${path}.embed_proj`, sum, { in: size, out: hidden });
  const normed = context.layerNorm(`${path}.LayerNorm`, widened, hidden, config.layer_norm_eps);
  return context.dropout(context.zeroPadding(normed), config.hidden_dropout_prob);
}

function attention(
  context: ForwardContext,
  config: DisentangledConfiguration,
  variant: DisentangledVariant,
  layer: string,
  x: Value,
  table: Value | undefined,
): Value {
  const path = `${layer}.attention.self`;
  const kinds = config.pos_att_type;
  const dropped = table && context.dropout(table, config.hidden_dropout_prob);
  const projections = variant.project(context, path, x, dropped, {
    contentToPosition: kinds.includes("c2p"),
    positionToContent: kinds.includes("p2c"),
  });
  // Each kind of score adds variance: sqrt(3 size) where there are all three (section 3.1 of the paper).
  const scale = 1 / Math.sqrt((config.hidden_size / config.num_attention_heads) * (1 + kinds.length));
  const scores = relativeScores(context.builder, {
    ...projections,
    positions: variant.positions,
    maximumLength: config.max_position_embeddings,
  });
  const { query, key, value } = projections;
  return context.attention({
    path,
    query,
    key,
    value,
    scale,
    causal: false,
    bias: scores && context.builder.scale(scores, scale),
    dropout: config.attention_probs_dropout_prob,
  });
}
