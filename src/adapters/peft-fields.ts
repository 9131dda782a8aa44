/**
 * @file Parts that the `adapter_config.json` of several PEFT methods have in common: target modules, layers,
 * saved modules, and fields that must be off. Knows no method.
 */
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { matchTargets, namesModule, pathsOf, savedWith } from "../methods/targets.ts";
import type { ModuleKind, ModuleNames, TargetSettings } from "../methods/targets.ts";
import type { ModuleTable } from "../methods/contract.ts";
import type { BiasTraining } from "../methods/saved-modules.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { FormatContext } from "./adapter-format.ts";
import { defaultTargetsOf } from "./default-targets.ts";

/** Far above what any model has modules. */
const maximumNames = 2 ** 16;
/** From this number of targets on PEFT shortens full paths to suffixes. */
const minimumShortened = 20;

export const nameListSchema = z.array(z.string()).max(maximumNames);
export const namesSchema = z.union([z.string(), nameListSchema]);

/** Ids of tokens. */
export const tokenListSchema = z.array(z.int().nonnegative()).max(maximumNames);

/** Values of single modules by patterns over the ends of their paths. */
export const patternSchema = <Value extends z.ZodType>(value: Value) => z.record(z.string(), value).nullish();

/** Fields about which modules are meant. */
export const targetFields = {
  target_modules: namesSchema.nullish(),
  exclude_modules: namesSchema.nullish(),
  layers_to_transform: z
    .union([z.int().nonnegative(), z.array(z.int().nonnegative()).max(maximumNames)])
    .nullish(),
  layers_pattern: namesSchema.nullish(),
  modules_to_save: nameListSchema.nullish(),
};

type TargetFields = z.output<z.ZodObject<typeof targetFields>>;

/** PEFT's defaults of {@link targetFields}. */
export const targetFieldDefaults = {
  target_modules: null,
  exclude_modules: null,
  layers_to_transform: null,
  layers_pattern: null,
  modules_to_save: null,
};

function listOf<Item>(value: Item | readonly Item[] | null | undefined): readonly Item[] | undefined {
  if (value === null || value === undefined) return undefined;
  const list = Array.isArray(value) ? (value as readonly Item[]) : [value as Item];
  return list.length === 0 ? undefined : list;
}

/**
 * The targets of a file; PEFT's default where it names none.
 * @throws DeltafitError `target-unmatched`.
 */
export function targetsFromPeft(
  fields: TargetFields,
  defaults: Readonly<Record<string, ModuleNames>>,
  { modules, modelType }: FormatContext,
  kinds: readonly ModuleKind[],
): TargetSettings {
  return {
    targets: existingTargets(
      fields.target_modules ?? defaultTargetsOf(defaults, modelType),
      pathsOf(modules, kinds),
    ),
    exclude: fields.exclude_modules ?? undefined,
    layersToTransform: listOf(fields.layers_to_transform),
    layersPattern: listOf(fields.layers_pattern),
    modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
  };
}

/**
 * Lists may name modules of several architectures: PEFT takes those that exist. Which are adapted then shows in the
 * tensors of the file, and these are checked. A list of which nothing exists stays as it is, for the error to name.
 */
function existingTargets(targets: ModuleNames, paths: readonly string[]): ModuleNames {
  if (typeof targets === "string") return targets;
  const existing = targets.filter((name) => paths.some((path) => namesModule([name], path)));
  return existing.length > 0 ? existing : targets;
}

/** PEFT names the heads of all architectures at once; those that a model lacks mean nothing to it. */
const optionalModules: readonly string[] = ["classifier", "score", "qa_outputs"];

/** The saved modules of a file that a model has. Names that are not a head's stay, for an error to name. */
export function existingModules(names: readonly string[], modules: ModuleTable): readonly string[] {
  const exists = (name: string) =>
    [...modules.parameters.keys()].some((parameter) => savedWith([name], parameter));
  return names.filter((name) => !optionalModules.includes(name) || exists(name));
}

/**
 * The fields of a file that say which modules are meant.
 * @param defaults of the method's class: fields that it lacks are left out.
 */
export function targetsToPeft(
  settings: TargetSettings,
  modules: ModuleTable,
  adapted: readonly string[],
  defaults: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { targets, exclude, layersToTransform, layersPattern, modulesToSave = [] } = settings;
  const everyLinear = typeof targets === "string" && targets.toLowerCase() === "all-linear";
  const fields = {
    target_modules: everyLinear
      ? shortened(adapted, modules)
      : typeof targets === "string"
        ? targets
        : [...targets],
    exclude_modules: exclude ?? null,
    layers_to_transform: layersToTransform ?? null,
    layers_pattern: layersPattern ?? null,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
  };
  return Object.fromEntries(Object.entries(fields).filter(([name]) => Object.hasOwn(defaults, name)));
}

/** Whether all adapted linear layers keep their matrix as [in, out], which PEFT calls fan_in_fan_out. */
export function fanInFanOut(adapted: readonly string[], modules: ModuleTable): boolean {
  const linears = adapted.flatMap((path) => modules.linears.get(path) ?? []);
  return linears.length > 0 && linears.every(({ layout }) => layout === "in-out");
}

/** Names in a file where PEFT wraps the adapted layers: their own biases stay in what is wrapped. */
export function wrappedNames(settings: TargetSettings, modules: ModuleTable, kinds: readonly ModuleKind[]) {
  const biases = new Set(matchTargets(settings, modules, kinds).map((path) => `${path}.bias`));
  const saved = settings.modulesToSave ?? [];
  return (key: string): string => {
    const wrapped = biases.has(key) && !savedWith(saved, key);
    return modulePrefix + (wrapped ? `${key.slice(0, -"bias".length)}base_layer.bias` : key);
  };
}

/** PEFT's names of the ways in which biases are trained; the third is the method's own ("lora_only"). */
export function biasNames(own: string) {
  return {
    schema: z.enum(["none", "all", own]).default("none"),
    fromPeft: (name: string): BiasTraining => (name === "none" || name === "all" ? name : "adapted"),
    toPeft: (bias: BiasTraining): string => (bias === "adapted" ? own : bias),
  };
}

/** Full paths, or for long lists their last segments where these mean the same modules. */
function shortened(paths: readonly string[], modules: ModuleTable): string[] {
  if (paths.length < minimumShortened) return [...paths];
  const suffixes = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))].sort();
  const meant = new Set(paths);
  const others = [...modules.parameters.keys()].map(moduleOf).filter((path) => !meant.has(path));
  return others.some((path) => namesModule(suffixes, path)) ? [...paths] : suffixes;
}

/** The module path of a parameter's name. */
export function moduleOf(parameter: string): string {
  return parameter.slice(0, Math.max(0, parameter.lastIndexOf(".")));
}

/**
 * Refuses fields that are set and would change what the adapter computes.
 * @param off The value of each field that means "not used"; null and an empty object always do.
 * @throws DeltafitError `method-unsupported` naming the field.
 */
export function refuseFields(
  fields: Readonly<Record<string, unknown>>,
  off: Readonly<Record<string, unknown>>,
  where: string,
): void {
  for (const [name, unused] of Object.entries(off)) {
    const value = fields[name];
    const isOff =
      value === undefined ||
      value === null ||
      isDeepStrictEqual(value, unused) ||
      isDeepStrictEqual(value, {});
    if (isOff) continue;
    throw new DeltafitError(
      "method-unsupported",
      `${where}: ${name} is ${shown(value)}, which deltafit does not implement.`,
      "The adapter would compute something else without it, so it is not loaded.",
    );
  }
}

/** A value of a JSON file as it is written, of bounded length. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}
