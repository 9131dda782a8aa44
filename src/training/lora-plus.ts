/**
 * @file LoRA+ (Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models"): B learns faster than A, at
 * `ratio` times its rate. Vectors go with B, embeddings have a rate of their own, and all else goes with A. Weight
 * decay, where there is any, spares vectors. Grouped by the parts of a parameter's key, as PEFT's optimiser does it.
 */
import { DeltafitError } from "../errors.ts";
import type { LayoutEntry } from "../methods/layout.ts";
import type { ParameterGroups } from "./optimiser.ts";

export interface LoraPlusSettings {
  /** Rate of B over that of A. */
  readonly ratio: number;
  /** Rate of adapted embeddings over that of A. PEFT's default is 1e-6 in itself, whatever A's is. */
  readonly embeddingRatio: number;
}

/** @throws DeltafitError `config-invalid`. */
export function loraPlusGroups({ ratio, embeddingRatio }: LoraPlusSettings): ParameterGroups {
  for (const [name, value] of Object.entries({ ratio, embeddingRatio }))
    if (!(value > 0) || !Number.isFinite(value))
      throw new DeltafitError("config-invalid", `LoRA+: ${name} is ${value}; expected a number above 0.`, "Common ratios are 4 to 16.");
  return {
    rate(entry) {
      if (isEmbedding(entry)) return embeddingRatio;
      return isSecond(entry) ? ratio : 1;
    },
    decay: (entry) => (isVector(entry) && !isEmbedding(entry) ? 0 : 1),
  };
}

const isEmbedding = ({ key }: LayoutEntry): boolean => key.includes("lora_embedding_");
const isVector = ({ shape }: LayoutEntry): boolean => shape.length === 1;
const isSecond = (entry: LayoutEntry): boolean => entry.key.includes("lora_B") || isVector(entry);
