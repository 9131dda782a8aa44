/**
 * @file The adapter that training arrived at, where a method's rule has made another one of it, such as one of fewer
 * ranks. Knows no method.
 */
import type { Base } from "../base/base.ts";
import { entryValues } from "../methods/layout.ts";
import { ruleStateLayout, tensorOf } from "../methods/update-rules.ts";
import { bindAdapter, withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { methodTable } from "./method-table.ts";
import type { MethodConfigurations, MethodEntry, MethodType } from "./method-table.ts";

/**
 * The adapters to keep after training together; the given ones where nothing about them has changed but their values.
 * @param state of the methods' rules after the last update.
 */
export function settleAdapters(
  adapters: readonly Adapter[],
  base: Pick<Base, "modules">,
  state: Float32Array,
): Adapter[] {
  const layout = ruleStateLayout(adapters);
  return adapters.map((adapter) =>
    settleAdapter<MethodType>(adapter, base, tensorOf(state, layout, adapter.name)),
  );
}

function settleAdapter<Type extends MethodType>(
  adapter: Adapter<Type>,
  base: Pick<Base, "modules">,
  state: (key: string) => Float32Array,
): Adapter<Type> {
  const { name, methodType: type, extraConfiguration, layout } = adapter;
  const { method }: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  const settled = method.settle?.(adapter.configuration, {
    keys: layout.entries.map(({ key }) => key),
    parameter: tensorOf(adapter.values, layout, name),
    state,
  });
  if (settled === undefined) return adapter;
  const { configuration } = settled;
  const bound = bindAdapter<Type>(base, { name, type, configuration, extraConfiguration });
  const values = new Float32Array(bound.layout.size);
  for (const entry of bound.layout.entries) entryValues(values, entry).set(settled.parameter(entry.key));
  return withValues(bound, values);
}
