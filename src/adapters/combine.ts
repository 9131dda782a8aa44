/**
 * @file Arithmetic on LoRA adapters: a new one from several with weights, as PEFT's `add_weighted_adapter` makes it
 * (src/peft/tuners/lora/model.py, version 0.21). Every kind but `cat` and the `svd` ones works on A and B apart, each
 * weighted by sqrt(|weight * factor|) with the sign on A, so that products of different adapters appear.
 */
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { loraKinds, loraSites } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import type { LoraSite } from "../methods/lora-site.ts";
import { matchTargets } from "../methods/targets.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { bindAdapter, withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { checkCombination } from "./combination-check.ts";
import { clampFactors, factorise, productOf, transposed } from "./low-rank.ts";
import type { LowRankFactors } from "./low-rank.ts";
import { rankSettings } from "./module-ranks.ts";
import { combineTaskVectors } from "./task-vectors.ts";
import type { MajoritySignMethod, SparsifyMethod, TaskArithmetic } from "./task-vectors.ts";

/** What a kind of combination does, by PEFT's name for it. */
interface CombinationKind {
  /** On what: the two factors apart, the factors side by side, or the whole change. */
  readonly on: "factors" | "concatenation" | "change";
  readonly sparsify: SparsifyMethod;
  /** Whether the majority's sign is elected. */
  readonly elects: boolean;
}

const plain = { sparsify: "none", elects: false } as const;

export const combinationKinds = {
  svd: { on: "change", ...plain },
  linear: { on: "factors", ...plain },
  cat: { on: "concatenation", ...plain },
  ties: { on: "factors", sparsify: "magnitude", elects: true },
  ties_svd: { on: "change", sparsify: "magnitude", elects: true },
  dare_ties: { on: "factors", sparsify: "random", elects: true },
  dare_linear: { on: "factors", sparsify: "random", elects: false },
  dare_ties_svd: { on: "change", sparsify: "random", elects: true },
  dare_linear_svd: { on: "change", sparsify: "random", elects: false },
  magnitude_prune: { on: "factors", sparsify: "magnitude", elects: false },
  magnitude_prune_svd: { on: "change", sparsify: "magnitude", elects: false },
} as const satisfies Record<string, CombinationKind>;

/** PEFT's `combination_type`. */
export type CombinationType = keyof typeof combinationKinds;

export interface CombineOptions {
  readonly base: Base;
  /** LoRA adapters of the base, with the weight of each: also negative, which takes its change away. */
  readonly adapters: readonly { readonly adapter: Adapter; readonly weight: number }[];
  readonly combinationType: CombinationType;
  /** Share of the entries that pruning leaves, above 0 to 1: of the kinds that prune. */
  readonly density?: number | undefined;
  /** How `ties` kinds elect signs. Default "total". */
  readonly majoritySignMethod?: MajoritySignMethod | undefined;
  /** Rank of the result of the `svd` kinds. Default: the largest of the adapters'. */
  readonly svdRank?: number | undefined;
  /** Quantile at which the factors of the `svd` kinds are clamped. Default: none. */
  readonly svdClamp?: number | undefined;
  /** Of what the `dare` kinds draw: as torch draws it after `torch.manual_seed(seed)`. Default 0. */
  readonly seed?: number | undefined;
  /** Name of the new adapter. Default "default". */
  readonly name?: string | undefined;
}

type Lora = Adapter<"LORA">;

/** One adapter's part in a module. */
interface Part {
  readonly adapter: Lora;
  readonly site: LoraSite;
  readonly weight: number;
}

/**
 * A LoRA adapter that stands for several. Its factors are alpha / rank = 1: scales and weights are in its values. A
 * module trained whole comes along from the one adapter that has it.
 * @throws DeltafitError `method-unsupported` for other methods and for what A and B do not hold; `usage-invalid` for
 * settings that do not go together, and ranks that the kind cannot combine.
 */
