/** @file --adapter-weight: one number for each --adapter, in their order. */
import { z } from "zod";
import { withValues } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import type { MethodType } from "../adapters/method-table.ts";
import { checkWeight } from "../adapters/weight-check.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { weightedMethod } from "../methods/adapter-weight.ts";
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
  folders: readonly unknown[],
  given: readonly number[] | undefined,
): readonly number[] {
  if (given === undefined) return folders.map(() => 1);
  if (given.length === folders.length) return given;
  throw new DeltafitError(
    "usage-invalid",
    `--adapter-weight: expected a number for each --adapter, ${folders.length} in all, found ${given.length}.`,
    "Give the weights in the order of the adapters: --adapter a --adapter b --adapter-weight 0.7,0.4",
  );
}

/** Loaded adapters with the weights of what brought them, for what scales adapters itself. */
export function withWeights(
  groups: readonly AdapterGroup[],
): { readonly name: string; readonly weight: number }[] {
  return groups.flatMap(({ adapters, weight }) => adapters.map(({ name }) => ({ name, weight })));
}

/**
 * Loaded adapters that change as much as their weights say.
 * @throws DeltafitError `method-unsupported` for an adapter that takes no weight.
 */
export function weightedAdapters(groups: readonly AdapterGroup[], base: Pick<Base, "modules">): Adapter[] {
  return groups.flatMap(({ adapters, weight }) =>
    adapters.map((adapter) => {
      if (weight === 1) return adapter;
      checkWeight(adapter, base.modules, weight, "--adapter-weight");
      const scaled = { ...adapter, method: weightedMethod(adapter.method, weight) };
      return withValues<MethodType>(scaled, adapter.values);
    }),
  );
}
