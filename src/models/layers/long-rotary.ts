/**
 * @file LongRoPE (Ding et al. 2024): rotary positions that reach beyond the length of pretraining, by one stretching
 * factor for each pair of dimensions. Models come with two lists, for texts up to that length and for longer ones; the
 * second is not implemented, so that a model is held to the length of its pretraining.
 */
import { DeltafitError } from "../../errors.ts";
import { plainFrequencies } from "./rotary.ts";
import type { RotarySettings } from "./rotary.ts";

/** Whether the settings are LongRoPE's; "su" is its older name. */
export function isLongRotary({ scaling }: RotarySettings): boolean {
  const kind = scaling.rope_type ?? scaling.type;
  return kind === "longrope" || kind === "su";
}

/** What the rotation of texts up to the length of pretraining needs. */
export interface LongRotary {
  readonly frequencies: readonly number[];
  /** Factor of the rotated queries and keys. */
  readonly amplitude: number;
}

/**
 * @param lengths positions that the model was pretrained for, and those that it reaches.
 * @throws DeltafitError `config-invalid` where there is no factor for each pair.
 */
export function longRotary(
  { theta, scaling }: RotarySettings,
  size: number,
  share: number,
  lengths: { readonly pretrained: number; readonly reached: number },
): LongRotary {
  const plain = plainFrequencies(theta, size, share);
  const factors = scaling.short_factor ?? [];
  if (factors.length !== plain.length)
    throw new DeltafitError(
      "config-invalid",
      `config.json: the rotary scaling has ${factors.length} entries in "short_factor"; expected ${plain.length}, one for each rotated pair of a head's dimensions.`,
      "Check that the configuration belongs to this architecture and is complete.",
    );
  const stretch = scaling.factor ?? lengths.reached / lengths.pretrained;
  const amplitude = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(lengths.pretrained));
  return {
    frequencies: plain.map((frequency, index) => frequency / (factors[index] ?? 1)),
    amplitude: scaling.attention_factor ?? amplitude,
  };
}
