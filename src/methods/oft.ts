/**
 * @file OFT (Qiu et al. 2023, "Controlling Text-to-Image Diffusion by Orthogonal Finetuning", section 3; on inputs as in
 * Qiu et al. 2025, "Orthogonal Finetuning Made Scalable"): a layer's input is rotated, y = W (R^T x) + b. R is
 * block-diagonal; its blocks are made from skew-symmetric matrices S, by the Cayley transform (I - S) (I + S)^-1, or
 * nearly by the first terms of (I + S) (I - S)^-1 = I + 2 S + 2 S^2 + ..., which needs no inverse. S starts at zero, so
 * that training starts from the base. Merging multiplies W by R^T.
 */
import { DeltafitError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type {
  AppliedUpdate,
  BoundMethod,
  MergeRule,
  Method,
  MethodUse,
  ModuleTable,
  ParameterSpec,
  UpdateRule,
} from "./contract.ts";
import { normal, zeros } from "./initial.ts";
import { cayley, dropBlocks, identityMatrix, rotateBlocks, rotatedWeight } from "./rotation.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import { matchTargets } from "./targets.ts";
import type { ModuleKind, TargetSettings } from "./targets.ts";

export interface OftConfiguration extends TargetSettings {
  /**
   * Extent of a block; the divisor of the layer's width nearest to it is taken. 32 where neither this nor the number
   * of blocks is given.
   */
  readonly blockSize?: number | undefined;
  /** Blocks of a layer, in place of their extent; the divisor of the layer's width nearest to it is taken. */
  readonly blockCount?: number | undefined;
  /** Rotate by the Cayley transform itself instead of the first terms of a series. */
  readonly exactRotation: boolean;
  /** Terms of the series. */
  readonly neumannTerms: number;
  /** One rotation for all blocks of a layer. */
  readonly sharedBlocks: boolean;
  /** Hold every S within a norm (COFT). */
  readonly constrained: boolean;
  /** That norm, times the square root of the number of rotations. */
  readonly constraint: number;
  /** Probability of leaving a block unrotated while training. */
  readonly moduleDropout: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** True as above; false starts with random rotations: not the identity, for tests. */
  readonly initialWeights: boolean;
}

export const oftDefaults = {
  exactRotation: false,
  neumannTerms: 5,
  sharedBlocks: false,
  constrained: false,
  constraint: 6e-5,
  moduleDropout: 0,
  bias: "none",
  initialWeights: true,
} as const satisfies Partial<OftConfiguration>;

export const oftDefaultBlockSize = 32;

/** What OFT can adapt: the inputs of linear layers, the outputs of embeddings. */
export const oftKinds = ["embeddings", "linears"] as const satisfies readonly ModuleKind[];

/** What is rotated at a module, and by how many blocks of which extent. */
interface OftSite {
  readonly key: string;
  readonly blocks: number;
  readonly extent: number;
  /** 1 where one rotation serves all blocks. */
  readonly rotations: number;
}

export const oft: Method<OftConfiguration> = {
  type: "OFT",
  summary: "OFT: trained rotations of blocks of a layer's input (Qiu et al. 2023)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const paths = matchTargets(configuration, modules, oftKinds);
    const sites = new Map(paths.map((path) => [path, siteOf(path, configuration, modules)]));
    const { modulesToSave = [], bias } = configuration;
    const saved = savedModules({ modulesToSave, bias, adapted: paths }, modules);
    return {
      parameters: [...[...sites.values()].map((site) => specOf(site, configuration)), ...saved.parameters],
      afterUpdate: configuration.constrained ? holding([...sites.values()], configuration) : undefined,
      hooks: (use) => {
        const rotate = (site: OftSite, x: Value) => {
          const rotations = rotationsOf(use, site, configuration);
          const dropped =
            site.rotations === 1 ? rotations : dropBlocks(use, rotations, configuration.moduleDropout);
          return use.toward(x, rotateBlocks(use.builder, x, dropped));
        };
        return {
          linear({ path }, x, next) {
            const site = sites.get(path);
            return next(site ? rotate(site, x) : x);
          },
          embedding({ path }, next) {
            const site = sites.get(path);
            return site ? rotate(site, next()) : next();
          },
          ...saved.hooks(use),
        };
      },
      merge: [
        ...[...sites].map(([path, site]) => mergeRule(path, site, configuration, modules)),
        ...saved.merge,
      ],
    };
  },
  checkNew(configuration, modules) {
    const { blockSize } = configuration;
    if (blockSize === undefined) return;
    const widths = matchTargets(configuration, modules, oftKinds).map(
      (path) => [path, widthOf(path, modules)] as const,
    );
    const first = widths.find(([, width]) => width < blockSize);
    if (first === undefined) return;
    throw new DeltafitError(
      "config-invalid",
      `OFT: blocks of ${blockSize} are wider than the width ${first[1]} of "${first[0]}".`,
      `Choose blocks of at most ${Math.min(...widths.map(([, width]) => width))}.`,
    );
  },
};

