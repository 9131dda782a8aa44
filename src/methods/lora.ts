/**
 * @file LoRA (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3): a frozen
 * matrix W gains a trained product of low rank, y = W x + s B A x with s = alpha / r, or alpha / sqrt(r)
 * (rsLoRA, Kalajdzievski 2023). A [r, in] starts random and B [out, r] at zero, so that training starts from
 * the base; merging adds s B A to W.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { EmbeddingSite, LinearSite } from "../models/forward.ts";
import type { LoraSite } from "./lora-site.ts";
import { baseChangesOf, checkStart, lowRankSpecs, startsAsPart } from "./lora/start.ts";
import type { LoraStartSettings } from "./lora/start.ts";
import { checkHighestRank } from "./highest-rank.ts";
import { checkFrozenStart, frozenStarts } from "./lora/frozen.ts";
import { byModule, checkSlices, downOf, onWholeModules, upOf, wholeModules } from "./lora/slices.ts";
import type { ModuleSites } from "./lora/slices.ts";
import { doubledRank, withStartTakenOut } from "./lora/unchanged.ts";
import { magnitudeSpec, withMagnitude, withRowLengths } from "./dora.ts";
import type {
  BaseParameter,
  BoundMethod,
  ForwardHooks,
  MergeRule,
  Method,
  MethodUse,
  ModuleTable,
  ParameterSpec,
} from "./contract.ts";
import { savedModules } from "./saved-modules.ts";
import { stackHooks } from "./stack-hooks.ts";
import { tokenRows } from "./token-rows.ts";
import type { BoundRows } from "./token-rows.ts";
import type { BiasTraining } from "./saved-modules.ts";
import { slicesOf } from "./slices.ts";
import type { LayerSlice } from "./slices.ts";
import { matchTargets, patternValue } from "./targets.ts";
import type { ModuleKind, TargetSettings } from "./targets.ts";

export interface LoraConfiguration extends TargetSettings, LoraStartSettings {
  readonly rank: number;
  readonly alpha: number;
  /** Share of the input that A does not see while training. */
  readonly dropout: number;
  /** Scale by alpha / sqrt(rank) instead of alpha / rank. */
  readonly rankStabilised: boolean;
  /** Rank of single modules, by patterns over the ends of their paths. */
  readonly rankPattern?: Readonly<Record<string, number>> | undefined;
  readonly alphaPattern?: Readonly<Record<string, number>> | undefined;
  /** Tokens whose embeddings are trained as well. */
  readonly tokens?: LoraTokens | undefined;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** Train B alone: A stays as it starts (LoRA-FA). */
  readonly frozenA?: boolean | undefined;
  /** Seed of the start of an A that is not trained; 0 by default. */
  readonly projectionSeed?: number | undefined;
  /** Train the lengths of the adapted matrix's rows apart from their directions (DoRA). */
  readonly magnitude: boolean;
}

/** Ids of tokens, of the model's token embedding or of the one named. */
export interface LoraTokens {
  readonly ids: readonly number[];
  readonly embedding?: string | undefined;
}

export const loraDefaults = {
  rank: 8,
  alpha: 8,
  dropout: 0,
  rankStabilised: false,
  bias: "none",
  loraBias: false,
  magnitude: false,
  initialWeights: true,
} as const satisfies Partial<LoraConfiguration>;

/** What LoRA can adapt as a whole: all that files of PEFT's know. */
export const loraKinds = ["embeddings", "linears"] as const satisfies readonly ModuleKind[];

