/**
 * @file LoRA-FA (Zhang et al. 2023, "LoRA-FA: Memory-efficient Low-rank Adaptation for Large Language Models Fine-tuning",
 * section 3.1): A stays at its random start and B alone is trained, so the backward pass of an adapted layer needs A x of
 * rank r in place of x.
 */
import { DeltafitError } from "../../errors.ts";
import { TorchGenerator } from "../../tensor/random.ts";
import type { ConstantSpec } from "../contract.ts";
import type { LoraConfiguration } from "../lora.ts";
import type { LoraSite } from "../lora-site.ts";

/** @throws DeltafitError `method-unsupported` for what needs an A that is trained, or one of another start. */
export function checkFrozenStart(
  { initialWeights, magnitude, projectionSeed = 0 }: LoraConfiguration,
  sites: readonly LoraSite[],
): void {
  const refuse = (why: string, hint: string) => {
    throw new DeltafitError(
      "method-unsupported",
      `LoRA: A cannot stay as it starts (frozenA): ${why}.`,
      hint,
    );
  };
  if (initialWeights !== true && initialWeights !== "gaussian")
    refuse(`it starts as "${initialWeights}"`, "Leave the start out, or take the gaussian one.");
  if (magnitude) refuse("magnitudes are trained (DoRA)", "Leave one of them out.");
  const embedding = sites.find(({ kind }) => kind === "embedding");
  if (embedding)
    refuse(
      `"${embedding.path}" is an embedding, whose A starts at zero`,
      "Leave embeddings out of the targets.",
    );
  if (!Number.isSafeInteger(projectionSeed))
    refuse(`projectionSeed is ${projectionSeed}, expected a whole number`, "Any whole number will do.");
}

/** The A of every site, drawn one after the other from one generator. */
export function frozenStarts(
  sites: readonly LoraSite[],
  { initialWeights, projectionSeed = 0 }: LoraConfiguration,
): ConstantSpec[] {
  let drawn: ReadonlyMap<string, Float32Array> | undefined;
  const draw = () => {
    const generator = new TorchGenerator(projectionSeed);
    return new Map(
      sites.map(({ a, rank, in: from }) => [
        a,
        initialWeights === "gaussian"
          ? generator.normal(rank * from, 0, 1 / rank)
          : generator.uniform(rank * from, -1 / Math.sqrt(from), 1 / Math.sqrt(from)),
      ]),
    );
  };
  return sites.map(({ a, rank, in: from }) => ({
    key: a,
    shape: [rank, from],
    values: () => (drawn ??= draw()).get(a) ?? new Float32Array(rank * from),
  }));
}
