/**
 * @file OLMo 2 (OLMo et al. 2024, section 3): Llama with the norms moved: each sub-layer's output is normalised before
 * it joins the residual stream, and so are all queries and all keys of a token.
 */
import { z } from "zod";
import { readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";

const schema = decoderSchema.extend({
  rms_norm_eps: z.number().positive().default(1e-5),
  attention_bias: z.boolean().default(false),
});

export const olmo2: Architecture = {
  modelType: "olmo2",
  classDefaults: {
    vocab_size: 50304,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config), attentionShape(config).size);
    return createDecoder(config, {
      modelType: "olmo2",
      norms: { attentionOutput: "post_attention_layernorm", feedForwardOutput: "post_feedforward_layernorm" },
      attention: () => ({ frequencies }),
      projectionBias: config.attention_bias,
      outputBias: config.attention_bias,
      queryKeyNorm: "token",
      labelsTokens: false,
    });
  },
};
