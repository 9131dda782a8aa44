/**
 * @file AdaLoRA (Zhang et al. 2023, "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning",
 * equations 3 to 9): a frozen matrix W gains a product in the form of a singular value decomposition,
 * y = W x + s B diag(E) A x with s = alpha / r. A [r, in] and B [out, r] start random and are drawn towards orthogonality
 * by a term of the loss; E [r] starts at zero, so that training starts from the base. While training goes on, the
 * singular values that matter least over all layers are set to zero, until the budget is kept. Merging adds
 * s B diag(E) A to W.
 */
import { DeltafitError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { BoundMethod, Method, MethodUse, ParameterSpec, Settled, SettleSource } from "./contract.ts";
import { checkHighestRank } from "./highest-rank.ts";
import { normal, zeros } from "./initial.ts";
import { addedToWeight, linearSites } from "./linear-sites.ts";
import { allocations, dropped, rankAllocation } from "./rank-allocation.ts";
import { identityMatrix } from "./rotation.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import type { TargetSettings } from "./targets.ts";

export interface AdaloraConfiguration extends TargetSettings {
  /** Mean rank that is left of each module in the end. */
  readonly rank: number;
  /** Rank of every module at the start. */
  readonly initialRank: number;
  readonly alpha: number;
  /** Share of the input that A does not see while training. */
  readonly dropout: number;
  /** Updates of the whole training. */
  readonly totalSteps: number;
  /** Updates at the start in which every rank is kept. */
  readonly initialSteps: number;
  /** Updates at the end in which the ranks stay as they are. */
  readonly finalSteps: number;
  /** Updates from one choice of ranks to the next. */
  readonly allocateEvery: number;
  /** Decay of the mean sensitivity of a value. */
  readonly sensitivityDecay: number;
  /** Decay of the mean deviation from that sensitivity. */
  readonly uncertaintyDecay: number;
  /** Weight of the term of the loss that draws A and B towards orthogonality. */
  readonly orthogonality: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** Which of a module's initial ranks are left, by its path, once they have been chosen: they are not chosen again. */
  readonly ranks?: Readonly<Record<string, readonly boolean[]>> | undefined;
  /** True as above; false starts with all three random: not the identity, for tests. */
  readonly initialWeights: boolean;
}

export const adaloraDefaults = {
  rank: 8,
  initialRank: 12,
  alpha: 8,
  dropout: 0,
  initialSteps: 0,
  finalSteps: 0,
  allocateEvery: 1,
  sensitivityDecay: 0.85,
  uncertaintyDecay: 0.85,
  orthogonality: 0.5,
  bias: "none",
  initialWeights: true,
} as const satisfies Partial<AdaloraConfiguration>;

interface AdaloraSite {
  readonly linear: LinearSite;
  /** Ranks that are left. */
  readonly rank: number;
  /** Keys of A [rank, in], E [rank, 1] and B [out, rank]. */
  readonly a: string;
  readonly e: string;
  readonly b: string;
}

export const adalora: Method<AdaloraConfiguration> = {
  type: "ADALORA",
  summary: "AdaLoRA: LoRA whose ranks are shared out among the layers while training (Zhang et al. 2023)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const linears = linearSites(configuration, modules);
    checkRanks(configuration, linears);
    const sites = new Map([...linears].map(([path, linear]) => [path, siteOf(linear, configuration)]));
    const { modulesToSave = [], bias, dropout, ranks, rank, initialRank } = configuration;
    const choosesRanks = ranks === undefined && rank < initialRank;
    const saved = savedModules({ modulesToSave, bias, adapted: [...sites.keys()] }, modules);
    const factor = factorOf(configuration);
    return {
      parameters: [
        ...[...sites.values()].flatMap((site) => specsOf(site, configuration)),
        ...saved.parameters,
      ],
      penalty: (use) => orthogonality(use, [...sites.values()], configuration.orthogonality),
      afterUpdate: choosesRanks ? rankAllocation([...sites.values()], configuration) : undefined,
      hooks: (use) => ({
        linear({ path }, x, next) {
          const site = sites.get(path);
          const base = next(x);
          if (!site || site.rank === 0) return base;
          const { builder, parameter } = use;
          const down = builder.gemm(use.dropout(x, dropout), parameter(site.a), { transB: true });
          const values = builder.reshape(parameter(site.e), [site.rank]);
          return builder.gemm(use.weighted(builder.multiply(down, values)), parameter(site.b), {
            transB: true,
            alpha: factor,
            c: base,
          });
        },
        ...saved.hooks(use),
      }),
      merge: [
        ...[...sites.values()]
          .filter(({ rank }) => rank > 0)
          .map((site) => addedToWeight(site.linear, (use) => changeOf(use, site, factor))),
        ...saved.merge,
      ],
    };
  },
  checkNew(configuration, modules) {
    const { initialRank, rank } = configuration;
    const sites = [...linearSites(configuration, modules).values()];
    checkHighestRank(
      "AdaLoRA",
      sites.map((site) => ({ ...site, rank: initialRank })),
      "initial rank",
    );
    if (rank > initialRank)
      throw new DeltafitError(
        "config-invalid",
        `AdaLoRA: the rank is ${rank}, and the initial rank, from which it is chosen, is ${initialRank}.`,
        `Choose a rank of at most ${initialRank}, or a higher initial rank.`,
      );
  },
  settle: (configuration, source) => settle(configuration, source),
};

