/** @file SmolLM3 (Bakouch et al. 2025): Llama with layers that leave positions out (NoPE), by default every fourth. */
import { z } from "zod";
import { positiveInteger, readConfiguration, requireLayerCount } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";
import { layerTypesOf, layerTypesSchema, windowOfType } from "./layers/windows.ts";

const schema = decoderSchema.extend({
  num_key_value_heads: positiveInteger.nullable().default(4),
  max_position_embeddings: positiveInteger.default(32_768),
  tie_word_embeddings: z.boolean().default(true),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  /** 1 for layers with rotary positions, 0 for layers without. */
  no_rope_layers: z.array(z.union([z.literal(0), z.literal(1)])).nullish(),
  no_rope_layer_interval: positiveInteger.default(4),
  use_sliding_window: z.boolean().default(false),
  sliding_window: positiveInteger.nullish(),
  layer_types: layerTypesSchema,
});

type Configuration = z.output<typeof schema>;

/** Base of the rotary frequencies where the configuration has none. */
const defaultTheta = 2_000_000;

export const smollm3: Architecture = {
  modelType: "smollm3",
  classDefaults: {
    vocab_size: 128_256,
    hidden_size: 2048,
    intermediate_size: 11008,
    num_hidden_layers: 36,
    num_attention_heads: 16,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const frequencies = rotaryFrequencies(rotarySettings(config, defaultTheta), attentionShape(config).size);
    const rotated = rotatedLayers(config);
    const hasWindow = config.use_sliding_window && config.sliding_window != null;
    const types = layerTypesOf(
      config.layer_types,
      config.num_hidden_layers,
      (index) => hasWindow && rotated[index] === false,
    );
    return createDecoder(config, {
      modelType: "smollm3",
      norms: preNorms,
      spanBody: "transformer",
      attention: (index) => ({
        frequencies: rotated[index] === true ? frequencies : undefined,
        window: windowOfType(types[index] ?? "full_attention", config.sliding_window),
      }),
      projectionBias: config.attention_bias,
      outputBias: config.attention_bias,
      feedForwardBias: config.mlp_bias,
    });
  },
};

/** Whether each layer rotates its queries and keys. */
function rotatedLayers(config: Configuration): readonly boolean[] {
  const { num_hidden_layers: depth, no_rope_layers: given, no_rope_layer_interval: every } = config;
  if (given == null) return Array.from({ length: depth }, (_, index) => (index + 1) % every !== 0);
  requireLayerCount(given.length, depth, "no_rope_layers", "num_hidden_layers");
  return given.map((mark) => mark === 1);
}
