/**
 * @file An adapter as files keep it: where training uses more than its result needs, such as an encoder, only the
 * result stays. Knows no method.
 */
import type { Base } from "../base/base.ts";
import { internalError } from "../errors.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Value } from "../graph/graph.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { cpu } from "../runtime/cpu.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { bindAdapter, withValues } from "./adapter.ts";
import type { Adapter, BoundAdapter } from "./adapter.ts";
import { methodTable } from "./method-table.ts";
import type { MethodConfigurations, MethodEntry, MethodType } from "./method-table.ts";

/**
 * The adapter of which files keep every parameter, and which computes the same; the given one where that is so already.
 * @throws DeltafitError `runtime-failed`.
 */
export async function condenseAdapter(adapter: Adapter, base: Pick<Base, "modules">): Promise<Adapter> {
  const { condensed } = adapter.method;
  if (condensed === undefined) return adapter;
  const bound = bindCondensed<MethodType>(adapter, base);
  const builder = new GraphBuilder();
  const feeds = new Map<string, Tensor>();
  const parameter = (key: string): Value => {
    const entry = findEntry(adapter.layout, adapter.name, key);
    feeds.set(key, float32Tensor(entry.shape, entryValues(adapter.values, entry)));
    return builder.input(key, "float32", entry.shape);
  };
  const results = condensed({ builder, parameter });
  const graph = graphOf([...results].map(([name, value]) => ({ name, value })));
  const session = await cpu.createSession(graph, (weight) => {
    throw internalError(`condensing an adapter reads the weight ${weight}.`);
  });
  const values = new Float32Array(bound.layout.size);
  try {
    const outputs = await session.run(Object.fromEntries(feeds));
    for (const entry of bound.layout.entries) {
      const data = outputs[entry.key]?.data;
      if (!(data instanceof Float32Array))
        throw internalError(`condensing an adapter gives no ${entry.key}.`);
      entryValues(values, entry).set(data);
    }
  } finally {
    await session.dispose();
  }
  return withValues<MethodType>(bound, values);
}

function bindCondensed<Type extends MethodType>(
  adapter: Adapter<Type>,
  base: Pick<Base, "modules">,
): BoundAdapter<Type> {
  const { name, methodType: type, extraConfiguration } = adapter;
  const { method }: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  const configuration = method.condense?.(adapter.configuration) ?? adapter.configuration;
  return bindAdapter(base, { name, type, configuration, extraConfiguration });
}