type WholeSetting = "rank" | "initialRank" | "totalSteps" | "allocateEvery" | "initialSteps" | "finalSteps";

function checkSettings(configuration: AdaloraConfiguration): void {
  const refuse = (message: string, hint: string) => {
    throw new DeltafitError("config-invalid", `AdaLoRA: ${message}`, hint);
  };
  const whole = (name: WholeSetting, least: number, hint: string) => {
    const value = configuration[name];
    if (!Number.isInteger(value) || value < least)
      refuse(`${name} is ${value}; expected a whole number from ${least}.`, hint);
  };
  for (const name of ["rank", "initialRank"] as const)
    whole(name, 1, "Common choices are an initial rank of 12 and a rank of 8.");
  for (const name of ["totalSteps", "allocateEvery"] as const) whole(name, 1, "Count updates.");
  for (const name of ["initialSteps", "finalSteps"] as const) whole(name, 0, "Count updates.");
  const { alpha, dropout, orthogonality: weight, totalSteps, initialSteps, finalSteps } = configuration;
  if (initialSteps >= totalSteps - finalSteps)
    refuse(
      `of ${totalSteps} updates ${initialSteps} at the start and ${finalSteps} at the end leave none to choose ranks in.`,
      "Lower initialSteps or finalSteps, or train longer.",
    );
  if (!(alpha > 0) || !Number.isFinite(alpha))
    refuse(`alpha is ${alpha}; expected a number above 0.`, "A common choice is twice the rank.");
  if (!(dropout >= 0 && dropout < 1))
    refuse(`dropout is ${dropout}; expected a share from 0 to below 1.`, "Common values are 0 to 0.1.");
  if (!(weight >= 0) || !Number.isFinite(weight))
    refuse(`orthogonality is ${weight}; expected a number from 0.`, "Common values are 0.1 to 0.5.");
  for (const name of ["sensitivityDecay", "uncertaintyDecay"] as const)
    if (!(configuration[name] > 0 && configuration[name] < 1))
      refuse(
        `${name} is ${configuration[name]}; expected a number between 0 and 1.`,
        "A common value is 0.85.",
      );
}

function checkRanks(
  { ranks = {}, initialRank }: AdaloraConfiguration,
  linears: ReadonlyMap<string, LinearSite>,
): void {
  for (const [path, left] of Object.entries(ranks)) {
    if (!linears.has(path))
      throw new DeltafitError(
        "config-invalid",
        `AdaLoRA: there are chosen ranks of "${path}", which is no target.`,
        "Check that the configuration is that of the model's adapter.",
      );
    if (left.length !== initialRank)
      throw new DeltafitError(
        "config-invalid",
        `AdaLoRA: the chosen ranks of "${path}" are ${left.length} entries; expected ${initialRank}, the initial rank.`,
        "Check that the configuration is complete.",
      );
  }
}

