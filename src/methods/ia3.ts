/**
 * @file (IA)3 (Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context
 * Learning", section 3.3): trained vectors rescale activations, y = l * (W x + b) for keys and values, and
 * y = W (l * x) + b for the second layer of a feed-forward block. Every l starts at one, so that training starts from
 * the base. Merging scales the rows of W and b, or the columns of W.
 */
import { DeltafitError } from "../errors.ts";
import type { LinearSite } from "../models/forward.ts";
import type { BoundMethod, MergeRule, Method, ModuleTable, ParameterSpec } from "./contract.ts";
import { linearSites, storedWeight } from "./linear-sites.ts";
import { savedModules } from "./saved-modules.ts";
import { namesModule } from "./targets.ts";
import type { ModuleNames, TargetSettings } from "./targets.ts";

export interface Ia3Configuration extends TargetSettings {
  /** The targets whose input is rescaled instead of their output. */
  readonly feedForward: ModuleNames;
  /** True as above; false starts with normal numbers: not the identity, for tests. */
  readonly initialWeights: boolean;
}

export const ia3Defaults = {
  feedForward: [],
  initialWeights: true,
} as const satisfies Partial<Ia3Configuration>;

interface Ia3Site {
  readonly linear: LinearSite;
  readonly key: string;
  readonly scalesInput: boolean;
}

export const ia3: Method<Ia3Configuration> = {
  type: "IA3",
  summary: "(IA)3: trained vectors that rescale keys, values and feed-forward activations (Liu et al. 2022)",
  bind(configuration, modules): BoundMethod {
    const { modulesToSave = [] } = configuration;
    const sites = sitesOf(configuration, modules);
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [...sites.keys()] }, modules);
    return {
      parameters: [...[...sites.values()].map((site) => specOf(site, configuration)), ...saved.parameters],
      hooks: (use) => ({
        linear({ path }, x, next) {
          const site = sites.get(path);
          if (!site) return next(x);
          const { builder } = use;
          const scale = builder.reshape(use.parameter(site.key), [scaledWidth(site)]);
          if (site.scalesInput) return next(use.toward(x, builder.multiply(x, scale)));
          const y = next(x);
          return use.toward(y, builder.multiply(y, scale));
        },
        ...saved.hooks(use),
      }),
      merge: [...[...sites.values()].flatMap((site) => mergeRules(site, modules)), ...saved.merge],
    };
  },
};

function sitesOf(configuration: Ia3Configuration, modules: ModuleTable): ReadonlyMap<string, Ia3Site> {
  const linears = linearSites(configuration, modules);
  const { feedForward } = configuration;
  const paths = [...linears.keys()];
  for (const name of typeof feedForward === "string" ? [] : feedForward)
    if (!paths.some((path) => namesModule([name], path)))
      throw new DeltafitError(
        "config-invalid",
        `(IA)3: the feed-forward module "${name}" is none of the targets.`,
        `The targets are ${[...new Set(paths.map((path) => path.split(".").at(-1) ?? path))].sort().join(", ")}.`,
      );
  return new Map(
    [...linears].map(([path, linear]) => [
      path,
      { linear, key: `${path}.ia3_l`, scalesInput: namesModule(feedForward, path) },
    ]),
  );
}

function scaledWidth({ linear, scalesInput }: Ia3Site): number {
  return scalesInput ? linear.in : linear.out;
}

function specOf(site: Ia3Site, { initialWeights }: Ia3Configuration): ParameterSpec {
  const count = scaledWidth(site);
  return {
    key: site.key,
    shape: site.scalesInput ? [1, count] : [count, 1],
    initial: ({ random }) => (initialWeights ? new Float32Array(count).fill(1) : random.normal(count, 0, 1)),
  };
}

function mergeRules(site: Ia3Site, modules: ModuleTable): MergeRule[] {
  const { linear, key, scalesInput } = site;
  const width = scaledWidth(site);
  // A matrix stored as [in, out] has its outputs along the last axis.
  const alongLast = scalesInput === (linear.layout === "out-in");
  const scaled = (stored: string, shape: readonly number[]): MergeRule => ({
    stored,
    merged: ({ builder, parameter }, base) => builder.multiply(base, builder.reshape(parameter(key), shape)),
  });
  const bias = scalesInput ? undefined : modules.parameters.get(`${linear.path}.bias`);
  return [
    scaled(storedWeight(linear), alongLast ? [1, width] : [width, 1]),
    ...(bias ? [scaled(bias.stored, [width])] : []),
  ];
}
