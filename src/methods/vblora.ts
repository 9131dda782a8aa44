/**
 * @file VB-LoRA (Li et al. 2024, "VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks", equations 1 to 3):
 * the A and B of all adapted layers are cut into pieces of length b, and every piece is a mixture of vectors from one
 * bank [h, b] that they share. A piece has a logit for each vector; the softmax over its k largest gives the shares, and
 * the others get no gradient. y = W x + B A x, without a scale. The bank starts uniform and the logits normal, so that
 * training starts near the base, not from it. Merging adds B A to W.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { BoundMethod, ForwardHooks, Method, MethodUse, ParameterSpec } from "./contract.ts";
import { checkHighestRank } from "./highest-rank.ts";
import { normal } from "./initial.ts";
import { addedToWeight, linearSites } from "./linear-sites.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import type { TargetSettings } from "./targets.ts";

export interface VbloraConfiguration extends TargetSettings {
  readonly rank: number;
  /** Vectors of the bank. */
  readonly vectorCount: number;
  /** Length of each: a divisor of every adapted layer's input and output. */
  readonly vectorLength: number;
  /** How many vectors a piece is mixed of. */
  readonly topVectors: number;
  /** Keep in files the shares of those vectors alone: a fraction of the size, but nothing to train on from. */
  readonly saveTopOnly?: boolean | undefined;
  /** Share of the input that A does not see while training. */
  readonly dropout: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** The bank starts uniform between this and its negative. */
  readonly initialVectorBound: number;
  /** Standard deviation of the logits' start. */
  readonly initialLogitDeviation: number;
}

export const vbloraDefaults = {
  rank: 4,
  vectorCount: 256,
  vectorLength: 256,
  topVectors: 2,
  dropout: 0,
  bias: "none",
  initialVectorBound: 0.02,
  initialLogitDeviation: 0.1,
} as const satisfies Partial<VbloraConfiguration>;

/** Key of the bank that all layers share. */
export const vbloraBank = "vblora_vector_bank";

export const vblora: Method<VbloraConfiguration> = {
  type: "VBLORA",
  summary: "VB-LoRA: low-rank matrices mixed from one shared bank of vectors (Li et al. 2024)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const sites = linearSites(configuration, modules);
    for (const site of sites.values()) checkSite(site, configuration);
    const { modulesToSave = [], bias } = configuration;
    const saved = savedModules({ modulesToSave, bias, adapted: [...sites.keys()] }, modules);
    return {
      parameters: [
        bankSpec(configuration),
        ...[...sites.values()].flatMap((site) => logitSpecs(site, configuration)),
        ...saved.parameters,
      ],
      fixed: (parameter) =>
        [...sites.values()].some((site) => logitKeys(site).some((key) => parameter(key).includes(-Infinity)))
          ? "its file keeps the largest logits of each piece alone, and training needs them all"
          : undefined,
      hooks: (use) => ({ ...hooksOf(use, sites, configuration), ...saved.hooks(use) }),
      merge: [
        ...[...sites.values()].map((site) =>
          addedToWeight(site, (use) => {
            const { a, b } = matricesOf(use, site, configuration);
            return use.builder.gemm(b, a);
          }),
        ),
        ...saved.merge,
      ],
    };
  },
  checkNew(configuration, modules) {
    const sites = [...linearSites(configuration, modules).values()];
    checkHighestRank(
      "VB-LoRA",
      sites.map((site) => ({ ...site, rank: configuration.rank })),
    );
  },
};

function checkSettings(configuration: VbloraConfiguration): void {
  const { rank, vectorCount, vectorLength, topVectors, dropout } = configuration;
  const { initialVectorBound, initialLogitDeviation } = configuration;
  const refuse = (message: string, hint: string) => {
    throw new DeltafitError("config-invalid", `VB-LoRA: ${message}`, hint);
  };
  for (const [name, value] of Object.entries({ rank, vectorCount, vectorLength, topVectors }))
    if (!Number.isInteger(value) || value <= 0)
      refuse(`${name} is ${value}; expected a whole number above 0.`, "Common values are 4, 256, 256 and 2.");
  if (topVectors > vectorCount)
    refuse(
      `topVectors is ${topVectors}, and the bank has ${vectorCount} vectors.`,
      "Mix each piece of fewer vectors.",
    );
  if (!(dropout >= 0 && dropout < 1))
    refuse(`dropout is ${dropout}; expected a share from 0 to below 1.`, "Common values are 0 to 0.1.");
  for (const [name, value] of Object.entries({ initialVectorBound, initialLogitDeviation }))
    if (!(value >= 0) || !Number.isFinite(value))
      refuse(`${name} is ${value}; expected a number of at least 0.`, "Common values are 0.02 and 0.1.");
}

