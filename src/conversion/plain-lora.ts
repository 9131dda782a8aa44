/**
 * @file A LoRA as every format has it: two matrices and a scale for each module, in PEFT's orientation. From it come
 * PEFT's fields and names. Knows no format but PEFT's.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { modulePrefix } from "../adapters/adapter-format.ts";
import type { AdapterSource } from "../adapters/folder.ts";
import { taskTypes } from "../adapters/transformers-names.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { entryValues } from "../methods/layout.ts";
import { loraScale } from "../methods/lora.ts";
import { valuesSource } from "./named-values.ts";
import type { NamedValues } from "./named-values.ts";

/** One adapted module: y = W x + scale B A x. */
export interface LoraModule {
  /** Module path. */
  readonly path: string;
  /** [rank, in]; of an embedding [rank, tokens]. */
  readonly a: NamedValues;
  /** [out, rank]; of an embedding [size, rank]. */
  readonly b: NamedValues;
  readonly scale: number;
  /** Row lengths [out] of a DoRA. */
  readonly magnitude?: NamedValues | undefined;
}

export interface PlainLora {
  readonly modules: readonly LoraModule[];
  /** Biases of adapted modules that were trained, by module path. */
  readonly biases?: ReadonlyMap<string, NamedValues> | undefined;
  /** Parameters of the base that were trained whole, such as a classifier's, by their names. */
  readonly saved?: ReadonlyMap<string, NamedValues> | undefined;
}

const rankOf = ({ a }: LoraModule): number => a.shape[0] ?? 0;

/**
 * A LoRA as PEFT would have written it. Ranks and scales that most modules share become the fields, others patterns.
 * @param path The file it comes from, for error messages.
 */
export function peftLora({ modules, biases, saved }: PlainLora, base: Base, path: string): AdapterSource {
  const where = quote(path);
  checkModules(modules, base, where);
  const magnitudes = modules.filter(({ magnitude }) => magnitude !== undefined).length;
  if (magnitudes > 0 && magnitudes < modules.length)
    throw new DeltafitError(
      "method-unsupported",
      `${where}: ${magnitudes} of ${modules.length} modules have a magnitude; expected all (DoRA) or none.`,
    );
  const rank = mostFrequent(modules.map(rankOf));
  const alpha = mostFrequent(modules.map((module) => rankOf(module) * module.scale));
  const tensors = new Map(modules.flatMap((module) => moduleTensors(module, base)));
  for (const [module, values] of biases ?? [])
    tensors.set(`${modulePrefix}${module}.base_layer.bias`, values);
  for (const [name, values] of saved ?? []) tensors.set(modulePrefix + name, values);
  const configuration = {
    peft_type: "LORA",
    task_type: taskTypes[base.settings.task],
    target_modules: shortestNames(
      modules.map((module) => module.path),
      base,
    ),
    r: rank,
    lora_alpha: alpha,
    rank_pattern: pattern(modules, rankOf, rank),
    alpha_pattern: pattern(modules, (module) => rankOf(module) * module.scale, alpha),
    use_dora: magnitudes > 0,
    bias: biases !== undefined && biases.size > 0 ? "lora_only" : "none",
    modules_to_save: savedModules(saved, base),
  };
  return { folder: path, configuration, where, weights: valuesSource(path, tensors) };
}

function checkModules(modules: readonly LoraModule[], base: Base, where: string): void {
  if (modules.length === 0)
    throw new DeltafitError(
      "adapter-mismatch",
      `${where} adapts no module.`,
      "Check that it is a LoRA adapter.",
    );
  const { linears, embeddings } = base.modules;
  const unknown = modules.find(({ path }) => !linears.has(path) && !embeddings.has(path));
  if (unknown === undefined) return;
  throw new DeltafitError(
    "adapter-mismatch",
    `${where} adapts the module ${quote(unknown.path)}, which the base ${quote(base.name)} does not have.`,
    "Open the base the adapter was trained on, for the same task.",
  );
}