export const lora: Method<LoraConfiguration> = {
  type: "LORA",
  summary: "LoRA: a trained product of low rank beside frozen matrices (Hu et al. 2021)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const sites = loraSites(configuration, modules);
    const wholes = byModule(sites.values());
    const adapted = [...wholes.keys()];
    const saved = savedModules(
      { modulesToSave: configuration.modulesToSave ?? [], bias: configuration.bias, adapted },
      modules,
    );
    checkSlices(configuration, sites.values());
    checkStart(configuration, [...sites.values()], modules.linears);
    if (configuration.frozenA === true) checkFrozenStart(configuration, [...sites.values()]);
    const rows = tokensOf(configuration, sites, modules);
    const parameters = [
      ...[...sites.values()].flatMap((site) => specsOf(site, configuration)),
      ...(rows?.parameters ?? []),
      ...saved.parameters,
    ];
    const frozen = configuration.frozenA === true ? frozenStarts([...sites.values()], configuration) : [];
    const isWhole = frozen.length === 0 && [...sites.values()].every(({ slice }) => slice === undefined);
    return {
      parameters,
      constants: frozen,
      condensed: isWhole ? undefined : onWholeModules(wholes, [...parameters, ...frozen]),
      baseChanges: [...sites.values()].flatMap((site) => baseChangesOf(site, configuration)),
      forUnchangedBase: startsAsPart(configuration)
        ? withStartTakenOut([...sites.values()], parameters)
        : undefined,
      hooks: (use) => ({
        ...stackHooks(hooksOf(use, wholes, configuration), rows?.hooks(use)),
        ...saved.hooks(use),
      }),
      merge: [
        ...[...wholes.values()].flatMap((own) => mergeRules(own, configuration, modules)),
        ...(rows?.merge ?? []),
        ...saved.merge,
      ],
    };
  },
  checkNew: (configuration, modules) => {
    checkHighestRank("LoRA", [...loraSites(configuration, modules).values()]);
  },
  // Files hold A like B, and whole layers: of an adapter that is trained no further it makes no difference.
  condense: (configuration, modules) => ({
    ...wholeModules(configuration, loraSites(configuration, modules), modules),
    frozenA: false,
  }),
  forUnchangedBase: (configuration) =>
    startsAsPart(configuration) ? doubledRank(configuration) : configuration,
};

/** The modules and slices of modules that LoRA adapts, in the order of the forward pass. @throws DeltafitError `target-unmatched`. */
export function loraSites(
  configuration: LoraConfiguration,
  modules: ModuleTable,
): ReadonlyMap<string, LoraSite> {
  const paths = matchTargets(configuration, modules, [...loraKinds, "slices"]);
  const slices = slicesOf(modules);
  return new Map(paths.map((path) => [path, siteOf(path, configuration, modules, slices.get(path))]));
}

function tokensOf(
  { tokens }: LoraConfiguration,
  sites: ReadonlyMap<string, LoraSite>,
  modules: ModuleTable,
): BoundRows | undefined {
  if (tokens === undefined) return undefined;
  const targets = tokens.embedding === undefined ? undefined : [tokens.embedding];
  const rows = tokenRows(
    { tokens: tokens.ids, targets, suffix: "token_adapter.trainable_tokens_delta" },
    modules,
  );
  const adapted = [...sites.values()].find((site) =>
    rows.parameters.some(({ key }) => key.startsWith(`${site.path}.`)),
  );
  if (adapted)
    throw new DeltafitError(
      "config-invalid",
      `LoRA: "${adapted.path}" cannot be adapted and have trained tokens at once.`,
      "Leave it out of the targets, or train no tokens.",
    );
  return rows;
}

function checkSettings({ rank, alpha, dropout, rankPattern, magnitude, loraBias }: LoraConfiguration): void {
  for (const value of [rank, ...Object.values(rankPattern ?? {})])
    if (!Number.isInteger(value) || value <= 0)
      throw new DeltafitError(
        "config-invalid",
        `LoRA: the rank is ${value}; expected a whole number above 0.`,
        "Common ranks are 4 to 64.",
      );
  if (!(alpha > 0) || !Number.isFinite(alpha))
    throw new DeltafitError(
      "config-invalid",
      `LoRA: alpha is ${alpha}; expected a number above 0.`,
      "A common choice is twice the rank.",
    );
  if (!(dropout >= 0 && dropout < 1))
    throw new DeltafitError(
      "config-invalid",
      `LoRA: dropout is ${dropout}; expected a share from 0 to below 1.`,
      "Common values are 0 to 0.1.",
    );
  if (magnitude && loraBias)
    throw new DeltafitError(
      "config-invalid",
      "LoRA: a bias of B cannot be had with a trained magnitude (DoRA).",
      "Leave one of them out.",
    );
}

/** Rank of a module or of a slice, for which patterns of its module count as well, and the factor of its product. */
export function loraScale(
  configuration: LoraConfiguration,
  path: string,
  module = path,
): { readonly rank: number; readonly factor: number } {
  const own = (patterns: LoraConfiguration["rankPattern"]) =>
    patternValue(patterns, path) ?? patternValue(patterns, module);
  const rank = own(configuration.rankPattern) ?? configuration.rank;
  const alpha = own(configuration.alphaPattern) ?? configuration.alpha;
  return { rank, factor: alpha / (configuration.rankStabilised ? Math.sqrt(rank) : rank) };
}

