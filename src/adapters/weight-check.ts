/** @file Which weights an adapter can be used with. Knows no method. */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { BoundMethod, ModuleTable } from "../methods/contract.ts";
import type { ParameterLayout } from "../methods/layout.ts";

/**
 * A weight scales what an adapter adds; a parameter put in place of the base's is there or not.
 * @param where What asks for the weight, for error messages.
 * @throws DeltafitError `usage-invalid` for what is no number; `method-unsupported`.
 */
export function checkWeight(
  { name, layout, method }: WeighedAdapter,
  modules: Pick<ModuleTable, "parameters">,
  weight: number,
  where: string,
): number {
  if (!Number.isFinite(weight))
    throw new DeltafitError(
      "usage-invalid",
      `${where}: the weight of the adapter ${quote(name)} is ${weight}; expected a number.`,
    );
  const replaced = layout.entries.find(({ key }) => modules.parameters.has(key));
  if (weight !== 1 && (method.virtualTokens ?? method.prefixKeys) !== undefined)
    throw new DeltafitError(
      "method-unsupported",
      `${where}: the adapter ${quote(name)} cannot have the weight ${weight}: it puts ${method.virtualTokens === undefined ? "keys" : "tokens"} in front of every row.`,
      "Leave the adapter out to switch it off.",
    );
  if (weight === 1 || !replaced) return weight;
  throw new DeltafitError(
    "method-unsupported",
    `${where}: the adapter ${quote(name)} cannot have the weight ${weight}: it replaces the base's ${quote(replaced.key)}.`,
    "Leave the adapter out to switch it off, or merge adapters.",
  );
}

interface WeighedAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  readonly layout: ParameterLayout;
}