export function combineAdapters(options: CombineOptions): Lora {
  const { base, name = "default" } = options;
  const kind: CombinationKind = combinationKinds[options.combinationType];
  const given = checkCombination(options, kind);
  const parts = partsBySite(given, base);
  const ranks = new Map([...parts].map(([path, own]) => [path, rankOf(own, options, kind)]));
  const configuration = combinedConfiguration(given, ranks, base);
  const { extraConfiguration } = given[0].adapter;
  const bound = bindAdapter(base, { name, type: "LORA", configuration, extraConfiguration });
  const arithmetic = arithmeticOf(
    options,
    kind,
    [...loraSites(configuration, base.modules).values()],
    given[0],
  );
  const values = new Float32Array(bound.layout.size);
  const put = (key: string, own: Float32Array) =>
    entryValues(values, findEntry(bound.layout, name, key)).set(own);
  for (const [path, own] of parts) {
    const [{ site }] = own;
    const { a, b } = combineParts(own, ranks.get(path) ?? site.rank, options, kind, arithmetic);
    put(site.a, a);
    put(site.b, b);
  }
  for (const { adapter } of given)
    for (const entry of adapter.layout.entries)
      if (base.modules.parameters.has(entry.key)) put(entry.key, entryValues(adapter.values, entry));
  return withValues<"LORA">(bound, values);
}

type AtLeastOne<Item> = readonly [Item, ...Item[]];

/** The adapters' parts by module path, in the order of the forward pass. */
function partsBySite(
  given: readonly { readonly adapter: Lora; readonly weight: number }[],
  { modules }: Base,
): ReadonlyMap<string, AtLeastOne<Part>> {
  const sites = given.map(({ adapter }) => loraSites(adapter.configuration, modules));
  const paths = [...modules.embeddings.keys(), ...modules.linears.keys()];
  return new Map(
    paths.flatMap((path) => {
      const [first, ...others] = given.flatMap(({ adapter, weight }, index): Part[] => {
        const site = sites[index]?.get(path);
        return site ? [{ adapter, site, weight }] : [];
      });
      return first === undefined ? [] : [[path, [first, ...others]] as const];
    }),
  );
}

function rankOf(
  parts: AtLeastOne<Part>,
  { combinationType, svdRank }: CombineOptions,
  kind: CombinationKind,
): number {
  const [{ site }] = parts;
  const ranks = parts.map((part) => part.site.rank);
  if (kind.on === "concatenation") return ranks.reduce((a, b) => a + b, 0);
  if (kind.on === "change") return Math.min(svdRank ?? Math.max(...ranks), site.in, site.out);
  if (new Set(ranks).size === 1) return site.rank;
  throw new DeltafitError(
    "usage-invalid",
    `Combining by ${combinationType} needs adapters of one rank, but at ${quote(site.path)} they have ${ranks.join(" and ")}.`,
    "Combine by cat or svd, which take any ranks.",
  );
}

/** The first adapter's settings for the modules of all of them. */
function combinedConfiguration(
  given: AtLeastOne<{ readonly adapter: Lora }>,
  ranks: ReadonlyMap<string, number>,
  { modules }: Base,
): LoraConfiguration {
  const configurations = given.map(({ adapter }) => adapter.configuration);
  const saved = [...new Set(configurations.flatMap(({ modulesToSave = [] }) => modulesToSave))];
  const common = {
    ...given[0].adapter.configuration,
    ...rankSettings(ranks),
    modulesToSave: saved.length === 0 ? undefined : saved,
  };
  const paths = [...ranks.keys()];
  const united = { ...common, targets: unitedTargets(configurations) ?? paths };
  const isExact = matchTargets(united, modules, loraKinds).toSorted().join() === paths.toSorted().join();
  return isExact
    ? united
    : {
        ...common,
        targets: paths,
        exclude: undefined,
        layersToTransform: undefined,
        layersPattern: undefined,
      };
}

/** Names of all adapters, or the one text that all have; `undefined` where they cannot be put together. */
function unitedTargets(
  configurations: readonly LoraConfiguration[],
): LoraConfiguration["targets"] | undefined {
  const names: string[] = [];
  for (const { targets } of configurations) {
    if (typeof targets === "string")
      return configurations.every((other) => other.targets === targets) ? targets : undefined;
    names.push(...targets);
  }
  return [...new Set(names)];
}