function checkSettings(configuration: OftConfiguration): void {
  const { blockSize, blockCount, neumannTerms, constraint, moduleDropout } = configuration;
  const refuse = (message: string, hint: string) => {
    throw new DeltafitError("config-invalid", `OFT: ${message}`, hint);
  };
  if (blockSize !== undefined && blockCount !== undefined)
    refuse("blockSize and blockCount exclude each other.", "Give one: the other follows from it.");
  for (const [name, value] of Object.entries({ blockSize, blockCount }))
    if (value !== undefined && !(Number.isInteger(value) && value > 0))
      refuse(`${name} is ${value}; expected a whole number above 0.`, "Common block sizes are 16 to 64.");
  if (!Number.isInteger(neumannTerms) || neumannTerms < 2 || neumannTerms > 64)
    refuse(
      `neumannTerms is ${neumannTerms}; expected a whole number from 2 to 64.`,
      "A common number of terms is 5.",
    );
  if (!(constraint > 0) || !Number.isFinite(constraint))
    refuse(`constraint is ${constraint}; expected a number above 0.`, "A common value is 6e-5.");
  if (!(moduleDropout >= 0 && moduleDropout < 1))
    refuse(
      `moduleDropout is ${moduleDropout}; expected a share from 0 to below 1.`,
      "Common values are 0 to 0.1.",
    );
}

function siteOf(path: string, configuration: OftConfiguration, modules: ModuleTable): OftSite {
  const linear = modules.linears.get(path);
  const width = widthOf(path, modules);
  const { blockCount, blockSize = oftDefaultBlockSize, sharedBlocks } = configuration;
  const extent =
    blockCount === undefined ? nearestDivisor(width, blockSize) : width / nearestDivisor(width, blockCount);
  if (extent < 2)
    throw new DeltafitError(
      "config-invalid",
      `OFT: the blocks of "${path}" would have the extent ${extent}, in which nothing can be rotated.`,
      `Choose blocks that fit the width ${width}.`,
    );
  const blocks = width / extent;
  return {
    key: `${path}.${linear ? "oft_R" : "oft_embedding_R"}.weight`,
    blocks,
    extent,
    rotations: sharedBlocks ? 1 : blocks,
  };
}

/** Width of what is rotated at a module. */
function widthOf(path: string, modules: ModuleTable): number {
  return modules.linears.get(path)?.in ?? modules.embeddings.get(path)?.size ?? 0;
}

/** The divisor of a width nearest to a number, the lower one of two equally near. */
export function nearestDivisor(width: number, number: number): number {
  if (number >= width) return width;
  for (let distance = 0; distance < width; distance++)
    for (const candidate of [number - distance, number + distance])
      if (candidate > 0 && width % candidate === 0) return candidate;
  return width;
}

function specOf({ key, rotations, extent }: OftSite, { initialWeights }: OftConfiguration): ParameterSpec {
  const shape = [rotations, (extent * (extent - 1)) / 2];
  return { key, shape, initial: initialWeights ? zeros(shape) : normal(shape, 0.1) };
}

type Use = Pick<MethodUse, "builder" | "parameter">;

/** Rotations of a site: [rotations, extent, extent]. */
function rotationsOf({ builder, parameter }: Use, site: OftSite, configuration: OftConfiguration): Value {
  const { constrained, exactRotation, neumannTerms } = configuration;
  const given = parameter(site.key);
  const triangles = constrained ? held(builder, given, limitOf(site, configuration)) : given;
  const skew = skewSymmetric(builder, triangles, site);
  return exactRotation ? cayley(builder, skew) : neumannSeries(builder, skew, neumannTerms);
}