function moduleTensors({ path, a, b, magnitude }: LoraModule, base: Base): [string, NamedValues][] {
  const prefix = `${modulePrefix}${path}.`;
  if (base.modules.embeddings.has(path))
    return [
      [`${prefix}lora_embedding_A`, a],
      [`${prefix}lora_embedding_B`, b],
    ];
  const tensors: [string, NamedValues][] = [
    [`${prefix}lora_A.weight`, a],
    [`${prefix}lora_B.weight`, b],
  ];
  return magnitude === undefined ? tensors : [...tensors, [`${prefix}lora_magnitude_vector`, magnitude]];
}

function mostFrequent(numbers: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const number of numbers) counts.set(number, (counts.get(number) ?? 0) + 1);
  const [best = 0] = [...counts].sort(([, left], [, right]) => right - left)[0] ?? [];
  return best;
}

/** Values of modules that differ from the common one, by paths in which dots mean themselves. */
function pattern(
  modules: readonly LoraModule[],
  valueOf: (module: LoraModule) => number,
  common: number,
): Record<string, number> {
  return Object.fromEntries(
    modules.flatMap((module) => {
      const value = valueOf(module);
      return value === common ? [] : [[module.path.replaceAll(".", String.raw`\.`), value]];
    }),
  );
}

/** Last names of the modules where these name no others, otherwise their paths. */
function shortestNames(paths: readonly string[], { modules }: Base): string[] {
  const adapted = new Set(paths);
  const lastNames = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))];
  const hit = [...modules.linears.keys(), ...modules.embeddings.keys()].filter((path) =>
    lastNames.some((name) => path === name || path.endsWith(`.${name}`)),
  );
  return hit.every((path) => adapted.has(path)) ? lastNames.sort() : [...adapted].sort();
}

function savedModules(
  saved: ReadonlyMap<string, NamedValues> | undefined,
  { modules }: Base,
): string[] | null {
  const names = [...(saved?.keys() ?? [])].map(
    (name) => modules.headModules.find((head) => name.startsWith(`${head}.`)) ?? name.replace(/\.[^.]+$/, ""),
  );
  return names.length === 0 ? null : [...new Set(names)];
}

/**
 * The modules of a LoRA for a format that has nothing but modules.
 * @throws DeltafitError `method-unsupported` for other methods, and for what a LoRA may train besides.
 */
export function modulesOfLora(adapter: Adapter, format: string): LoraModule[] {
  if (adapter.methodType !== "LORA")
    throw new DeltafitError(
      "method-unsupported",
      `${format} holds LoRA; the adapter's method is ${adapter.methodType}.`,
      "Convert an adapter of another method to a LoRA first, or merge it.",
    );
  if (adapter.method.condensed !== undefined)
    throw new DeltafitError(
      "method-unsupported",
      `${format} holds the matrices of a plain LoRA; the adapter's values are not yet those.`,
      "Save it, and convert what loading gives.",
    );
  const { configuration, layout, values } = adapter;
  const modules = new Map<string, Map<string, NamedValues>>();
  const others: string[] = [];
  for (const entry of layout.entries) {
    const [, path, part] =
      /^(.*)\.(lora_A\.weight|lora_B\.weight|lora_embedding_A|lora_embedding_B|lora_magnitude_vector(?:\.weight)?)$/.exec(
        entry.key,
      ) ?? [];
    if (path === undefined || part === undefined) {
      others.push(entry.key);
      continue;
    }
    const parts = modules.get(path) ?? new Map<string, NamedValues>();
    parts.set(part.replace("embedding_", "").replace(".weight", ""), {
      shape: entry.shape,
      values: entryValues(values, entry).slice(),
    });
    modules.set(path, parts);
  }
  if (others.length > 0)
    throw new DeltafitError(
      "method-unsupported",
      `${format} holds matrices of LoRA alone; the adapter also trains ${others.slice(0, 3).map(quote).join(", ")}${others.length > 3 ? " and others" : ""}.`,
      "Merge it into the base instead.",
    );
  return [...modules].map(([path, parts]) => {
    const [a, b] = [parts.get("lora_A"), parts.get("lora_B")];
    if (!a || !b) throw new DeltafitError("internal", `${path} has no pair of matrices.`);
    return {
      path,
      a,
      b,
      scale: loraScale(configuration, path).factor,
      magnitude: parts.get("lora_magnitude_vector"),
    };
  });
}
