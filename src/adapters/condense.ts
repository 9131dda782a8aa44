/**
 * @file An adapter in other forms that compute the same. As files keep it: where training uses more than its result
 * needs, such as an encoder, only the result stays. And for the base as it is, where its method changes the base. Knows
 * no method.
 */
import type { Base } from "../base/base.ts";
import { startOf } from "../base/changed-base.ts";
import type { ChangeableBase } from "../base/changed-base.ts";
import { internalError } from "../errors.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Value } from "../graph/graph.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { cpu } from "../runtime/cpu.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { bindAdapter, withValues } from "./adapter.ts";
import type { Adapter, BoundAdapter } from "./adapter.ts";
import { methodTable } from "./method-table.ts";
import type { MethodConfigurations, MethodEntry, MethodType } from "./method-table.ts";
import { storedBytes } from "./stored-tensors.ts";

/**
 * The adapter of which files keep every parameter, and which computes the same; the given one where that is so already.
 * @throws DeltafitError `runtime-failed`.
 */
export async function condenseAdapter(adapter: Adapter, base: Pick<Base, "modules">): Promise<Adapter> {
  const { condensed } = adapter.method;
  if (condensed === undefined) return adapter;
  return computeAdapter(adapter, rebind<MethodType>(adapter, base, "condense"), condensed, []);
}

/**
 * The adapter that computes with the base as it is what the given one computes with the base as its method changes it:
 * of PiSSA and OLoRA, a plain LoRA of twice the rank. The given one where its method changes nothing, or where that cannot
 * be: what LoftQ puts in place is no LoRA away, nor is any matrix that the base keeps rounded.
 * @throws DeltafitError `runtime-failed`.
 */
export async function forUnchangedBase(adapter: Adapter, base: ChangeableBase): Promise<Adapter> {
  const { forUnchangedBase: convert, baseChanges = [] } = adapter.method;
  if (convert === undefined || keepsChanges(adapter, base)) return adapter;
  const starts = baseChanges.flatMap((change) =>
    change.starts.map(({ key, shape }) => ({ key, shape, values: () => startOf(base, adapter.method, key) })),
  );
  return computeAdapter(adapter, rebind<MethodType>(adapter, base, "forUnchangedBase"), convert, starts);
}

/** Whether a base keeps a matrix rounded that the adapter's method changes. */
export function keepsChanges(
  { method: { baseChanges = [] } }: Pick<BoundAdapter<MethodType>, "method">,
  base: Pick<ChangeableBase, "locate">,
): boolean {
  return baseChanges.some(({ stored }) => base.locate(stored).form !== undefined);
}

/**
 * Bytes of the tensors in the file that training writes of an adapter: in the form for the unchanged base, unless the base
 * keeps the changes, and condensed.
 */
export function writtenBytes(
  adapter: BoundAdapter<MethodType>,
  base: Pick<Base, "modules">,
  keeps: boolean,
): number {
  const plain =
    keeps || adapter.method.forUnchangedBase === undefined
      ? adapter
      : rebind<MethodType>(adapter, base, "forUnchangedBase");
  const condensed =
    plain.method.condensed === undefined ? plain : rebind<MethodType>(plain, base, "condense");
  return storedBytes<MethodType>(condensed, base);
}

/** A value of the graph besides the adapter's own. */
interface GivenValue {
  readonly key: string;
  readonly shape: readonly number[];
  readonly values: () => Float32Array;
}

/** What is wanted of a graph over the parameters of an adapter. */
type Computation = NonNullable<BoundMethod["forUnchangedBase"]>;

/** The values of another adapter, computed from those of one. */
async function computeAdapter(
  adapter: Adapter,
  bound: BoundAdapter<MethodType>,
  compute: Computation,
  starts: readonly GivenValue[],
): Promise<Adapter> {
  const builder = new GraphBuilder();
  const feeds = new Map<string, Tensor>();
  const inputs = new Map<string, Value>();
  const input = (name: string, shape: readonly number[], values: Float32Array): Value => {
    const known = inputs.get(name) ?? builder.input(name, "float32", shape);
    inputs.set(name, known);
    feeds.set(name, float32Tensor(shape, values));
    return known;
  };
  const parameter = (key: string): Value => {
    const constant = adapter.method.constants?.find((candidate) => candidate.key === key);
    if (constant) return input(`value of ${key}`, constant.shape, constant.values());
    const entry = findEntry(adapter.layout, adapter.name, key);
    return input(`value of ${key}`, entry.shape, entryValues(adapter.values, entry));
  };
  const start = (key: string): Value => {
    const given = starts.find((candidate) => candidate.key === key);
    if (given === undefined) throw internalError(`no change of the base gives ${key}.`);
    return input(`start of ${key}`, given.shape, given.values());
  };
  const results = compute({ builder, parameter, start });
  const graph = graphOf([...results].map(([name, value]) => ({ name, value })));
  const session = await cpu.createSession(graph, (weight) => {
    throw internalError(`converting an adapter reads the weight ${weight}.`);
  });
  const values = new Float32Array(bound.layout.size);
  try {
    const outputs = await session.run(Object.fromEntries(feeds));
    for (const entry of bound.layout.entries) {
      const data = outputs[entry.key]?.data;
      if (!(data instanceof Float32Array))
        throw internalError(`converting an adapter gives no ${entry.key}.`);
      entryValues(values, entry).set(data);
    }
  } finally {
    await session.dispose();
  }
  return withValues<MethodType>(bound, values);
}

/** The adapter's method fitted to the same base in another of its forms. */
function rebind<Type extends MethodType>(
  adapter: BoundAdapter<Type>,
  base: Pick<Base, "modules">,
  form: "condense" | "forUnchangedBase",
): BoundAdapter<Type> {
  const { name, methodType: type, extraConfiguration } = adapter;
  const { method }: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  const configuration = method[form]?.(adapter.configuration, base.modules) ?? adapter.configuration;
  return bindAdapter(base, { name, type, configuration, extraConfiguration });
}
