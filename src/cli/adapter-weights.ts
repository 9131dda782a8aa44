/** @file --adapter-weight: one number for each --adapter, in their order. */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { numberFromText, optional } from "./flags.ts";
import type { FlagTable, Kind } from "./flags.ts";
import type { AdapterGroup } from "./model.ts";

const numbers: Kind<readonly number[]> = {
  placeholder: "X,Y",
  expected: "numbers with commas between them",
  schema: z.array(z.number()).min(1),
  fromText: (given) => given.split(",").map((part) => numberFromText(part.trim())),
};

export const adapterWeightFlags = {
  adapterWeight: optional(
    numbers,
    "Model:",
    "factors of what the adapters change, one for each --adapter",
    "1 each",
  ),
} satisfies FlagTable;

/**
 * The weight of each adapter; one of a stack's folder is that of all its adapters.
 * @throws DeltafitError `usage-invalid` where there are not as many weights as adapters.
 */
export function adapterWeights(
  references: readonly string[] | undefined,
  given: readonly number[] | undefined,
): readonly number[] {
  const folders = references ?? [];
  if (given === undefined) return folders.map(() => 1);
  if (given.length === folders.length) return given;
  throw new DeltafitError(
    "usage-invalid",
    `--adapter-weight: expected a number for each --adapter, ${folders.length} in all, found ${given.length}.`,
    "Give the weights in the order of the adapters: --adapter a --adapter b --adapter-weight 0.7,0.4",
  );
}

/** Loaded adapters with the weights of what brought them. */
export function withWeights(
  groups: readonly AdapterGroup[],
  weights: readonly number[],
): { readonly name: string; readonly weight: number }[] {
  return groups.flatMap(({ names }, index) => names.map((name) => ({ name, weight: weights[index] ?? 1 })));
}
