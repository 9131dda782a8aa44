/**
 * @file What the methods of the LyCORIS family (Yeh et al. 2023, "Navigating Text-To-Image Customization") have in
 * common: rank and alpha with patterns, and two dropouts of the change they add to a linear layer. Knows none of them.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { BoundMethod, MergeRule, MethodUse, ModuleTable, ParameterSpec } from "./contract.ts";
import { addedToWeight, linearSites } from "./linear-sites.ts";
import { savedModules } from "./saved-modules.ts";
import { patternValue } from "./targets.ts";
import type { TargetSettings } from "./targets.ts";

export interface LycorisConfiguration extends TargetSettings {
  readonly rank: number;
  readonly alpha: number;
  /** Share of the outputs that the change leaves out while training. */
  readonly rankDropout: number;
  /** Whether what is left of the outputs grows so that the change keeps its size. */
  readonly rankDropoutScale: boolean;
  /** Probability of leaving out a layer's whole change while training. */
  readonly moduleDropout: number;
  /** Rank of single modules, by patterns over the ends of their paths. */
  readonly rankPattern?: Readonly<Record<string, number>> | undefined;
  readonly alphaPattern?: Readonly<Record<string, number>> | undefined;
}

export const lycorisDefaults = {
  rank: 8,
  alpha: 8,
  rankDropout: 0,
  rankDropoutScale: false,
  moduleDropout: 0,
} as const satisfies Partial<LycorisConfiguration>;

/** A linear layer with its own rank and factor alpha / rank. */
export interface LycorisSite {
  readonly linear: LinearSite;
  readonly rank: number;
  readonly factor: number;
}

/** What one of the methods does at a site. */
export interface LycorisMethod {
  /** What messages call it. */
  readonly name: string;
  readonly specs: (site: LycorisSite) => readonly ParameterSpec[];
  /** The change's product with x [rows, in]: [rows, out]. */
  readonly apply: (use: MethodUse, site: LycorisSite, x: Value) => Value;
  /** The change as a matrix [out, in]. */
  readonly change: (use: Parameters<MergeRule["merged"]>[0], site: LycorisSite) => Value;
}

/** @throws DeltafitError `config-invalid`, `target-unmatched`. */
export function bindLycoris(
  configuration: LycorisConfiguration,
  modules: ModuleTable,
  { name, specs, apply, change }: LycorisMethod,
): BoundMethod {
  checkSettings(name, configuration);
  const sites = new Map(lycorisSites(configuration, modules).map((site) => [site.linear.path, site]));
  const { modulesToSave = [] } = configuration;
  const saved = savedModules({ modulesToSave, bias: "none", adapted: [...sites.keys()] }, modules);
  return {
    parameters: [...[...sites.values()].flatMap(specs), ...saved.parameters],
    hooks: (use) => ({
      linear({ path }, x, next) {
        const site = sites.get(path);
        const base = next(x);
        if (!site) return base;
        const added = dropped(use, site, apply(use, site, x), configuration);
        return use.builder.add(base, use.weighted(added));
      },
      ...saved.hooks(use),
    }),
    merge: [
      ...[...sites.values()].map((site) => addedToWeight(site.linear, (use) => change(use, site))),
      ...saved.merge,
    ],
  };
}

/** The targeted layers, in the order of the forward pass. @throws DeltafitError `target-unmatched`. */
export function lycorisSites(configuration: LycorisConfiguration, modules: ModuleTable): LycorisSite[] {
  return [...linearSites(configuration, modules).values()].map((linear) => siteOf(linear, configuration));
}

function siteOf(linear: LinearSite, configuration: LycorisConfiguration): LycorisSite {
  const rank = patternValue(configuration.rankPattern, linear.path) ?? configuration.rank;
  const alpha = patternValue(configuration.alphaPattern, linear.path) ?? configuration.alpha;
  return { linear, rank, factor: alpha / rank };
}

/** The change's product with x as training sees it. */
function dropped(
  use: MethodUse,
  { linear }: LycorisSite,
  added: Value,
  settings: LycorisConfiguration,
): Value {
  const { builder } = use;
  const { rankDropout, rankDropoutScale, moduleDropout } = settings;
  const mask = (count: number, ratio: number, keepsSize: boolean): Value | undefined => {
    const ones = builder.expand(builder.scalar(1), [count]);
    const kept = use.dropout(ones, ratio);
    if (kept === ones) return undefined;
    // What is kept has grown by 1 / (1 - ratio).
    return keepsSize ? builder.divide(kept, builder.reduceMean(kept, [0])) : builder.scale(kept, 1 - ratio);
  };
  const masks = [mask(linear.out, rankDropout, rankDropoutScale), mask(1, moduleDropout, false)];
  return masks.reduce<Value>((sum, part) => (part ? builder.multiply(sum, part) : sum), added);
}

function checkSettings(name: string, settings: LycorisConfiguration): void {
  const { rank, alpha, rankDropout, moduleDropout, rankPattern, alphaPattern } = settings;
  const refuse = (what: string, value: number, expected: string) => {
    throw new DeltafitError("config-invalid", `${name}: ${what} is ${value}; expected ${expected}.`);
  };
  for (const value of [rank, ...Object.values(rankPattern ?? {})])
    if (!Number.isInteger(value) || value <= 0) refuse("the rank", value, "a whole number above 0");
  for (const value of [alpha, ...Object.values(alphaPattern ?? {})])
    if (!(value > 0) || !Number.isFinite(value)) refuse("alpha", value, "a number above 0");
  for (const value of [rankDropout, moduleDropout])
    if (!(value >= 0 && value < 1)) refuse("dropout", value, "a share from 0 to below 1");
}
