/**
 * @file Methods of the command line, from their flags to adapters. A setting that a method's configuration does not have
 * is refused when its flag is given.
 */
import { bindNewAdapter } from "../adapters/adapter.ts";
import type { Adapter, BoundAdapter } from "../adapters/adapter.ts";
import { createAdapterStack, headOwner } from "../adapters/create-stack.ts";
import type { StackedMethod } from "../adapters/create-stack.ts";
import type { MethodType } from "../adapters/method-table.ts";
import type { Base, BaseShape } from "../base/base.ts";
import { DeltafitError, internalError } from "../errors.ts";
import { kebab } from "./flags.ts";
import { methodRows } from "./method-rows.ts";
import type { MethodName, MethodRow, SettingName } from "./method-rows.ts";
import type { MethodValues } from "./method-values.ts";

export const methodNames = Object.keys(methodRows) as MethodName[];

/** What the command line calls a method. */
export function methodNameOf(type: MethodType): MethodName {
  const name = methodNames.find((each) => methodRows[each].type === type);
  if (name === undefined) throw internalError(`no method of the command line is called ${type}.`);
  return name;
}

/** The lowest of the methods' usual rates: what one of them learns fast with may be too much for another. */
export const defaultLearningRate = (methods: readonly MethodName[]): number =>
  Math.min(...methods.map((method) => methodRows[method].learningRate));

/**
 * Refuses the settings of new adapters where there are none.
 * @throws DeltafitError `usage-invalid`.
 */
export function refuseMethodSettings(values: MethodValues): void {
  const name = givenSettings(values)[0];
  if (name === undefined) return;
  throw new DeltafitError(
    "usage-invalid",
    `--${kebab(name)}: the adapter of --initial-adapter has settings of its own.`,
    "Leave it out.",
  );
}

/** The settings whose flags were given, whichever method has a use for them. */
const givenSettings = (values: MethodValues): SettingName[] =>
  [...new Set(Object.values(methodRows).flatMap((each): readonly SettingName[] => each.uses))].filter(
    (name) => values[name] !== undefined && values[name] !== false,
  );

function refuseUnused(methods: readonly MethodName[], values: MethodValues): void {
  const uses: readonly SettingName[] = methods.flatMap((method) => methodRows[method].uses);
  const whose = methods.length === 1 ? "the method" : "none of the methods";
  for (const name of givenSettings(values))
    if (!uses.includes(name))
      throw new DeltafitError(
        "usage-invalid",
        `--${kebab(name)}: ${whose} ${methods.join(", ")} has ${methods.length === 1 ? "no such" : "such a"} setting.`,
        "Leave it out.",
      );
}

/**
 * New adapters as the flags want them, the nearest to the base first. A method gets the flags it has a use for; modules
 * trained whole go to the one that the task's head goes to.
 * @param steps updates of the run, where there is one.
 * @param frozen Adapters under the new ones.
 * @throws DeltafitError `usage-invalid` for a flag that no method has a use for; what `createAdapterStack` throws.
 */
export function createAdaptersFromFlags(
  base: Base,
  methods: readonly MethodName[],
  values: MethodValues,
  seed: number,
  steps: number | undefined,
  frozen: readonly Adapter[] = [],
): Adapter[] {
  const isAlone = methods.length === 1 && frozen.length === 0;
  const configured = configure(methods, values, base.model.modelType, isAlone, steps);
  return createAdapterStack({ base, methods: configured, seed, frozen });
}

function configure(
  methods: readonly MethodName[],
  values: MethodValues,
  modelType: string,
  isAlone: boolean,
  steps?: number,
): StackedMethod[] {
  refuseUnused(methods, values);
  const owner = headOwner(methods.map((method) => methodRows[method].type));
  return methods.map((method, index) => {
    const modulesToSave = index === owner ? values.modulesToSave : undefined;
    const own = { ...values, modulesToSave, totalSteps: values.totalSteps ?? steps };
    return fromRow(methodRows[method], isAlone ? "default" : method, own, modelType);
  });
}

function fromRow<Type extends MethodType>(
  { type, configure: configuring }: MethodRow<Type>,
  name: string,
  values: MethodValues,
  modelType: string,
): StackedMethod<Type> {
  return { name, type, configuration: configuring(values, modelType) };
}

/** The methods fitted to a model's shapes, without values: for what follows from shapes alone. */
export function bindMethodsFromFlags(
  { modules, model, settings }: BaseShape,
  methods: readonly MethodName[],
  values: MethodValues,
): BoundAdapter<MethodType>[] {
  const base = { modules, settings, newParameters: [] };
  const owner = headOwner(methods.map((method) => methodRows[method].type));
  return configure(methods, values, model.modelType, false).map((method, index) =>
    bindNewAdapter<MethodType>({ ...method, base, trainsHead: index === owner }),
  );
}
