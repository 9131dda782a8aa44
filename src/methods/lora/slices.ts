/**
 * @file LoRA on slices of a fused layer, each with an A and a B of its own (Hu et al. 2021, section 7.2, adapts the
 * query and the value of GPT-2's fused projection): one low-rank product for the whole layer, whose A is those of the
 * slices one below the other and whose B holds theirs as blocks, zero elsewhere. Such an adapter is kept as a plain LoRA
 * on the layer, which every reader of adapters understands.
 */
import { DeltafitError } from "../../errors.ts";
import type { Value } from "../../graph/graph.ts";
import type { MethodUse, ModuleTable, ParameterSpec } from "../contract.ts";
import type { LoraConfiguration } from "../lora.ts";
import type { LoraSite } from "../lora-site.ts";
import { matchTargets } from "../targets.ts";

/** The sites of one module: itself, or slices of it from the first to the last. */
export type ModuleSites = readonly [LoraSite, ...LoraSite[]];

/** Sites by the module whose matrix they adapt. */
export function byModule(sites: Iterable<LoraSite>): ReadonlyMap<string, ModuleSites> {
  const modules = new Map<string, ModuleSites>();
  for (const site of sites) {
    const others = modules.get(site.module);
    modules.set(site.module, others ? [...others, site] : [site]);
  }
  return modules;
}

type Use = Pick<MethodUse, "builder" | "parameter">;

/** A [sum of ranks, in] of a module. */
export function downOf({ builder, parameter }: Use, sites: ModuleSites): Value {
  return builder.concat(
    sites.map(({ a }) => parameter(a)),
    0,
  );
}

/** B [out, sum of ranks] of a module, for the factor of its first site. */
export function upOf({ builder, parameter }: Use, sites: ModuleSites): Value {
  const total = rankOf(sites);
  const { factor } = sites[0];
  let column = 0;
  const blocks = sites.map(({ b, rank, slice, out, factor: own }) => {
    const matrix = parameter(b);
    const scaled = own === factor ? matrix : builder.scale(matrix, own / factor);
    const wide = builder.pad(scaled, 1, column, total - column - rank);
    column += rank;
    return slice ? builder.pad(wide, 0, slice.start, slice.of - slice.start - out) : wide;
  });
  return blocks.reduce((sum, block) => builder.add(sum, block));
}

const rankOf = (sites: ModuleSites): number => sites.reduce((sum, { rank }) => sum + rank, 0);

/** @throws DeltafitError `method-unsupported` for what is of a layer as a whole. */
export function checkSlices(
  { magnitude, loraBias, initialWeights }: LoraConfiguration,
  sites: Iterable<LoraSite>,
): void {
  const slice = [...sites].find((site) => site.slice !== undefined);
  if (!slice) return;
  const refuse = (what: string, hint: string) => {
    throw new DeltafitError(
      "method-unsupported",
      `LoRA: "${slice.path}" is a slice of a layer: ${what}.`,
      hint,
    );
  };
  const whole = `Adapt "${slice.module}" as a whole, or leave it out.`;
  if (magnitude) refuse("magnitudes (DoRA) are of the whole layer's matrix", whole);
  if (loraBias) refuse("a bias of B is of the whole layer's outputs", whole);
  if (typeof initialWeights === "string" && initialWeights !== "gaussian")
    refuse(
      `"${initialWeights}" starts from the whole layer's matrix`,
      `Adapt "${slice.module}" as a whole, or start in the default or the gaussian way.`,
    );
}

/** The parameters of the plain LoRA on whole layers, given all that are trained or stay as they start. */
export function onWholeModules(
  modules: ReadonlyMap<string, ModuleSites>,
  parameters: readonly Pick<ParameterSpec, "key">[],
): (use: Use) => ReadonlyMap<string, Value> {
  return (use) => {
    const values = new Map(parameters.map(({ key }) => [key, use.parameter(key)]));
    for (const sites of modules.values()) {
      const [first] = sites;
      if (!first.slice) continue;
      for (const { a, b } of sites) [a, b].forEach((key) => values.delete(key));
      values.set(`${first.module}.lora_A.weight`, downOf(use, sites));
      values.set(`${first.module}.lora_B.weight`, upOf(use, sites));
    }
    return values;
  };
}

/** The configuration of the plain LoRA on whole layers that computes the same. */
export function wholeModules(
  configuration: LoraConfiguration,
  sites: ReadonlyMap<string, LoraSite>,
  modules: ModuleTable,
): LoraConfiguration {
  const grouped = byModule(sites.values());
  if (![...grouped.values()].some(([{ slice }]) => slice !== undefined)) return configuration;
  const scaleOf = (own: ModuleSites) => {
    const rank = rankOf(own);
    return { rank, alpha: own[0].factor * (configuration.rankStabilised ? Math.sqrt(rank) : rank) };
  };
  const scales = new Map([...grouped].map(([path, own]) => [path, scaleOf(own)]));
  const usual = [...scales.values()][0] ?? configuration;
  const others = [...scales].filter(([, { rank, alpha }]) => rank !== usual.rank || alpha !== usual.alpha);
  const pattern = (of: "rank" | "alpha") =>
    others.length === 0 ? undefined : Object.fromEntries(others.map(([path, scale]) => [path, scale[of]]));
  return {
    ...configuration,
    ...wholeTargets(configuration, sites, modules),
    rank: usual.rank,
    alpha: usual.alpha,
    rankPattern: pattern("rank"),
    alphaPattern: pattern("alpha"),
  };
}

type Targets = Pick<LoraConfiguration, "targets" | "exclude" | "layersToTransform" | "layersPattern">;

/** The names of the layers in place of their slices', or their paths where names mean others as well. */
function wholeTargets(
  configuration: LoraConfiguration,
  sites: ReadonlyMap<string, LoraSite>,
  modules: ModuleTable,
): Targets {
  const paths = [...byModule(sites.values()).keys()];
  const names = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))];
  const short = { ...configuration, targets: names, exclude: undefined };
  const meant = new Set(matchTargets(short, modules, ["embeddings", "linears"]));
  const { layersToTransform, layersPattern } = configuration;
  return meant.size === paths.length && paths.every((path) => meant.has(path))
    ? { targets: names, exclude: undefined, layersToTransform, layersPattern }
    : { targets: paths, exclude: undefined, layersToTransform: undefined, layersPattern: undefined };
}
