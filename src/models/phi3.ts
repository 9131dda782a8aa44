/**
 * @file Phi-3 (Abdin et al. 2024): Llama whose projections of queries, keys and values are one matrix, as are the two
 * that expand the feed-forward layer; a part of each head may go without positions.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import { positiveInteger, probability, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import type { LayerPart } from "./layers/decoder.ts";
import { fusedGatedFeedForward } from "./layers/feed-forward.ts";
import { isLongRotary, longRotary } from "./layers/long-rotary.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape, projectionSlices, splitProjections } from "./layers/self-attention.ts";
import type { Projections } from "./layers/self-attention.ts";

const schema = decoderSchema.extend({
  max_position_embeddings: positiveInteger.default(4096),
  /** Positions of pretraining, where a scaling reaches further. */
  original_max_position_embeddings: positiveInteger.default(4096),
  rms_norm_eps: z.number().positive().default(1e-5),
  resid_pdrop: probability.default(0),
  sliding_window: positiveInteger.nullish(),
  /** Share of each head that is rotated, where `rope_parameters` does not say. */
  partial_rotary_factor: z.number().positive().max(1).default(1),
});

export const phi3: Architecture = {
  modelType: "phi3",
  classDefaults: {
    vocab_size: 32064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const shape = attentionShape(config);
    const rotary = rotarySettings(config);
    const share = rotary.scaling.partial_rotary_factor ?? config.partial_rotary_factor;
    const lengths = {
      pretrained: config.original_max_position_embeddings,
      reached: config.max_position_embeddings,
    };
    const isLong = isLongRotary(rotary);
    const placed = isLong
      ? longRotary(rotary, shape.size, share, lengths)
      : { frequencies: rotaryFrequencies(rotary, shape.size, share) };
    const window = config.sliding_window ?? undefined;
    const project: LayerPart<Projections> = (context, path, x) => {
      const out = (shape.heads + 2 * shape.groups) * shape.size;
      return splitProjections(
        context,
        context.linear(`${path}.qkv_proj`, x, { in: shape.hidden, out, slices: projectionSlices(shape) }),
        shape,
      );
    };
    const feedForward: LayerPart<Value> = (context, path, x) =>
      fusedGatedFeedForward(context, { expand: `${path}.gate_up_proj`, contract: `${path}.down_proj` }, x, {
        hidden: shape.hidden,
        intermediate: config.intermediate_size,
        activation: config.hidden_act,
        bias: false,
        dropout: 0,
        halves: ["gate", "up"],
      });
    const positions = isLong ? Math.min(lengths.pretrained, lengths.reached) : lengths.reached;
    return createDecoder(
      { ...config, max_position_embeddings: positions },
      {
        modelType: "phi3",
        norms: preNorms,
        attention: () => ({ ...placed, window }),
        project,
        feedForward,
        residualDropout: config.resid_pdrop,
      },
    );
  },
};
