/** @file Mistral 7B (Jiang et al. 2023): Llama whose every layer sees a sliding window of the sequence. */
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";

const schema = decoderSchema.extend({
  num_key_value_heads: positiveInteger.nullable().default(8),
  max_position_embeddings: positiveInteger.default(131_072),
  sliding_window: positiveInteger.nullable().default(4096),
});

export const mistral: Architecture = {
  modelType: "mistral",
  classDefaults: {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), attentionShape(config).size);
    const window = config.sliding_window ?? undefined;
    return createDecoder(config, {
      modelType: "mistral",
      norms: preNorms,
      attention: () => ({ frequencies, window }),
      spanBody: "model",
    });
  },
};
