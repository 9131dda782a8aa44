/**
 * @file Which modules a method adapts, by PEFT's rules: names by suffix, regular expressions, `all-linear`,
 * exclusions, layer numbers, and patterns for single modules.
 */
import { DeltafitError } from "../errors.ts";
import type { ModuleTable } from "./contract.ts";
import { slicesOf } from "./slices.ts";
import type { LayerSlice } from "./slices.ts";

/** Names (a module is meant by its whole path or its end), or one regular expression over whole paths. */
export type ModuleNames = readonly string[] | string;

export interface TargetSettings {
  /** Names, a regular expression, or "all-linear". */
  readonly targets: ModuleNames;
  readonly exclude?: ModuleNames | undefined;
  readonly layersToTransform?: readonly number[] | undefined;
  /** Names of the module lists that hold the layers; by default any name before a number. */
  readonly layersPattern?: readonly string[] | undefined;
  /** Modules that are trained whole and never adapted. */
  readonly modulesToSave?: readonly string[] | undefined;
}

/** The regular expression of a configuration, which must match the whole path. */
function wholePath(pattern: string): RegExp {
  try {
    return new RegExp(`^(?:${pattern})$`);
  } catch {
    throw new DeltafitError(
      "config-invalid",
      `The module pattern ${JSON.stringify(pattern)} is not a regular expression.`,
      "Give a list of module names, or a regular expression over whole module paths.",
    );
  }
}

/** Whether names or a pattern mean the module at a path. */
export function namesModule(names: ModuleNames, path: string): boolean {
  if (typeof names === "string") return wholePath(names).test(path);
  return names.some((name) => path === name || path.endsWith(`.${name}`));
}

/** Whether a path lies in a module of the list: PEFT's `(^|.*\.)name($|\..*)`. */
export function insideModule(names: readonly string[], path: string): boolean {
  return names.some((name) => `.${path}.`.includes(`.${name}.`));
}

/**
 * Whether a parameter lies in a module that PEFT trains whole for a list: a module whose path ends with an entry, in
 * the middle of a name too. DistilBERT's "pre_classifier" is trained with "classifier" for that reason.
 */
export function savedWith(names: readonly string[], parameter: string): boolean {
  return names.some((name) => `${parameter}.`.includes(`${name}.`));
}

/** The number of the layer a path is in: the first number after a name of the pattern, or after any name. */
function layerNumber(path: string, layersPattern: readonly string[] | undefined): number | undefined {
  const patterns = layersPattern?.length ? layersPattern : ["[^.]+"];
  for (const pattern of patterns) {
    const found = new RegExp(`(?:^|.*?\\.)${pattern}\\.(\\d+)\\.`).exec(path);
    if (found?.[1] !== undefined) return Number(found[1]);
  }
  return undefined;
}

/** The value of the first pattern that fits the end of a path; `rank_pattern` and `alpha_pattern` work this way. */
export function patternValue(
  patterns: Readonly<Record<string, number>> | undefined,
  path: string,
): number | undefined {
  for (const [pattern, value] of Object.entries(patterns ?? {}))
    if (wholePath(`(?:.*\\.)?(?:${pattern})`).test(path)) return value;
  return undefined;
}

/**
 * What a method can adapt: modules of some tables, and slices of fused linear layers, whose paths are the layer's with
 * the slice's name behind it.
 */
export type ModuleKind = "linears" | "embeddings" | "norms" | "slices";

/** Paths of all modules of some kinds. */
export function pathsOf(modules: ModuleTable, kinds: readonly ModuleKind[]): string[] {
  return kinds.flatMap((kind) =>
    kind === "slices" ? [...slicesOf(modules).keys()] : [...modules[kind].keys()],
  );
}

/**
 * Paths of the adapted modules, kind by kind in the order of the forward pass.
 * @param kinds what the method can adapt.
 * @throws DeltafitError `target-unmatched` naming the nearest module names.
 */