function arithmeticOf(
  { density = 1, majoritySignMethod = "total", seed = 0 }: CombineOptions,
  { sparsify, elects }: CombinationKind,
  sites: readonly LoraSite[],
  { adapter: { configuration } }: { readonly adapter: Lora },
): TaskArithmetic {
  const masks = new TorchGenerator(seed);
  if (sparsify === "random") drawInitialValues(masks, sites, configuration);
  return { sparsify, density, majoritySign: elects ? majoritySignMethod : undefined, masks };
}

/**
 * PEFT makes the new adapter before it combines: masks are drawn after its initial values, which nobody reads. A linear
 * layer's A and B are drawn by torch's constructor, and A once more by LoRA; an embedding's are normal, B drawn twice.
 */
function drawInitialValues(
  generator: TorchGenerator,
  sites: readonly LoraSite[],
  { initialWeights }: LoraConfiguration,
): void {
  for (const { kind, rank, in: from, out } of sites) {
    const [sizeOfA, sizeOfB] = [rank * from, out * rank];
    if (kind === "embedding") {
      generator.normal(sizeOfA);
      generator.normal(sizeOfB);
      if (initialWeights !== false) generator.normal(sizeOfB);
      continue;
    }
    generator.uniform(sizeOfA + sizeOfB);
    if (initialWeights === true) generator.uniform(sizeOfA);
    if (initialWeights === "gaussian") generator.normal(sizeOfA);
  }
}

function combineParts(
  parts: AtLeastOne<Part>,
  rank: number,
  { svdClamp }: CombineOptions,
  { on }: CombinationKind,
  arithmetic: TaskArithmetic,
): Omit<LowRankFactors, "rank"> {
  if (on === "concatenation") return concatenated(parts, rank);
  if (on === "factors") {
    const roots = parts.map(({ site, weight }) => Math.sqrt(Math.abs(weight * site.factor)));
    const signed = parts.map(({ weight }, index) => (weight < 0 ? -1 : 1) * (roots[index] ?? 0));
    const a = combineTaskVectors(parts.map(factorA), signed, arithmetic);
    return { a, b: combineTaskVectors(parts.map(factorB), roots, arithmetic) };
  }
  const [{ site }] = parts;
  // Masks are drawn and ties are broken in the order in which the base stores the matrix.
  const stored = parts.map((part) => {
    const change = productOf({ rank: part.site.rank, a: factorA(part), b: factorB(part) }, part.site.factor);
    return site.transposed ? transposed(change, site.out, site.in) : change;
  });
  const sum = combineTaskVectors(
    stored,
    parts.map(({ weight }) => weight),
    arithmetic,
  );
  const values = site.transposed ? transposed(sum, site.in, site.out) : sum;
  const factors = factorise({ values, out: site.out, in: site.in }, rank);
  return svdClamp === undefined ? factors : clampFactors(factors, svdClamp);
}

const valuesOf = ({ adapter }: Part, key: string): Float32Array =>
  entryValues(adapter.values, findEntry(adapter.layout, adapter.name, key));
const factorA = (part: Part): Float32Array => valuesOf(part, part.site.a);
const factorB = (part: Part): Float32Array => valuesOf(part, part.site.b);

/** A [rank, in] below each other, weighted; B [out, rank] beside each other. */
function concatenated(parts: AtLeastOne<Part>, rank: number): Omit<LowRankFactors, "rank"> {
  const [{ site }] = parts;
  const a = new Float32Array(rank * site.in);
  const b = new Float32Array(site.out * rank);
  let start = 0;
  for (const part of parts) {
    const { rank: own, factor } = part.site;
    const weight = Math.fround(part.weight);
    a.set(
      factorA(part).map((value) => Math.fround(value * weight) * factor),
      start * site.in,
    );
    const columns = factorB(part);
    for (let row = 0; row < site.out; row++)
      b.set(columns.subarray(row * own, (row + 1) * own), row * rank + start);
    start += own;
  }
  return { a, b };
}
