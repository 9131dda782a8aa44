/**
 * @file The decoder that Llama made common (Touvron et al. 2023): RMS norms, rotary positions, grouped-query attention
 * and a gated feed-forward layer, under module names that its descendants kept. A family says what it changes as a
 * `DecoderDesign`; this file knows no family.
 */
import { z } from "zod";
import type { Value } from "../../graph/graph.ts";
import { activationSchema, positiveInteger, probability, tokenIdSchema } from "../configuration.ts";
import type { ActivationName } from "../configuration.ts";
import type { ForwardContext, Model } from "../forward.ts";
import { gatedFeedForward } from "./feed-forward.ts";
import { tokenHead, tokenOutput } from "./heads.ts";
import { rotarySchema, rotaryTables } from "./rotary.ts";
import type { RotaryTables } from "./rotary.ts";
import { attendRotated, attentionShape, separateProjections } from "./self-attention.ts";
import type { AttentionShape, Projections, QueryKeyNorm } from "./self-attention.ts";
import { softCap } from "./soft-cap.ts";

/** Keys of config.json that these decoders have in common. */
export const decoderSchema = rotarySchema.extend({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  intermediate_size: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  /** As many as there are heads where it is null. */
  num_key_value_heads: positiveInteger.nullish(),
  head_dim: positiveInteger.nullish(),
  hidden_act: activationSchema.default("silu"),
  max_position_embeddings: positiveInteger.default(2048),
  rms_norm_eps: z.number().positive().default(1e-6),
  initializer_range: z.number().positive().default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  attention_dropout: probability.nullish(),
  /** Of the input of the labels of tokens; 0.1 where neither says so. */
  classifier_dropout: probability.nullish(),
  hidden_dropout: probability.nullish(),
  pad_token_id: tokenIdSchema,
});

/** A configuration without its rotary keys, which a family turns into frequencies. */
export type DecoderConfiguration = Omit<z.output<typeof decoderSchema>, keyof typeof rotarySchema.shape>;

/** Names of a layer's norms; a sub-layer may have one before it, one after it, or both. */
export interface LayerNorms {
  readonly attentionInput?: string;
  readonly attentionOutput?: string;
  readonly feedForwardInput?: string;
  readonly feedForwardOutput?: string;
}

/** The norms of Llama: one before each sub-layer. */
export const preNorms: LayerNorms = {
  attentionInput: "input_layernorm",
  feedForwardInput: "post_attention_layernorm",
};

/** A part of a layer: x [tokens, hidden], normalised, in the module `path`. */
export type LayerPart<Result> = (context: ForwardContext, path: string, x: Value) => Result;

/** What a layer's attention does of its own. */
export interface LayerAttention {
  /** Angular velocities of the rotation; `undefined` where the layer leaves positions out. */
  readonly frequencies: readonly number[] | undefined;
  /** Factor of the rotated queries and keys; 1 by default. */
  readonly amplitude?: number | undefined;
  /** As of an attention call. */
  readonly window?: number | undefined;
}

/** How a family differs; what is left out is as in Llama. */
export interface DecoderDesign {
  readonly modelType: string;
  readonly norms: LayerNorms;
  /** What is added to the stored scale of every norm. */
  readonly normOffset?: number;
  /** Positions and window of each layer. */
  readonly attention: (index: number) => LayerAttention;
  /** Biases of the projections of queries, keys and values. */
  readonly projectionBias?: boolean;
  /** Bias of the projection after attention. */
  readonly outputBias?: boolean;
  readonly queryKeyNorm?: QueryKeyNorm;
  /** By default three matrices. */
  readonly project?: LayerPart<Projections>;
  /** Factor of the attention scores; by default 1 / sqrt(size of a head). */
  readonly scoreScale?: number;
  /** As of an attention call. */
  readonly scoreCap?: number | undefined;
  /** Bound of the logits. */
  readonly logitCap?: number | undefined;
  /** Factor of the embeddings. */
  readonly embeddingScale?: number;
  readonly feedForwardBias?: boolean;
  /** By default `hidden_act`. */
  readonly activation?: ActivationName;
  /** Name of a layer's feed-forward module; "mlp" by default. */
  readonly feedForwardModule?: string;
  /** By default `gatedFeedForward`. */
  readonly feedForward?: LayerPart<Value>;
  /** Dropout of what each sub-layer adds to the residual stream. */
  readonly residualDropout?: number;
  /** Whether transformers has a head that labels tokens; by default it has. */
  readonly labelsTokens?: boolean;
  /** Module that holds the body under transformers' head for answers; by default there is no such head. */
  readonly spanBody?: string;
}

const usualBody = "model";

/** The model of a family. */
export function createDecoder(config: DecoderConfiguration, design: DecoderDesign): Model {
  const usual = decoderUnder(usualBody, config, design);
  const { spanBody = usualBody } = design;
  if (spanBody === usualBody) return usual;
  const spans = { ...decoderUnder(spanBody, config, design), otherBodyPaths: [usualBody] };
  const others = { ...usual, otherBodyPaths: [spanBody] };
  return { ...others, forTask: (task) => (task === "question-answering" ? spans : others) };
}