function checkSite({ path, in: from, out }: LinearSite, { vectorLength }: VbloraConfiguration): void {
  if (from % vectorLength === 0 && out % vectorLength === 0) return;
  throw new DeltafitError(
    "config-invalid",
    `VB-LoRA: vectors of length ${vectorLength} do not fill the matrix of "${path}", [${out}, ${from}].`,
    "Choose a length that divides the sizes of all adapted layers.",
  );
}

function bankSpec({
  vectorCount,
  vectorLength,
  initialVectorBound: bound,
}: VbloraConfiguration): ParameterSpec {
  return {
    key: vbloraBank,
    shape: [vectorCount, vectorLength],
    initial: ({ random }) => random.uniform(vectorCount * vectorLength, -bound, bound),
  };
}

/** Shapes of the logits: a row of the bank's length for each piece of A [r, in] and of B [out, r]. */
function logitShapes(
  { in: from, out }: LinearSite,
  { rank, vectorCount, vectorLength }: VbloraConfiguration,
) {
  return {
    a: [rank, from / vectorLength, vectorCount],
    b: [out / vectorLength, rank, vectorCount],
  };
}

const logitKeys = ({ path }: LinearSite): readonly [string, string] => [
  `${path}.vblora_logits_A`,
  `${path}.vblora_logits_B`,
];

/** Whether a parameter is a piece's logits. */
export const isVbloraLogits = (key: string): boolean => /\.vblora_logits_[AB]$/.test(key);

function logitSpecs(site: LinearSite, configuration: VbloraConfiguration): ParameterSpec[] {
  const { a, b } = logitShapes(site, configuration);
  const [keyOfA, keyOfB] = logitKeys(site);
  const spec = (key: string, shape: number[]): ParameterSpec => ({
    key,
    shape,
    initial: normal(shape, configuration.initialLogitDeviation),
  });
  return [spec(keyOfA, a), spec(keyOfB, b)];
}

type Use = Pick<MethodUse, "builder" | "parameter">;

/** A [r, in] and B [out, r]. */
function matricesOf(use: Use, site: LinearSite, configuration: VbloraConfiguration): { a: Value; b: Value } {
  const { builder } = use;
  const { rank, vectorLength } = configuration;
  const shapes = logitShapes(site, configuration);
  const [keyOfA, keyOfB] = logitKeys(site);
  const piecesOfB = pieces(use, keyOfB, shapes.b, configuration);
  const upright = builder.transpose(
    builder.reshape(piecesOfB, [site.out / vectorLength, rank, vectorLength]),
    [0, 2, 1],
  );
  return {
    a: builder.reshape(pieces(use, keyOfA, shapes.a, configuration), [rank, site.in]),
    b: builder.reshape(upright, [site.out, rank]),
  };
}

/** So far below every logit that nothing is left of it in a softmax. */
const nothing = -1e30;

/** The mixture for each row of logits: [rows, vectorLength]. */
function pieces(
  { builder, parameter }: Use,
  key: string,
  [first = 0, second = 0]: readonly number[],
  { vectorCount, topVectors }: VbloraConfiguration,
): Value {
  const logits = builder.reshape(parameter(key), [first * second, vectorCount]);
  // The k-th largest of each row, by taking the largest away k - 1 times.
  let left = builder.stopGradient(logits);
  for (let taken = 1; taken < topVectors; taken++)
    left = builder.where(
      builder.lessOrEqual(builder.reduceMax(left, [1]), left),
      builder.scalar(nothing),
      left,
    );
  const isAmong = builder.lessOrEqual(builder.reduceMax(left, [1]), builder.stopGradient(logits));
  const shares = builder.softmax(builder.where(isAmong, logits, builder.scalar(nothing)));
  return builder.gemm(shares, parameter(vbloraBank));
}

function hooksOf(
  use: MethodUse,
  sites: ReadonlyMap<string, LinearSite>,
  configuration: VbloraConfiguration,
): ForwardHooks {
  const { builder } = use;
  return {
    linear({ path }, x, next) {
      const site = sites.get(path);
      const base = next(x);
      if (!site) return base;
      const { a, b } = matricesOf(use, site, configuration);
      const down = builder.gemm(use.dropout(x, configuration.dropout), a, { transB: true });
      return builder.gemm(use.weighted(down), b, { transB: true, c: base });
    },
  };
}
