/** @file Gemma 2 (Gemma Team 2024): local and global attention in turns, soft caps of scores and logits. */
import { z } from "zod";
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder } from "./layers/decoder.ts";
import { gemmaDesign, gemmaSchema } from "./layers/gemma-layer.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { layerTypesOf, windowOfType } from "./layers/windows.ts";

const softCap = z.number().positive().nullable();

const schema = gemmaSchema.extend({
  max_position_embeddings: positiveInteger.default(8192),
  attn_logit_softcapping: softCap.default(50),
  final_logit_softcapping: softCap.default(30),
});

export const gemma2: Architecture = {
  modelType: "gemma2",
  classDefaults: {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), config.head_dim);
    const types = layerTypesOf(config.layer_types, config.num_hidden_layers, (index) => index % 2 === 0);
    const windows = types.map((type) => windowOfType(type, config.sliding_window));
    return createDecoder(config, {
      ...gemmaDesign(config),
      modelType: "gemma2",
      attention: (index) => ({ frequencies, window: windows[index] }),
    });
  },
};
