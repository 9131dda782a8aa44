/** @file What a row of the table of methods holds, and the sizes that rows are made of. */
import type { MethodConfigurations, MethodType } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import type { LinearSite } from "../../src/models/forward.ts";

export interface MethodRow<Type extends MethodType = MethodType> {
  readonly name: string;
  readonly type: Type;
  readonly configuration: (base: Base) => MethodConfigurations[Type];
  /** Trained parameters besides a classifier's head. */
  readonly parameterCount: (base: Base) => number;
  /** The method changes the model from its start on: it is not made of the base's own weights. */
  readonly startsElsewhere?: true;
  /** Whether the method has anything to train in a model; left out where it always has. */
  readonly fits?: (configuration: Readonly<Record<string, unknown>>) => boolean;
}

export function row<Type extends MethodType>(definition: MethodRow<Type>): MethodRow<Type> {
  return definition;
}

/** Every linear layer but the last. */
export function adapted(base: Base): LinearSite[] {
  return [...base.modules.linears.values()].filter(
    ({ isOutput, path }) => !isOutput && !base.modules.headModules.includes(path.split(".")[0] ?? ""),
  );
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}

/** A and B of every adapted layer. */
export const lowRank = (base: Base, rank: number): number =>
  sum(adapted(base).map((site) => rank * (site.in + site.out)));
