/**
 * @file An adapter: a method fitted to a base, with the values of its parameters. Knows no files.
 */
import type { Base } from "../base/base.ts";
import { startOf, withBaseChanges } from "../base/changed-base.ts";
import { keyedGenerator } from "../base/initial-values.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { entryValues, findEntry, layOut } from "../methods/layout.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { insideModule } from "../methods/targets.ts";
import { methodTable } from "./method-table.ts";
import type { MethodConfigurations, MethodEntry, MethodType } from "./method-table.ts";
import { moduleOf } from "./peft-fields.ts";
import { headsOfTaskType, taskTypes } from "./transformers-names.ts";

interface AdapterOf<Type extends MethodType> {
  /** What a run with several adapters calls it; PEFT's own default is "default". */
  readonly name: string;
  /** `peft_type` of the method. */
  readonly methodType: Type;
  readonly configuration: MethodConfigurations[Type];
  readonly method: BoundMethod;
  /** Where each of the method's parameters lies in `values`. */
  readonly layout: ParameterLayout;
  /** All parameters, one after the other. */
  readonly values: Float32Array;
  /** Fields of its adapter_config.json that deltafit has no use for, written back as they were. */
  readonly extraConfiguration: Readonly<Record<string, unknown>>;
}

/** An adapter of one of the methods; `methodType` tells which, and with it the type of the configuration. */
export type Adapter<Type extends MethodType = MethodType> = { readonly [K in Type]: AdapterOf<K> }[Type];

/** What an adapter must know of a base: also a module of the user's own has it. */
export type AdaptableBase = Pick<
  Base,
  "modules" | "read" | "readRounded" | "locate" | "newParameters" | "settings"
>;

export interface CreateAdapterOptions<Type extends MethodType> {
  readonly base: AdaptableBase;
  readonly type: Type;
  readonly configuration: MethodConfigurations[Type];
  /** Of the initial values. Each parameter's depend on it and on the parameter's own key. */
  readonly seed: number;
  readonly name?: string | undefined;
  /** Whether the task's head, and what the checkpoint lacks, is trained with it: of several adapters by one. Default true. */
  readonly trainsHead?: boolean | undefined;
}

/**
 * A new adapter with its initial values. The head of a classifier, and parameters that the checkpoint lacks, are
 * trained with it.
 * @throws DeltafitError `target-unmatched`, `config-invalid` or `method-unsupported`.
 */
export function createAdapter<Type extends MethodType>(options: CreateAdapterOptions<Type>): Adapter<Type> {
  const { base, seed } = options;
  const adapter = bindNewAdapter(options);
  const values = new Float32Array(adapter.layout.size);
  const changed = withBaseChanges(base, [adapter]);
  for (const [index, { key, initial }] of adapter.method.parameters.entries()) {
    const entryOfLayout = adapter.layout.entries[index];
    if (entryOfLayout)
      entryValues(values, entryOfLayout).set(
        initial({
          random: keyedGenerator(seed, key),
          // What is trained itself starts from the checkpoint's own values.
          base: (parameter) => (parameter === key ? changed.read(parameter) : changed.readRounded(parameter)),
          earlier: (other) => entryValues(values, findEntry(adapter.layout, adapter.name, other)),
          fromChange: () => startOf(base, adapter.method, key),
        }),
      );
  }
  return withValues(adapter, values);
}

/**
 * A new adapter fitted to a base's shapes, without values: what is trained follows from it.
 * @throws DeltafitError as `createAdapter`.
 */
export function bindNewAdapter<Type extends MethodType>({
  base,
  type,
  configuration,
  name = "default",
  trainsHead = true,
}: Omit<CreateAdapterOptions<Type>, "seed" | "base"> & {
  readonly base: Pick<AdaptableBase, "modules" | "newParameters" | "settings">;
}): BoundAdapter<Type> {
  const entry: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  const whole = entry.withSavedModules(configuration, trainsHead ? trainedWithAdapter(base) : []);
  const bound = bindAdapter<Type>(base, { name, type, configuration: whole, extraConfiguration: {} });
  entry.method.checkNew?.(whole, base.modules);
  return bound;
}

/** An adapter without its values. */
export type BoundAdapter<Type extends MethodType> = Omit<AdapterOf<Type>, "values">;

/** Fits a method to a base; allocates nothing. */
export function bindAdapter<Type extends MethodType>(
  base: Pick<Base, "modules">,
  given: {
    readonly name: string;
    readonly type: Type;
    readonly configuration: MethodConfigurations[Type];
    readonly extraConfiguration: Readonly<Record<string, unknown>>;
  },
): BoundAdapter<Type> {
  const { name, type, configuration, extraConfiguration } = given;
  const entry: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  const method = entry.method.bind(configuration, base.modules);
  const layout = layOut(method.parameters.map((spec) => ({ adapter: name, spec })));
  return { name, methodType: type, configuration, method, layout, extraConfiguration };
}

/** The same adapter with other values, such as those after training. */
export function withValues<Type extends MethodType>(
  adapter: BoundAdapter<Type>,
  values: Float32Array,
): Adapter<Type> {
  return { ...adapter, values };
}

/**
 * Modules that must be trained whole: of the task's head what PEFT trains, because no pretrained model brings it, and
 * whatever starts random because the checkpoint lacks it.
 */
function trainedWithAdapter(base: Pick<AdaptableBase, "modules" | "newParameters" | "settings">): string[] {
  const ofTask = headsOfTaskType[taskTypes[base.settings.task] ?? ""] ?? [];
  const head = base.modules.headModules.filter((module) => ofTask.includes(module));
  const others = base.newParameters.filter((parameter) => !insideModule(head, parameter)).map(moduleOf);
  return [...head, ...new Set(others)];
}
