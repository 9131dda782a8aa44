/** @file Rotary position embeddings: frequencies with their scalings, and the tables of one forward pass. */
import { z } from "zod";
import { DeltafitError } from "../../errors.ts";
import type { Value } from "../../graph/graph.ts";
import { divideDimensions, multiplyDimensions } from "../../graph/dimension.ts";
import type { ForwardContext } from "../forward.ts";

/** One set of rotary settings. */
export const rotaryScalingSchema = z
  .object({
    rope_type: z.string().optional(),
    type: z.string().optional(),
    rope_theta: z.number().positive().optional(),
    factor: z.number().positive().optional(),
    low_freq_factor: z.number().positive().optional(),
    high_freq_factor: z.number().positive().optional(),
    original_max_position_embeddings: z.int().positive().optional(),
    partial_rotary_factor: z.number().positive().max(1).optional(),
    short_factor: z.array(z.number().positive()).optional(),
    attention_factor: z.number().positive().nullish(),
  })
  .loose();

/** The rotary keys of config.json: `rope_parameters` as transformers 5 writes them, or the older pair. */
export const rotarySchema = z.object({
  rope_parameters: rotaryScalingSchema.nullish(),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: rotaryScalingSchema.nullish(),
});

export interface RotarySettings {
  readonly theta: number;
  readonly scaling: z.output<typeof rotaryScalingSchema>;
}

/** The settings, whichever of the two spellings the configuration uses. */
export function rotarySettings(
  configuration: z.output<typeof rotarySchema>,
  defaultTheta = 10_000,
): RotarySettings {
  const scaling = configuration.rope_parameters ?? configuration.rope_scaling ?? {};
  return { theta: scaling.rope_theta ?? configuration.rope_theta ?? defaultTheta, scaling };
}

/**
 * Angular velocity of each rotated pair of a head's dimensions: theta^(-2i/width), scaled as the configuration says,
 * where width is a share of the head's size. Where the width is odd its last pair takes one dimension more.
 * "llama3" (Llama 3.1): long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
 * @throws DeltafitError `config-invalid` for a scaling deltafit does not know, or no whole number of pairs.
 */
export function rotaryFrequencies({ theta, scaling }: RotarySettings, size: number, share = 1): number[] {
  const plain = plainFrequencies(theta, size, share);
  const kind = scaling.rope_type ?? scaling.type ?? "default";
  const factor = scaling.factor ?? 1;
  switch (kind) {
    case "default":
      return plain;
    case "linear":
      return plain.map((frequency) => frequency / factor);
    case "llama3": {
      const {
        low_freq_factor: low = 1,
        high_freq_factor: high = 4,
        original_max_position_embeddings: context = 8192,
      } = scaling;
      return plain.map((frequency) => {
        const wavelength = (2 * Math.PI) / frequency;
        if (wavelength < context / high) return frequency;
        if (wavelength > context / low) return frequency / factor;
        const smooth = (context / wavelength - low) / (high - low);
        return ((1 - smooth) * frequency) / factor + smooth * frequency;
      });
    }
    default:
      throw new DeltafitError(
        "config-invalid",
        `config.json: the rotary scaling "${kind}" is not known.`,
        'Known are "default", "linear" and "llama3".',
      );
  }
}

/**
 * The velocities without any scaling.
 * @throws DeltafitError `config-invalid` for no whole number of pairs.
 */
export function plainFrequencies(theta: number, size: number, share: number): number[] {
  const width = Math.floor(size * share);
  const pairs = Math.ceil(width / 2);
  if (pairs === 0 || 2 * pairs > size) throw noPairs(size, width);
  return Array.from({ length: pairs }, (_, index) => 1 / theta ** ((2 * index) / width));
}

function noPairs(size: number, width: number): DeltafitError {
  return new DeltafitError(
    "config-invalid",
    `config.json: ${width} of the ${size} dimensions of an attention head are to be rotated, which does not work in pairs.`,
    "Check the number of heads, the size of a head and the share of it that is rotated.",
  );
}

/** Tables of one forward pass: cosines and sines [batch, length, size / 2]. */
export interface RotaryTables {
  readonly cosine: Value;
  readonly sine: Value;
}

/** @param amplitude factor of all cosines and sines, and so of what is rotated. */
export function rotaryTables(
  context: ForwardContext,
  frequencies: readonly number[],
  amplitude = 1,
): RotaryTables {
  const { builder, sequence } = context;
  const positions = builder.reshape(builder.cast(sequence.positions, "float32"), [
    sequence.batch,
    sequence.length,
    1,
  ]);
  const angles = builder.multiply(positions, builder.constant("float32", [frequencies.length], frequencies));
  const scaled = (of: Value) => builder.scale(of, amplitude);
  return { cosine: scaled(builder.cosine(angles)), sine: scaled(builder.sine(angles)) };
}

/** Rotates x [batch, heads, length, size], or as many of the first dimensions of each head as the tables have. */
export function rotate(context: ForwardContext, x: Value, { cosine, sine }: RotaryTables): Value {
  const { builder } = context;
  const size = x.shape[3] ?? 0;
  const width = multiplyDimensions(2, cosine.shape[2] ?? 0);
  const rotated = builder.rotaryEmbedding(builder.slice(x, 3, 0, width), cosine, sine);
  return width === size ? rotated : builder.concat([rotated, builder.slice(x, 3, width, size)], 3);
}

/** Hidden states [tokens, heads * size] as [batch, heads, length, size]. */
export function splitHeads(context: ForwardContext, x: Value, heads: number): Value {
  const { builder, sequence } = context;
  const size = divideDimensions(x.shape[1] ?? 0, heads) ?? 0;
  const split = builder.reshape(x, [sequence.batch, sequence.length, heads, size]);
  return builder.transpose(split, [0, 2, 1, 3]);
}
