/**
 * @file New adapters that are trained together on one base. A task's head, and what the checkpoint lacks, belongs to one
 * of them: two copies of it would hide one another.
 */
import { findEntry, entryValues } from "../methods/layout.ts";
import type { AdaptableBase, Adapter, CreateAdapterOptions } from "./adapter.ts";
import { createAdapter } from "./adapter.ts";
import { trainsModules } from "./method-table.ts";
import type { MethodConfigurations, MethodType } from "./method-table.ts";

/** A method of a stack with its configuration. */
export type StackedMethod<Type extends MethodType = MethodType> = {
  readonly [K in Type]: {
    /** What the adapter, and its folder, is called. */
    readonly name: string;
    readonly type: K;
    readonly configuration: MethodConfigurations[K];
  };
}[Type];

export interface CreateAdapterStackOptions extends Pick<CreateAdapterOptions<MethodType>, "seed"> {
  readonly base: AdaptableBase;
  /** The nearest to the base first. */
  readonly methods: readonly StackedMethod[];
  /** Adapters that are active but not trained, under the new ones: what these replace starts from their values. */
  readonly frozen?: readonly Adapter[] | undefined;
}

/** Number of the method in a list that a task's head belongs to: the last that can train whole modules. */
export function headOwner(types: readonly MethodType[]): number {
  const last = types.findLastIndex(trainsModules);
  return last < 0 ? types.length - 1 : last;
}

/**
 * New adapters with their initial values, in the order given.
 * @throws DeltafitError as `createAdapter`.
 */
export function createAdapterStack({
  base,
  methods,
  seed,
  frozen = [],
}: CreateAdapterStackOptions): Adapter[] {
  const owner = headOwner(methods.map(({ type }) => type));
  const under = withReplaced(base, frozen);
  return methods.map((method, index) =>
    createAdapter<MethodType>({ ...method, base: under, seed, trainsHead: index === owner }),
  );
}

/** The base with parameters as adapters on it put them in place. */
function withReplaced(base: AdaptableBase, frozen: readonly Adapter[]): AdaptableBase {
  const replaced = (name: string): Float32Array | undefined => {
    const adapter = frozen.findLast(({ layout }) => layout.entries.some(({ key }) => key === name));
    return adapter && entryValues(adapter.values, findEntry(adapter.layout, adapter.name, name)).slice();
  };
  return {
    modules: base.modules,
    newParameters: base.newParameters,
    settings: base.settings,
    read: (name) => replaced(name) ?? base.read(name),
    readRounded: (name) => replaced(name) ?? base.readRounded(name),
    locate: (stored) => base.locate(stored),
  };
}
