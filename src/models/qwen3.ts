/**
 * @file Qwen3 (Yang et al. 2025): Llama with RMS norms of each head's queries and keys; from some layer on attention
 * may be local.
 */
import { z } from "zod";
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { upperWindows, upperWindowSchema } from "./layers/windows.ts";

const schema = decoderSchema.extend({
  ...upperWindowSchema.shape,
  num_key_value_heads: positiveInteger.nullable().default(32),
  head_dim: positiveInteger.default(128),
  max_position_embeddings: positiveInteger.default(32_768),
  attention_bias: z.boolean().default(false),
});

export const qwen3: Architecture = {
  modelType: "qwen3",
  classDefaults: {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), config.head_dim);
    const windows = upperWindows(config);
    return createDecoder(config, {
      modelType: "qwen3",
      norms: preNorms,
      spanBody: "transformer",
      attention: (index) => ({ frequencies, window: windows[index] }),
      projectionBias: config.attention_bias,
      outputBias: config.attention_bias,
      queryKeyNorm: "head",
    });
  },
};