/** The largest norm of every S of a module. */
function limitOf({ rotations }: OftSite, { constraint }: OftConfiguration): number {
  return constraint / Math.sqrt(rotations);
}

/** The trained values are shortened as well, so that an update starts from the rotation that was used. */
function holding(sites: readonly OftSite[], configuration: OftConfiguration): UpdateRule {
  const shorten = ({ parameter }: Pick<AppliedUpdate, "parameter">) => {
    for (const site of sites) {
      const values = parameter(site.key);
      const size = values.length / site.rotations;
      for (let start = 0; start < values.length; start += size) {
        const own = values.subarray(start, start + size);
        const norm = Math.sqrt(2 * own.reduce((sum, value) => sum + value * value, 0));
        const limit = limitOf(site, configuration);
        if (norm > limit) own.set(own.map((value) => value * (limit / norm)));
      }
    }
  };
  return { state: [], start: shorten, apply: shorten };
}

/**
 * Upper triangles [n, elements] shortened to the norm that S may have; the gradient is taken as if they had always been
 * within it.
 */
function held(builder: GraphBuilder, triangles: Value, limit: number): Value {
  // Every element stands in S twice.
  const squares = builder.scale(builder.reduceSum(builder.multiply(triangles, triangles), [1]), 2);
  const isWithin = builder.lessOrEqual(squares, builder.scalar(limit * limit));
  const norms = builder.squareRoot(builder.where(isWithin, builder.scalar(1), squares));
  const factors = builder.where(isWithin, builder.scalar(1), builder.divide(builder.scalar(limit), norms));
  const change = builder.subtract(builder.multiply(triangles, factors), triangles);
  return builder.add(triangles, builder.stopGradient(change));
}

/** S [n, extent, extent] from its upper triangle, row by row [n, elements]. */
function skewSymmetric(builder: GraphBuilder, triangles: Value, { extent, rotations }: OftSite): Value {
  const places: number[] = [];
  const signs: number[] = [];
  for (let row = 0; row < extent; row++)
    for (let column = 0; column < extent; column++) {
      const [upper, right] = [Math.min(row, column), Math.max(row, column)];
      const before = upper * extent - (upper * (upper + 1)) / 2;
      places.push(row === column ? 0 : before + right - upper - 1);
      signs.push(Math.sign(column - row));
    }
  const count = extent * extent;
  const elements = builder.gather(
    builder.transposeLast(triangles),
    builder.constant("int64", [count], places),
  );
  const signed = builder.multiply(elements, builder.constant("float32", [count, 1], signs));
  return builder.reshape(builder.transposeLast(signed), [rotations, extent, extent]);
}

/** I + 2 S + 2 S^2 + .. + 2 S^(k - 2) + S^(k - 1), where k is the number of terms; of 3 terms and of 4 to S^3. */
function neumannSeries(builder: GraphBuilder, skew: Value, terms: number): Value {
  const identity = identityMatrix(builder, Number(skew.shape.at(-1) ?? 0));
  let sum = builder.add(identity, builder.scale(skew, 2));
  if (terms === 2) return sum;
  let power = builder.matmul(skew, skew);
  sum = builder.add(sum, builder.scale(power, 2));
  for (let exponent = 3; exponent < terms - 1; exponent++) {
    power = builder.matmul(power, skew);
    sum = builder.add(sum, builder.scale(power, 2));
  }
  return builder.add(sum, builder.matmul(power, skew));
}

function mergeRule(
  path: string,
  site: OftSite,
  configuration: OftConfiguration,
  modules: ModuleTable,
): MergeRule {
  const linear: LinearSite | undefined = modules.linears.get(path);
  if (linear)
    return rotatedWeight(linear, (use, rows) =>
      rotateBlocks(use.builder, rows, use.builder.transposeLast(rotationsOf(use, site, configuration))),
    );
  return {
    stored: modules.parameters.get(`${path}.weight`)?.stored ?? `${path}.weight`,
    merged: (use, table) => rotateBlocks(use.builder, table, rotationsOf(use, site, configuration)),
  };
}
