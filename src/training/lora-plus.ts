/**
 * @file LoRA+ (Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models"): B learns faster than A, at
 * `ratio` times its rate. Vectors go with B, adapted embeddings have a rate of their own, and all else goes with A.
 * Weight decay, where there is any, spares biases and LayerNorms. Parameters are told apart by their keys, as PEFT's
 * optimiser does it.
 */
import { DeltafitError } from "../errors.ts";
import type { ModuleTable } from "../methods/contract.ts";
import type { LayoutEntry } from "../methods/layout.ts";
import type { ParameterGroups } from "./optimiser.ts";

export interface LoraPlusSettings {
  /** Rate of B over that of A. */
  readonly ratio: number;
  /** Rate of adapted embeddings over that of A. */
  readonly embeddingRatio: number;
}

/** @throws DeltafitError `config-invalid`. */
export function loraPlusGroups(
  { ratio, embeddingRatio }: LoraPlusSettings,
  { norms }: Pick<ModuleTable, "norms">,
): ParameterGroups {
  for (const [name, value] of Object.entries({ ratio, embeddingRatio }))
    if (!(value > 0) || !Number.isFinite(value))
      throw new DeltafitError(
        "config-invalid",
        `LoRA+: ${name} is ${value}; expected a number above 0.`,
        "Common ratios are 4 to 16.",
      );
  const inLayerNorm = (key: string) => norms.get(key.slice(0, key.lastIndexOf(".")))?.kind === "layer";
  return {
    rate(entry) {
      if (isEmbedding(entry)) return embeddingRatio;
      return isSecond(entry) ? ratio : 1;
    },
    decay: ({ key }) => (key.includes("bias") || inLayerNorm(key) ? 0 : 1),
  };
}

const isEmbedding = ({ key }: LayoutEntry): boolean => key.includes("lora_embedding_");
const isSecond = ({ key, shape }: LayoutEntry): boolean => key.includes("lora_B") || shape.length === 1;