/** @param body the module that holds the body. */
function decoderUnder(body: string, config: DecoderConfiguration, design: DecoderDesign): Model {
  const shape = attentionShape(config);
  const { hidden_size: hidden, vocab_size: vocabulary } = config;
  const layers = Array.from({ length: config.num_hidden_layers }, (_, index) => design.attention(index));
  const embedding = {
    path: `${body}.embed_tokens`,
    rows: vocabulary,
    size: hidden,
    scale: design.embeddingScale,
    paddingRow: config.pad_token_id,
  };
  return {
    modelType: design.modelType,
    bodyPath: body,
    vocabularySize: vocabulary,
    hiddenSize: hidden,
    layerCount: config.num_hidden_layers,
    maximumPositions: config.max_position_embeddings,
    causal: true,
    initialDeviation: config.initializer_range,
    padTokenId: config.pad_token_id,
    keyValue: { heads: shape.groups, size: shape.size },
    tokenTypes: false,
    ignoredTensors: [/rotary_emb\.inv_freq$/],
    encode(context) {
      const placed = layers.map((layer) => ({
        ...layer,
        tables: layer.frequencies && rotaryTables(context, layer.frequencies, layer.amplitude),
      }));
      let x = context.tokenEmbedding(embedding);
      for (const [index, layer] of placed.entries())
        x = decoderLayer(context, `${body}.layers.${index}`, x, { config, design, shape, layer });
      return context.rmsNorm(`${body}.norm`, x, hidden, config.rms_norm_eps, design.normOffset);
    },
    tokenLogits(context, x) {
      const logits = tokenOutput(context, x, {
        path: "lm_head",
        in: hidden,
        vocabulary,
        tiedWeight: config.tie_word_embeddings ? `${embedding.path}.weight` : undefined,
        bias: false,
      });
      return softCap(context.builder, logits, design.logitCap);
    },
    sequenceLogits: (context, x, labelCount) =>
      context.linear("score", context.lastTokens(x), { in: hidden, out: labelCount, isOutput: true }),
    ...(design.labelsTokens === false ? {} : { labelLogits: labelHead(config) }),
    ...(design.spanBody === undefined ? {} : { spanLogits: spanHead(config) }),
  };
}

function labelHead(config: DecoderConfiguration): NonNullable<Model["labelLogits"]> {
  const dropout = config.classifier_dropout ?? config.hidden_dropout ?? 0.1;
  const settings = { path: "score", hidden: config.hidden_size, dropout };
  return (context, x, labelCount) => tokenHead(context, x, labelCount, settings);
}

function spanHead(config: DecoderConfiguration): NonNullable<Model["spanLogits"]> {
  const settings = { path: "qa_outputs", hidden: config.hidden_size, dropout: 0 };
  return (context, x) => tokenHead(context, x, 2, settings);
}

interface LayerSettings {
  readonly config: DecoderConfiguration;
  readonly design: DecoderDesign;
  readonly shape: AttentionShape;
  readonly layer: LayerAttention & { readonly tables: RotaryTables | undefined };
}

/** x [tokens, hidden] after the layer at `path`. */
function decoderLayer(context: ForwardContext, path: string, x: Value, settings: LayerSettings): Value {
  const { config, design } = settings;
  const { norms } = design;
  const norm = (name: string | undefined, of: Value) =>
    name === undefined
      ? of
      : context.rmsNorm(`${path}.${name}`, of, config.hidden_size, config.rms_norm_eps, design.normOffset);
  const feedForward = design.feedForward ?? plainFeedForward(settings);
  const dropped = (of: Value) => context.dropout(of, design.residualDropout ?? 0);
  return context.layer(path, x, (input) => {
    const attended = selfAttention(context, `${path}.self_attn`, norm(norms.attentionInput, input), settings);
    const middle = context.sublayer({
      path,
      kind: "attention",
      residual: input,
      output: norm(norms.attentionOutput, dropped(attended)),
    });
    const fed = feedForward(
      context,
      `${path}.${design.feedForwardModule ?? "mlp"}`,
      norm(norms.feedForwardInput, middle),
    );
    return context.sublayer({
      path,
      kind: "feed-forward",
      residual: middle,
      output: norm(norms.feedForwardOutput, dropped(fed)),
    });
  });
}

function selfAttention(
  context: ForwardContext,
  path: string,
  x: Value,
  { config, design, shape, layer }: LayerSettings,
): Value {
  const { hidden, heads, size } = shape;
  const separate: LayerPart<Projections> = () =>
    separateProjections(context, path, x, {
      shape,
      bias: design.projectionBias ?? false,
      norm: design.queryKeyNorm && {
        over: design.queryKeyNorm,
        epsilon: config.rms_norm_eps,
        offset: design.normOffset,
      },
    });
  const projections = (design.project ?? separate)(context, path, x);
  const result = attendRotated(context, projections, layer.tables, {
    path,
    scale: design.scoreScale ?? 1 / Math.sqrt(size),
    softCap: design.scoreCap,
    causal: true,
    window: layer.window,
    dropout: config.attention_dropout ?? 0,
  });
  return context.linear(`${path}.o_proj`, result, {
    in: heads * size,
    out: hidden,
    bias: design.outputBias ?? false,
  });
}

function plainFeedForward({ config, design }: LayerSettings): LayerPart<Value> {
  return (context, path, x) =>
    gatedFeedForward(context, path, x, {
      hidden: config.hidden_size,
      intermediate: config.intermediate_size,
      activation: design.activation ?? config.hidden_act,
      bias: design.feedForwardBias ?? false,
    });
}
