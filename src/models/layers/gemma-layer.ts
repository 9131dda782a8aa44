/**
 * @file What Gemma 2 and Gemma 3 share (Gemma Team 2024, 2025): scaled embeddings, norms around every sub-layer that
 * store their scales around zero, a score scale of its own, and soft caps. Knows neither of the two.
 */
import { z } from "zod";
import { activationSchema, positiveInteger } from "../configuration.ts";
import { decoderSchema } from "./decoder.ts";
import type { DecoderDesign } from "./decoder.ts";
import type { rotarySchema } from "./rotary.ts";
import { layerTypesSchema } from "./windows.ts";

/** Keys of config.json that both have. */
export const gemmaSchema = decoderSchema.extend({
  num_key_value_heads: positiveInteger.nullable().default(4),
  head_dim: positiveInteger.default(256),
  hidden_activation: activationSchema.default("gelu_pytorch_tanh"),
  tie_word_embeddings: z.boolean().default(true),
  attention_bias: z.boolean().default(false),
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: positiveInteger.nullable().default(4096),
  layer_types: layerTypesSchema,
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
  /** Attention to both sides, as embedding models use it, is not implemented. */
  use_bidirectional_attention: z.literal(false).nullish(),
});

/** A configuration without its rotary keys. */
export type GemmaConfiguration = Omit<z.output<typeof gemmaSchema>, keyof typeof rotarySchema.shape>;

/** All of a Gemma's design but which layers are local and how each is rotated. */
export function gemmaDesign(config: GemmaConfiguration): Omit<DecoderDesign, "modelType" | "attention"> {
  return {
    norms: {
      attentionInput: "input_layernorm",
      attentionOutput: "post_attention_layernorm",
      feedForwardInput: "pre_feedforward_layernorm",
      feedForwardOutput: "post_feedforward_layernorm",
    },
    normOffset: 1,
    projectionBias: config.attention_bias,
    outputBias: config.attention_bias,
    scoreScale: 1 / Math.sqrt(config.query_pre_attn_scalar),
    scoreCap: config.attn_logit_softcapping ?? undefined,
    logitCap: config.final_logit_softcapping ?? undefined,
    activation: config.hidden_activation,
    embeddingScale: Math.sqrt(config.hidden_size),
  };
}
