/**
 * @file Llama (Touvron et al. 2023; Llama 3, Meta 2024): pre-norm decoder with RMS norms, rotary positions,
 * grouped-query attention and a gated feed-forward layer. Also serves every checkpoint of `model_type` llama.
 */
import { z } from "zod";
import { readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";

const schema = decoderSchema.extend({
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

export const llama: Architecture = {
  modelType: "llama",
  classDefaults: {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), attentionShape(config).size);
    return createDecoder(config, {
      modelType: "llama",
      norms: preNorms,
      spanBody: "transformer",
      attention: () => ({ frequencies }),
      projectionBias: config.attention_bias,
      outputBias: config.attention_bias,
      feedForwardBias: config.mlp_bias,
    });
  },
};
