/**
 * @file VeRA (Kopiczko et al. 2023, "VeRA: Vector-based Random Matrix Adaptation", equation 2): all adapted layers
 * share two frozen random matrices and train two vectors each, y = W x + b * (B (d * (A x))). A [r, widest input] and
 * B [widest output, r] are drawn from a seed and cut to each layer's size; b [out] starts at zero, so that training
 * starts from the base, and d [r] at a constant. Merging adds diag(b) B diag(d) A to W.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import { TorchGenerator } from "../tensor/random.ts";
import type {
  BoundMethod,
  ConstantSpec,
  ForwardHooks,
  MergeRule,
  Method,
  MethodUse,
  ParameterSpec,
} from "./contract.ts";
import { addedToWeight, linearSites } from "./linear-sites.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import type { TargetSettings } from "./targets.ts";

export interface VeraConfiguration extends TargetSettings {
  readonly rank: number;
  /** Seed of the shared matrices. */
  readonly projectionSeed: number;
  /** Whether adapter files hold the shared matrices; without them the seed gives the same again. */
  readonly saveProjection: boolean;
  /** Share of the input that A does not see while training. */
  readonly dropout: number;
  /** Start of every element of d. */
  readonly initialD: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** True as above; false starts with b at one and d normal: not the identity, for tests. */
  readonly initialWeights: boolean;
}

export const veraDefaults = {
  rank: 256,
  projectionSeed: 0,
  saveProjection: true,
  dropout: 0,
  initialD: 0.1,
  bias: "none",
  initialWeights: true,
} as const satisfies Partial<VeraConfiguration>;

/** Keys of the shared matrices. */
export const veraProjections = { a: "vera_A", b: "vera_B" } as const;

export const vera: Method<VeraConfiguration> = {
  type: "VERA",
  summary: "VeRA: two trained vectors a layer between shared random matrices (Kopiczko et al. 2023)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const sites = linearSites(configuration, modules);
    const adapted = [...sites.keys()];
    const { modulesToSave = [], bias } = configuration;
    const saved = savedModules({ modulesToSave, bias, adapted }, modules);
    return {
      parameters: [
        ...[...sites.values()].flatMap((site) => specsOf(site, configuration)),
        ...saved.parameters,
      ],
      constants: projections(configuration, [...sites.values()]),
      hooks: (use) => ({ ...hooksOf(use, sites, configuration), ...saved.hooks(use) }),
      merge: [...[...sites.values()].map(mergeRule), ...saved.merge],
    };
  },
};

function checkSettings({ rank, dropout, exclude, initialD, projectionSeed }: VeraConfiguration): void {
  const refuse = (message: string, hint: string) => {
    throw new DeltafitError("config-invalid", `VeRA: ${message}`, hint);
  };
  if (!Number.isInteger(rank) || rank <= 0)
    refuse(`the rank is ${rank}; expected a whole number above 0.`, "Common ranks are 64 to 1024.");
  if (!(dropout >= 0 && dropout < 1))
    refuse(`dropout is ${dropout}; expected a share from 0 to below 1.`, "Common values are 0 to 0.1.");
  if (!Number.isFinite(initialD))
    refuse(`initialD is ${initialD}; expected a number.`, "A common value is 0.1.");
  if (!Number.isSafeInteger(projectionSeed))
    refuse(`projectionSeed is ${projectionSeed}; expected a whole number.`, "Any whole number will do.");
  if (exclude !== undefined && exclude.length > 0)
    refuse("modules cannot be excluded: its files have no field for it.", "Name the targets without them.");
}

/** The shared matrices, as wide as the widest layers; drawn once, when they are first needed. */
function projections(
  { rank, projectionSeed }: VeraConfiguration,
  sites: readonly LinearSite[],
): ConstantSpec[] {
  const widest = (widths: readonly number[]) => widths.reduce((a, b) => Math.max(a, b), 0);
  const shapeOfA = [rank, widest(sites.map((site) => site.in))];
  const shapeOfB = [widest(sites.map((site) => site.out)), rank];
  let drawn: readonly [Float32Array, Float32Array] | undefined;
  const draw = () => (drawn ??= drawProjections(projectionSeed, shapeOfA, shapeOfB));
  return [
    { key: veraProjections.a, shape: shapeOfA, values: () => draw()[0] },
    { key: veraProjections.b, shape: shapeOfB, values: () => draw()[1] },
  ];
}

/** One generator gives A first and then B. */
function drawProjections(
  seed: number,
  ...shapes: readonly [number[], number[]]
): readonly [Float32Array, Float32Array] {
  const generator = new TorchGenerator(seed);
  return [generator.kaimingUniform(shapes[0], 0), generator.kaimingUniform(shapes[1], 0)];
}

function specsOf(
  { path, out }: LinearSite,
  { rank, initialD, initialWeights }: VeraConfiguration,
): ParameterSpec[] {
  return [
    {
      key: `${path}.vera_lambda_b`,
      shape: [out],
      initial: () => new Float32Array(out).fill(initialWeights ? 0 : 1),
    },
    {
      key: `${path}.vera_lambda_d`,
      shape: [rank],
      initial: ({ random }) =>
        initialWeights ? new Float32Array(rank).fill(initialD) : random.normal(rank, 0, 1),
    },
  ];
}

/** A and B cut to a layer, and its two vectors. */
function partsOf(
  { builder, parameter }: Pick<MethodUse, "builder" | "parameter">,
  site: LinearSite,
): Record<"a" | "b" | "lambdaB" | "lambdaD", Value> {
  return {
    a: builder.slice(parameter(veraProjections.a), 1, 0, site.in),
    b: builder.slice(parameter(veraProjections.b), 0, 0, site.out),
    lambdaB: parameter(`${site.path}.vera_lambda_b`),
    lambdaD: parameter(`${site.path}.vera_lambda_d`),
  };
}

function hooksOf(
  use: MethodUse,
  sites: ReadonlyMap<string, LinearSite>,
  { dropout }: VeraConfiguration,
): ForwardHooks {
  const { builder } = use;
  return {
    linear({ path }, x, next) {
      const site = sites.get(path);
      const base = next(x);
      if (!site) return base;
      const { a, b, lambdaB, lambdaD } = partsOf(use, site);
      const down = builder.multiply(builder.gemm(use.dropout(x, dropout), a, { transB: true }), lambdaD);
      const up = builder.multiply(builder.gemm(use.weighted(down), b, { transB: true }), lambdaB);
      return builder.add(base, up);
    },
  };
}

function mergeRule(site: LinearSite): MergeRule {
  return addedToWeight(site, (use) => {
    const { builder } = use;
    const { a, b, lambdaB, lambdaD } = partsOf(use, site);
    const scaledB = builder.multiply(builder.reshape(lambdaB, [site.out, 1]), b);
    return builder.gemm(builder.multiply(scaledB, lambdaD), a);
  });
}