function siteOf(
  path: string,
  configuration: LoraConfiguration,
  modules: ModuleTable,
  part: LayerSlice | undefined,
): LoraSite {
  const module = part?.layer.path ?? path;
  const { rank, factor } = loraScale(configuration, path, module);
  const linear = modules.linears.get(module);
  if (linear) {
    const keys = { a: `${path}.lora_A.weight`, b: `${path}.lora_B.weight` };
    const slice = part && { start: part.start, of: linear.out };
    const { in: from, layout } = linear;
    const shape = { in: from, out: part?.out ?? linear.out, transposed: layout === "in-out" };
    return { path, module, slice, rank, factor, kind: "linear", ...shape, ...keys };
  }
  const embedding = modules.embeddings.get(path);
  const keys = { a: `${path}.lora_embedding_A`, b: `${path}.lora_embedding_B` };
  return {
    path,
    module,
    rank,
    factor,
    in: embedding?.rows ?? 0,
    out: embedding?.size ?? 0,
    kind: "embedding",
    transposed: true,
    ...keys,
  };
}

function specsOf(site: LoraSite, configuration: LoraConfiguration): ParameterSpec[] {
  const lowRank = lowRankSpecs(site, configuration).filter(
    ({ key }) => !configuration.frozenA || key !== site.a,
  );
  return [...lowRank, ...(configuration.magnitude ? [magnitudeSpec(site)] : [])];
}

function hooksOf(
  use: MethodUse,
  modules: ReadonlyMap<string, ModuleSites>,
  configuration: LoraConfiguration,
): ForwardHooks {
  const { builder, parameter } = use;
  const { dropout, loraBias, magnitude } = configuration;
  return {
    linear({ path, bias }: LinearSite, x, next) {
      const sites = modules.get(path);
      const base = next(x);
      if (!sites) return base;
      const [site] = sites;
      const down = builder.gemm(use.dropout(x, dropout), downOf(use, sites), { transB: true });
      if (magnitude) return withMagnitude(use, site, { down, base, bias: bias ? `${path}.bias` : undefined });
      // The base's output goes in as the product's addend: one pass instead of two.
      const y = builder.gemm(use.weighted(down), upOf(use, sites), {
        transB: true,
        alpha: site.factor,
        c: base,
      });
      return loraBias
        ? use.toward(y, builder.add(y, builder.scale(parameter(`${path}.lora_B.bias`), site.factor)))
        : y;
    },
    embedding({ path }: EmbeddingSite, next, lookup) {
      const [site] = modules.get(path) ?? [];
      const base = next();
      if (!site) return base;
      const down = lookup(builder.transposeLast(parameter(site.a)));
      if (magnitude) return withMagnitude(use, site, { down, base, bias: undefined });
      return builder.gemm(use.weighted(down), parameter(site.b), {
        transB: true,
        alpha: site.factor,
        c: base,
      });
    },
  };
}

function mergeRules(
  sites: ModuleSites,
  { loraBias, magnitude }: LoraConfiguration,
  modules: ModuleTable,
): MergeRule[] {
  const [site] = sites;
  const { module: path, factor, transposed } = site;
  const stored = (name: string) => storedName(modules, `${path}.${name}`);
  const weight: MergeRule = {
    stored: stored("weight"),
    merged(use, base) {
      const { builder } = use;
      const [a, b] = [downOf(use, sites), upOf(use, sites)];
      const sum = transposed
        ? builder.gemm(a, b, { transA: true, transB: true, alpha: factor, c: base })
        : builder.gemm(b, a, { alpha: factor, c: base });
      return magnitude ? withRowLengths(use, site, sum) : sum;
    },
  };
  if (!loraBias || site.kind === "embedding") return [weight];
  return [
    weight,
    {
      stored: stored("bias"),
      merged: ({ builder, parameter }, base): Value =>
        builder.add(base, builder.scale(parameter(`${path}.lora_B.bias`), factor)),
    },
  ];
}

function storedName(modules: ModuleTable, name: string): string {
  const parameter: BaseParameter | undefined = modules.parameters.get(name);
  if (parameter) return parameter.stored;
  throw new DeltafitError(
    "method-unsupported",
    `LoRA: the module has no "${name}", so a bias of B cannot be merged into it.`,
    "Keep the adapter apart, or train without a bias of B.",
  );
}
