/** @file Parameters under the names that PEFT gives them, and what PEFT's optimiser does to each. */
import type { BoundAdapter } from "../../src/adapters/adapter.ts";
import { formatOf } from "../../src/adapters/method-table.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import type { LayoutEntry } from "../../src/methods/layout.ts";
import type { ParameterGroups } from "../../src/training/optimiser.ts";
import { CaseFailure } from "./cases.ts";
import type { CaseInfo } from "./methods.ts";
import { canonicalName, recordedName } from "./prompt-learning.ts";

/** The name of a parameter in PEFT, in the form of `canonicalName`. */
export type PeftNames = (entry: LayoutEntry) => string;

export function peftNames<Type extends MethodType>(adapter: BoundAdapter<Type>, base: Base): PeftNames {
  if (adapter.methodType === "FULL" || adapter.methodType === "BITFIT") return ({ key }) => key;
  if (adapter.method.virtualTokens !== undefined || adapter.method.prefixKeys !== undefined)
    return recordedName;
  const fileName = formatOf<Type>(adapter.methodType).fileNames(adapter.configuration, base.modules);
  return ({ key }) => fileName(key);
}

/** Factors of the learning rate and absolute weight decays, for a setting of weight decay 1. */
export function groupsOf(
  groups: NonNullable<CaseInfo["param_groups"]>,
  rate: number,
  nameOf: PeftNames,
): ParameterGroups {
  const byName = new Map(
    groups.flatMap((group) => group.params.map((name) => [canonicalName(name), group] as const)),
  );
  const groupOf = (entry: LayoutEntry) => {
    const group = byName.get(nameOf(entry));
    if (!group) throw new CaseFailure(`PEFT has no parameter group for ${nameOf(entry)}`);
    return group;
  };
  return {
    rate: (entry) => groupOf(entry).lr / rate,
    decay: (entry) => groupOf(entry).weight_decay,
  };
}
