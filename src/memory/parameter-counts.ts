/** @file How many parameters a model has, and how many of them, and besides, a method trains. Counted from shapes. */
import type { BoundMethod, ModuleTable } from "../methods/contract.ts";
import { insideModule } from "../methods/targets.ts";
import { elementCount } from "../tensor/tensor.ts";

export interface ParameterCounts {
  /** Parameters of the base with its head; tied ones once. */
  readonly baseParameters: number;
  /** What the method trains without the task's head. */
  readonly trainableParameters: number;
  /** Parameters of the head's modules that are trained whole. */
  readonly headParameters: number;
  /** Of the base, and of what the method adds. */
  readonly totalParameters: number;
}

/** Counts from shapes alone. */
export function countParameters(
  modules: ModuleTable,
  method: Pick<BoundMethod, "parameters">,
): ParameterCounts {
  const stored = new Map(
    [...modules.parameters.values()].map((parameter) => [parameter.stored, elementCount(parameter.shape)]),
  );
  const baseParameters = [...stored.values()].reduce((sum, size) => sum + size, 0);
  const sizeOf = (keep: (key: string) => boolean) =>
    method.parameters.reduce((sum, { key, shape }) => sum + (keep(key) ? elementCount(shape) : 0), 0);
  const isOfBase = (key: string) => modules.parameters.has(key);
  const trained = new Set(method.parameters.map(({ key }) => key));
  const heads = modules.headModules.filter((head) =>
    [...modules.parameters.keys()].every((name) => !insideModule([head], name) || trained.has(name)),
  );
  const isOfHead = (key: string) => isOfBase(key) && insideModule(heads, key);
  return {
    baseParameters,
    trainableParameters: sizeOf((key) => !isOfHead(key)),
    headParameters: sizeOf(isOfHead),
    totalParameters: baseParameters + sizeOf((key) => !isOfBase(key)),
  };
}
