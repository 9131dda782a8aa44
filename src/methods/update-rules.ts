/**
 * @file What methods do after each update, over the flat vectors of a training run: their state from update to update
 * is one vector, laid out like the parameters. Knows no method.
 */
import type { BoundMethod } from "./contract.ts";
import { entryValues, findEntry, layOut } from "./layout.ts";
import type { ParameterLayout } from "./layout.ts";

/** A trained adapter by its name in the layout. */
export interface RuledAdapter {
  readonly name: string;
  readonly method: Pick<BoundMethod, "afterUpdate">;
}

/** Where the methods' rules keep their state. Without a rule it is empty. */
export function ruleStateLayout(adapters: readonly RuledAdapter[]): ParameterLayout {
  return layOut(
    adapters.flatMap(({ name, method }) =>
      (method.afterUpdate?.state ?? []).map((spec) => ({ adapter: name, spec })),
    ),
  );
}

/** Looks up one tensor of an adapter in a flat vector, without a copy. */
export function tensorOf(
  vector: Float32Array,
  layout: ParameterLayout,
  adapter: string,
): (key: string) => Float32Array {
  return (key) => entryValues(vector, findEntry(layout, adapter, key));
}

/** The values with which a run starts: those given, changed where a rule wants it. */
export function startingValues(
  adapters: readonly RuledAdapter[],
  layout: ParameterLayout,
  parameters: Float32Array,
): Float32Array {
  if (!adapters.some(({ method }) => method.afterUpdate?.start)) return parameters;
  const values = parameters.slice();
  for (const { name, method } of adapters)
    method.afterUpdate?.start?.({ parameter: tensorOf(values, layout, name) });
  return values;
}

/** The vectors of one update. */
export interface UpdateVectors {
  /** Updates before this one. */
  readonly step: number;
  readonly layout: ParameterLayout;
  /** As the optimiser left them; rules change them in place. */
  readonly parameters: Float32Array;
  /** The gradient that the optimiser used. */
  readonly gradient: Float32Array;
  readonly stateLayout: ParameterLayout;
  /** Changed in place. */
  readonly state: Float32Array;
}

/** Applies the rules of all methods, in the order of the adapters. */
export function applyRules(adapters: readonly RuledAdapter[], vectors: UpdateVectors): void {
  const { step, layout, parameters, gradient, stateLayout, state } = vectors;
  for (const { name, method } of adapters)
    method.afterUpdate?.apply({
      step,
      parameter: tensorOf(parameters, layout, name),
      gradient: tensorOf(gradient, layout, name),
      state: tensorOf(state, stateLayout, name),
    });
}