function siteOf(linear: LinearSite, { ranks, initialRank }: AdaloraConfiguration): AdaloraSite {
  const { path } = linear;
  const left = ranks && Object.hasOwn(ranks, path) ? ranks[path] : undefined;
  return {
    linear,
    rank: left ? left.filter(Boolean).length : initialRank,
    a: `${path}.lora_A`,
    e: `${path}.lora_E`,
    b: `${path}.lora_B`,
  };
}

/** The scale; it stays that of the initial rank when ranks are dropped. */
function factorOf({ alpha, initialRank }: AdaloraConfiguration): number {
  return alpha / (initialRank + 1e-5);
}

function specsOf(
  { linear, rank, a, e, b }: AdaloraSite,
  { initialWeights }: AdaloraConfiguration,
): ParameterSpec[] {
  const deviation = initialWeights ? 0.02 : 1;
  const spec = (key: string, shape: readonly number[]) => ({ key, shape, initial: normal(shape, deviation) });
  return [
    spec(a, [rank, linear.in]),
    { ...spec(e, [rank, 1]), initial: initialWeights ? zeros([rank, 1]) : normal([rank, 1], 1) },
    spec(b, [linear.out, rank]),
  ];
}

type Use = Pick<MethodUse, "builder" | "parameter">;

/** s B diag(E) A: [out, in]. */
function changeOf({ builder, parameter }: Use, site: AdaloraSite, factor: number): Value {
  const rows = builder.multiply(parameter(site.a), parameter(site.e));
  return builder.gemm(parameter(site.b), rows, { alpha: factor });
}

/** The weight times the mean of |A A^T - I| and |B^T B - I| over all modules, in Frobenius' norm. */
function orthogonality(
  { builder, parameter }: Use,
  sites: readonly AdaloraSite[],
  weight: number,
): Value | undefined {
  if (weight === 0) return undefined;
  const distances = sites
    .filter(({ rank }) => rank > 0)
    .flatMap(({ a, b, rank }) => [
      distanceFromIdentity(builder, builder.gemm(parameter(a), parameter(a), { transB: true }), rank),
      distanceFromIdentity(builder, builder.gemm(parameter(b), parameter(b), { transA: true }), rank),
    ]);
  const [first, ...others] = distances;
  if (!first) return undefined;
  const sum = others.reduce((total, distance) => builder.add(total, distance), first);
  return builder.scale(sum, weight / (2 * sites.length));
}

function distanceFromIdentity(builder: GraphBuilder, products: Value, rank: number): Value {
  const difference = builder.subtract(products, identityMatrix(builder, rank));
  const squares = builder.sumAll(builder.multiply(difference, difference));
  // The root's slope at zero has no value; the norm's is taken as zero there.
  const isZero = builder.lessOrEqual(squares, builder.scalar(0));
  const root = builder.squareRoot(builder.where(isZero, builder.scalar(1), squares));
  return builder.where(isZero, builder.scalar(0), root);
}

/** The adapter with the ranks that are left alone. */
function settle(
  configuration: AdaloraConfiguration,
  { keys, parameter, state }: SettleSource,
): Settled<AdaloraConfiguration> | undefined {
  const { initialRank, rank } = configuration;
  if (configuration.ranks !== undefined || rank >= initialRank) return undefined;
  if (state(allocations)[0] === 0) return undefined;
  const ranks: Record<string, boolean[]> = {};
  for (const key of keys)
    if (key.endsWith(".lora_E"))
      ranks[key.slice(0, -".lora_E".length)] = Array.from(
        state(dropped(key)),
        (isDropped) => isDropped === 0,
      );
  return {
    configuration: { ...configuration, ranks },
    parameter(key) {
      const values = parameter(key);
      const [, path, matrix] = /^(.*)\.lora_([ABE])$/.exec(key) ?? [];
      const left = path === undefined ? undefined : ranks[path];
      if (left === undefined) return values;
      const width = values.length / initialRank;
      return values.filter((_, at) => left[matrix === "B" ? at % initialRank : Math.floor(at / width)]);
    },
  };
}