export function matchTargets(
  settings: TargetSettings,
  modules: ModuleTable,
  kinds: readonly ModuleKind[],
): string[] {
  const { targets, exclude, layersToTransform, layersPattern, modulesToSave = [] } = settings;
  const everyLinear = typeof targets === "string" && targets.toLowerCase() === "all-linear";
  const paths = pathsOf(modules, kinds);
  const slices = slicesOf(modules);
  const means = (path: string) => {
    if (exclude !== undefined && exclude.length > 0 && namesModule(exclude, path)) return false;
    if (insideModule(modulesToSave, path)) return false;
    if (everyLinear) {
      const site = modules.linears.get(path);
      return site !== undefined && !site.isOutput;
    }
    if (!namesModule(targets, path)) return false;
    if (layersToTransform === undefined || typeof targets === "string") return true;
    const number = layerNumber(path, layersPattern);
    return number !== undefined && layersToTransform.includes(number);
  };
  const matched = paths.filter(means);
  for (const name of typeof targets === "string" ? [] : targets)
    if (!paths.some((path) => namesModule([name], path)))
      throw unmatchedSlice(name, slices, kinds) ?? unmatched(name, paths);
  if (matched.length === 0)
    throw unmatched(typeof targets === "string" ? targets : targets.join(", "), paths);
  return withoutPartsOfWholes(matched, slices, targets);
}

/** A pattern that fits a layer and its slices means the layer; a list that names both is contradictory. */
function withoutPartsOfWholes(
  matched: readonly string[],
  slices: ReadonlyMap<string, LayerSlice>,
  targets: ModuleNames,
): string[] {
  const meant = new Set(matched);
  const inside = (path: string) => meant.has(slices.get(path)?.layer.path ?? "");
  const contradiction = typeof targets === "string" ? undefined : matched.find(inside);
  if (contradiction !== undefined)
    throw new DeltafitError(
      "target-unmatched",
      `The targets name the layer "${slices.get(contradiction)?.layer.path ?? ""}" as a whole and its slice "${contradiction}".`,
      "Name the whole layer or slices of it.",
    );
  return matched.filter((path) => !inside(path));
}

/** For a name of a slice that is not there, or that the method cannot adapt. */
function unmatchedSlice(
  target: string,
  slices: ReadonlyMap<string, LayerSlice>,
  kinds: readonly ModuleKind[],
): DeltafitError | undefined {
  const whole = target.slice(0, Math.max(0, target.lastIndexOf(".")));
  const ofLayer = [...slices].filter(([, { layer }]) => whole !== "" && namesModule([whole], layer.path));
  if (ofLayer.length === 0) return undefined;
  const isThere = ofLayer.some(([path]) => namesModule([target], path));
  const names = [...new Set(ofLayer.map(([path]) => path.slice(path.lastIndexOf(".") + 1)))];
  return new DeltafitError(
    "target-unmatched",
    isThere && !kinds.includes("slices")
      ? `The target "${target}" is a slice of a layer, and the method adapts layers as a whole.`
      : `The target "${target}" matches no module of the model.`,
    isThere ? `Name "${whole}".` : `The slices of "${whole}" are ${names.join(", ")}.`,
  );
}

function unmatched(target: string, paths: readonly string[]): DeltafitError {
  const names = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))].sort();
  const nearest = nearestName(target, names);
  return new DeltafitError(
    "target-unmatched",
    `The target "${target}" matches no module of the model.`,
    `${nearest === undefined ? "" : `Did you mean "${nearest}"? `}The modules are ${names.join(", ")}.`,
  );
}

/** The name at the smallest edit distance, where that is less than half of the word. */
export function nearestName(word: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((name) => ({ name, distance: editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(2, word.length / 2) ? best.name : undefined;
}

/** Edits (insert, delete, replace, swap neighbours) between two words. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    const above = rows[i - 1] ?? [];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1]);
      let best = Math.min(replaced, (above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}
