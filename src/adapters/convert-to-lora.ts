/**
 * @file Any adapter that can be merged as a plain LoRA: its change of every matrix by the largest singular values, as
 * PEFT's `convert_to_lora` does it (src/peft/tuners/lora/conversion.py, version 0.21), with the error of each module.
 * Knows no method but LoRA.
 */
import type { Base } from "../base/base.ts";
import { DeltafitError, internalError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { BaseParameter } from "../methods/contract.ts";
import { entryValues } from "../methods/layout.ts";
import { loraDefaults, loraSites } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { savedWith } from "../methods/targets.ts";
import { bindAdapter, withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { approximationError, factorise, transposed } from "./low-rank.ts";
import type { ApproximationError, Change, EnergyShare, LowRankFactors } from "./low-rank.ts";
import { forUnchangedBase } from "./condense.ts";
import { mergeAdapters } from "./merge.ts";
import { rankSettings } from "./module-ranks.ts";
import { moduleOf } from "./peft-fields.ts";

export interface ConvertToLoraOptions {
  readonly base: Base;
  readonly adapter: Adapter;
  /** Of every module; or the share, above 0 to 1, of each change's squared singular values that its rank has to hold. */
  readonly rank: number | EnergyShare;
}

/** One module of a converted adapter. */
export interface ConvertedModule extends ApproximationError {
  /** Its path. */
  readonly module: string;
  readonly rank: number;
}

export interface ConvertedLora {
  readonly adapter: Adapter<"LORA">;
  readonly modules: readonly ConvertedModule[];
}

/**
 * A LoRA adapter, of factor alpha / rank = 1, whose changes are the nearest of their rank to an adapter's. What a LoRA
 * does not approximate it takes over: modules trained whole, and biases of adapted layers.
 * @throws DeltafitError `method-unsupported` where the adapter cannot be merged, changes no matrix, or changes a tensor
 * that several modules share; `usage-invalid` for a rank above a matrix's own; `not-finite`.
 */
export async function convertToLora(given: ConvertToLoraOptions): Promise<ConvertedLora> {
  checkRank(given.rank);
  const options = { ...given, adapter: await forUnchangedBase(given.adapter, given.base) };
  const changed = await changedTensors(options);
  const factors = new Map<string, LowRankFactors>();
  const modules: ConvertedModule[] = [];
  for (const [path, change] of changed.matrices) {
    checkFits(path, change, options.rank);
    const own = factorise(change, options.rank);
    factors.set(path, own);
    modules.push({ module: path, rank: own.rank, ...approximationError(change, own) });
  }
  return { adapter: assemble(options, factors, changed.whole), modules };
}

interface ChangedTensors {
  /** Changes of matrices by the path of their module. */
  readonly matrices: ReadonlyMap<string, Change>;
  /** New values of other parameters by their names. */
  readonly whole: ReadonlyMap<string, Float32Array>;
}

async function changedTensors({ base, adapter }: ConvertToLoraOptions): Promise<ChangedTensors> {
  const { modules } = base;
  const whole = new Map(
    adapter.layout.entries
      .filter(({ key }) => isSavedWhole(adapter, base, key))
      .map((entry) => [entry.key, entryValues(adapter.values, entry)]),
  );
  const matrices = new Map<string, Change>();
  const merging = startMerging(base, adapter);
  try {
    for (const parameter of changedParameters(base, adapter)) {
      const { name } = parameter;
      if (whole.has(name)) continue;
      const path = moduleOf(name);
      const site = modules.linears.get(path) ?? modules.embeddings.get(path);
      if (site === undefined || name !== `${path}.weight`) {
        whole.set(name, await merging.merged(name));
        continue;
      }
      const change = await merging.change(parameter);
      const [rows = 0, columns = 0] = parameter.shape;
      const isTurned = !("layout" in site) || site.layout === "in-out";
      matrices.set(
        path,
        isTurned
          ? { values: transposed(change, rows, columns), out: columns, in: rows }
          : { values: change, out: rows, in: columns },
      );
    }
  } finally {
    await merging.dispose();
  }
  if (matrices.size === 0) throw unsupported(adapter, "it changes no matrix, which is what a LoRA does.");
  return { matrices, whole };
}

/** Whether the adapter replaces a parameter that its configuration says is trained whole, such as a head. */
function isSavedWhole({ configuration }: Adapter, { modules }: Base, key: string): boolean {
  const names = "modulesToSave" in configuration ? (configuration.modulesToSave ?? []) : [];
  return modules.parameters.has(key) && savedWith(names, key);
}

/** The parameters that merging changes, each with a tensor of its own. */
function changedParameters(base: Base, adapter: Adapter): BaseParameter[] {
  const { merge } = adapter.method;
  if ("impossible" in merge) return [];
  const all = [...base.modules.parameters.values()];
  return all.filter((parameter) => {
    const rules = merge.filter(
      ({ stored, only }) => stored === parameter.stored && (only === undefined || only === parameter.name),
    );
    if (rules.length === 0) return false;
    const sharing = all.filter(({ name, stored }) => stored === parameter.stored && name !== parameter.name);
    const [other] = sharing;
    if (other !== undefined && rules.some(({ only }) => only === undefined))
      throw unsupported(
        adapter,
        `it changes ${quote(parameter.stored)}, which ${quote(parameter.name)} and ${quote(other.name)} share, and a LoRA adapts one of them.`,
      );
    return true;
  });
}

interface Merging {
  /** The values of a parameter with the adapter merged. */
  readonly merged: (name: string) => Promise<Float32Array>;
  /** What merging adds to a parameter. */
  readonly change: (parameter: BaseParameter) => Promise<Float32Array>;
  readonly dispose: () => Promise<void>;
}

function startMerging(base: Base, adapter: Adapter): Merging {
  const scaled = (factor: number) =>
    mergeAdapters({ ...base, read: (name) => base.read(name).map((value) => factor * value) }, [adapter]);
  const [plain, doubled, zeroed] = [mergeAdapters(base, [adapter]), scaled(2), scaled(0)];
  const tensorOf = ({ name, stored }: BaseParameter): string => {
    const names = plain.tensors.map((tensor) => tensor.name);
    const own = [name, stored].find((candidate) => names.includes(candidate));
    if (own === undefined) throw internalError(`merging does not change ${name}.`);
    return own;
  };
  return {
    merged: (name) => plain.compute(name),
    async change(parameter) {
      const tensor = tensorOf(parameter);
      const [weight, once, twice] = [
        base.read(parameter.name),
        await plain.compute(tensor),
        await doubled.compute(tensor),
      ];
      // Of what is only added the sum's rounding need not be carried along: it is what is made of zeros.
      if (isAdded(weight, once, twice)) return zeroed.compute(tensor);
      return once.map((value, index) => value - (weight[index] ?? 0));
    },
    async dispose() {
      for (const merging of [plain, doubled, zeroed]) await merging.dispose();
    },
  };
}

/** Spacing of float32 numbers around one, with room for the roundings of a sum. */
const rounding = 4 * 2 ** -23;

/** Whether what is merged into W and into 2 W differs by W and rounding alone. */
function isAdded(weight: Float32Array, once: Float32Array, twice: Float32Array): boolean {
  return weight.every((value, index) => {
    const [first, second] = [once[index] ?? 0, twice[index] ?? 0];
    return (
      Math.abs(second - first - value) <= rounding * (Math.abs(first) + Math.abs(second) + Math.abs(value))
    );
  });
}

function assemble(
  { base, adapter }: ConvertToLoraOptions,
  factors: ReadonlyMap<string, LowRankFactors>,
  whole: ReadonlyMap<string, Float32Array>,
): Adapter<"LORA"> {
  const isBias = (name: string): boolean => name.endsWith(".bias") && factors.has(moduleOf(name));
  const names = [...whole.keys()];
  const saved = "modulesToSave" in adapter.configuration ? (adapter.configuration.modulesToSave ?? []) : [];
  const others = names.filter((name) => !isBias(name) && !savedWith(saved, name)).map(moduleOf);
  const modulesToSave = [...new Set([...saved, ...others])];
  const configuration: LoraConfiguration = {
    ...loraDefaults,
    ...rankSettings(new Map([...factors].map(([path, { rank }]) => [path, rank]))),
    targets: [...factors.keys()],
    bias: names.some(isBias) ? "adapted" : "none",
    modulesToSave: modulesToSave.length === 0 ? undefined : modulesToSave,
  };
  const { name } = adapter;
  const bound = bindAdapter(base, { name, type: "LORA", configuration, extraConfiguration: {} });
  const sites = loraSites(configuration, base.modules);
  const values = new Float32Array(bound.layout.size);
  const known = new Map(
    [...sites.values()].flatMap(({ path, a, b }) => {
      const own = factors.get(path);
      return own === undefined
        ? []
        : ([
            [a, own.a],
            [b, own.b],
          ] as const);
    }),
  );
  for (const entry of bound.layout.entries)
    entryValues(values, entry).set(known.get(entry.key) ?? whole.get(entry.key) ?? base.read(entry.key));
  return withValues<"LORA">(bound, values);
}

function checkRank(rank: ConvertToLoraOptions["rank"]): void {
  if (typeof rank === "number") {
    if (Number.isInteger(rank) && rank > 0) return;
    throw new DeltafitError(
      "usage-invalid",
      `Converting to LoRA: the rank is ${rank}; expected a whole number above 0.`,
    );
  }
  if (rank.energy > 0 && rank.energy <= 1) return;
  throw new DeltafitError(
    "usage-invalid",
    `Converting to LoRA: the energy is ${rank.energy}; expected a share above 0 and at most 1.`,
  );
}

function checkFits(path: string, { out, in: columns }: Change, rank: ConvertToLoraOptions["rank"]): void {
  const largest = Math.min(out, columns);
  if (typeof rank !== "number" || rank <= largest) return;
  throw new DeltafitError(
    "usage-invalid",
    `Converting to LoRA: the rank is ${rank}, but the matrix of ${quote(path)} is [${out}, ${columns}]; expected at most ${largest}.`,
    "Choose a lower rank, or the share of the energy that ranks have to hold.",
  );
}

function unsupported({ name, methodType }: Adapter, why: string): DeltafitError {
  return new DeltafitError(
    "method-unsupported",
    `The adapter ${quote(name)} (${methodType}) cannot be converted to a LoRA: ${why}`,
    "Use it as it is, or merge it into the base.",
  );
}
