/**
 * @file Gemma 3 (Gemma Team 2025), its language model: RMS norms of each head's queries and keys, and five local layers
 * for each global one, with rotary settings of their own.
 */
import { z } from "zod";
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture } from "./forward.ts";
import { createDecoder } from "./layers/decoder.ts";
import { gemmaDesign, gemmaSchema } from "./layers/gemma-layer.ts";
import { rotaryFrequencies, rotaryScalingSchema } from "./layers/rotary.ts";
import type { RotarySettings } from "./layers/rotary.ts";
import { layerTypes, layerTypesOf, windowOfType } from "./layers/windows.ts";
import type { LayerType } from "./layers/windows.ts";

const schema = gemmaSchema.extend({
  max_position_embeddings: positiveInteger.default(131_072),
  sliding_window_pattern: positiveInteger.nullish(),
  _sliding_window_pattern: positiveInteger.nullish(),
  rope_parameters: z.partialRecord(z.enum(layerTypes), rotaryScalingSchema.nullish()).nullish(),
  /** Older files: settings of the global layers, and the base of the local ones. */
  rope_theta: z.number().positive().default(1_000_000),
  rope_scaling: rotaryScalingSchema.nullish(),
  rope_local_base_freq: z.number().positive().default(10_000),
});

type Configuration = z.output<typeof schema>;

export const gemma3Text: Architecture = {
  modelType: "gemma3_text",
  classDefaults: {
    vocab_size: 262_208,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const every = config.sliding_window_pattern ?? config._sliding_window_pattern ?? 6;
    const isSliding = (index: number) => (index + 1) % every !== 0;
    const types = layerTypesOf(config.layer_types, config.num_hidden_layers, isSliding);
    const layers = types.map((type) => ({
      frequencies: rotaryFrequencies(rotaryOf(config, type), config.head_dim),
      window: windowOfType(type, config.sliding_window),
    }));
    return createDecoder(config, {
      ...gemmaDesign(config),
      modelType: "gemma3_text",
      attention: (index) => layers[index] ?? { frequencies: undefined },
      queryKeyNorm: "head",
      labelsTokens: false,
    });
  },
};

function rotaryOf(config: Configuration, type: LayerType): RotarySettings {
  const isGlobal = type === "full_attention";
  const scaling = config.rope_parameters?.[type] ?? (isGlobal ? config.rope_scaling : undefined) ?? {};
  return {
    theta: scaling.rope_theta ?? (isGlobal ? config.rope_theta : config.rope_local_base_freq),
    scaling,
  };
}
