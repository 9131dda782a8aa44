/**
 * @file Qwen2 (Yang et al. 2024): Llama with biases of the projections of queries, keys and values; from some layer on
 * attention may be local.
 */
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";
import { upperWindows, upperWindowSchema } from "./layers/windows.ts";

const schema = decoderSchema.extend({
  ...upperWindowSchema.shape,
  num_key_value_heads: positiveInteger.nullable().default(32),
  max_position_embeddings: positiveInteger.default(32_768),
});

export const qwen2: Architecture = {
  modelType: "qwen2",
  classDefaults: {
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22016,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), attentionShape(config).size);
    const windows = upperWindows(config);
    return createDecoder(config, {
      modelType: "qwen2",
      norms: preNorms,
      spanBody: "transformer",
      attention: (index) => ({ frequencies, window: windows[index] }),
      projectionBias: true,
    });
  },
};
