/**
 * @file BOFT (Liu et al. 2024, "Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization", section 4): a
 * layer's input is rotated by a product of sparse rotations, y = s * (W R^T x) + b with R = B_m .. B_1. Each factor is
 * block-diagonal between a permutation and its inverse, as in a fast Fourier transform, so that few blocks reach all
 * elements. A block is the Cayley transform of the skew part of a trained matrix. The matrices start at zero and s at
 * one, so that training starts from the base. Merging multiplies W by R^T and its rows by s.
 */
import { DeltafitError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { BoundMethod, Method, MethodUse, ParameterSpec } from "./contract.ts";
import { normal, ones, zeros } from "./initial.ts";
import { linearSites } from "./linear-sites.ts";
import { cayley, dropBlocks, rotateBlocks, rotatedWeight } from "./rotation.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import type { TargetSettings } from "./targets.ts";

export interface BoftConfiguration extends TargetSettings {
  /** Extent of a block. 4 where neither this nor the number of blocks is given. */
  readonly blockSize?: number | undefined;
  /** Blocks of a layer, in place of their extent. */
  readonly blockCount?: number | undefined;
  /** Factors of the rotation; 1 is block-diagonal. */
  readonly butterflyFactors: number;
  /** Factors that files name where they hold but one. */
  readonly declaredFactors?: number | undefined;
  /** Share of the blocks of one factor that are left unrotated while training. */
  readonly dropout: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** True as above; false starts with random rotations and scales: not the identity, for tests. */
  readonly initialWeights: boolean;
}

export const boftDefaults = {
  butterflyFactors: 1,
  dropout: 0,
  bias: "none",
  initialWeights: true,
} as const satisfies Partial<BoftConfiguration>;

export const boftDefaultBlockSize = 4;

interface BoftSite {
  readonly linear: LinearSite;
  readonly blocks: number;
  readonly extent: number;
  readonly factors: number;
  /** Keys of the trained matrices [factors, blocks, extent, extent] and of the scales [out, 1]. */
  readonly matrices: string;
  readonly scales: string;
}

export const boft: Method<BoftConfiguration> = {
  type: "BOFT",
  summary: "BOFT: trained rotations of a layer's input in butterfly factors (Liu et al. 2024)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const sites = new Map(
      [...linearSites(configuration, modules)].map(([path, linear]) => [path, siteOf(linear, configuration)]),
    );
    const { modulesToSave = [], bias, dropout } = configuration;
    const saved = savedModules({ modulesToSave, bias, adapted: [...sites.keys()] }, modules);
    return {
      parameters: [
        ...[...sites.values()].flatMap((site) => specsOf(site, configuration)),
        ...saved.parameters,
      ],
      hooks: (use) => ({
        linear({ path }, x, next) {
          const site = sites.get(path);
          if (!site) return next(x);
          // Of all factors together as many blocks are left out as the share of one has.
          const blocks = dropBlocks(use, blocksOf(use, site), dropout / site.factors);
          const y = next(use.toward(x, rotate(use.builder, site, blocks, x)));
          return use.toward(y, scaled(use, site, y));
        },
        ...saved.hooks(use),
      }),
      merge: [
        ...[...sites.values()].map((site) =>
          rotatedWeight(
            site.linear,
            (use, rows) => rotateBack(use.builder, site, blocksOf(use, site), rows),
            (use, rows) => use.builder.multiply(rows, use.parameter(site.scales)),
          ),
        ),
        ...saved.merge,
      ],
    };
  },
};

function checkSettings(configuration: BoftConfiguration): void {
  const { blockSize, blockCount, butterflyFactors, dropout } = configuration;
  const refuse = (message: string, hint: string) => {
    throw new DeltafitError("config-invalid", `BOFT: ${message}`, hint);
  };
  if (blockSize !== undefined && blockCount !== undefined)
    refuse("blockSize and blockCount exclude each other.", "Give one: the other follows from it.");
  for (const [name, value] of Object.entries({ blockSize, blockCount, butterflyFactors }))
    if (value !== undefined && !(Number.isInteger(value) && value > 0))
      refuse(
        `${name} is ${value}; expected a whole number above 0.`,
        "Common blocks have the extent 4 or 8, common rotations 1 to 4 factors.",
      );
  if (!(dropout >= 0 && dropout < 1))
    refuse(`dropout is ${dropout}; expected a share from 0 to below 1.`, "Common values are 0 to 0.1.");
}

function siteOf(linear: LinearSite, configuration: BoftConfiguration): BoftSite {
  const { path, in: width } = linear;
  const { blockCount, blockSize = boftDefaultBlockSize, butterflyFactors: factors } = configuration;
  const extent = blockCount === undefined ? blockSize : width / blockCount;
  const blocks = blockCount ?? width / blockSize;
  const refuse = (message: string, hint: string): never => {
    throw new DeltafitError("config-invalid", `BOFT: ${message}`, hint);
  };
  if (!Number.isInteger(extent) || !Number.isInteger(blocks) || extent < 2)
    refuse(
      `the width ${width} of "${path}" is not made of ${
        blockCount === undefined ? `blocks of ${blockSize}` : `${blockCount} blocks of two elements or more`
      }.`,
      "Choose blocks that divide the widths of all targets.",
    );
  if (factors > 1 && (extent % 2 !== 0 || blocks % 2 ** (factors - 1) !== 0))
    refuse(
      `${factors} factors need blocks of even extent whose number is a multiple of ${2 ** (factors - 1)}; "${path}" has ${blocks} of the extent ${extent}.`,
      "Choose fewer factors, or other blocks.",
    );
  return { linear, blocks, extent, factors, matrices: `${path}.boft_R`, scales: `${path}.boft_s` };
}

function specsOf(site: BoftSite, { initialWeights }: BoftConfiguration): ParameterSpec[] {
  const { factors, blocks, extent, linear } = site;
  const matrices = [factors, blocks, extent, extent];
  const scales = [linear.out, 1];
  return [
    {
      key: site.matrices,
      shape: matrices,
      initial: initialWeights ? zeros(matrices) : normal(matrices, 0.1),
    },
    {
      key: site.scales,
      shape: scales,
      initial: initialWeights ? ones(scales) : ({ random }) => random.normal(linear.out, 1, 0.1),
    },
  ];
}

type Use = Pick<MethodUse, "builder" | "parameter">;

/** The rotations of all blocks of all factors: [factors * blocks, extent, extent]. */
function blocksOf({ builder, parameter }: Use, { factors, blocks, extent, matrices }: BoftSite): Value {
  const all = builder.reshape(parameter(matrices), [factors * blocks, extent, extent]);
  return cayley(builder, builder.scale(builder.subtract(all, builder.transposeLast(all)), 0.5));
}

/** Rows of x times R: the last factor stands first. */
function rotate(builder: GraphBuilder, site: BoftSite, blocks: Value, x: Value): Value {
  let rotated = x;
  for (let factor = site.factors - 1; factor >= 0; factor--)
    rotated = applyFactor(builder, site, factor, blocks, rotated);
  return rotated;
}

/** Rows of x times R^T. */
function rotateBack(builder: GraphBuilder, site: BoftSite, blocks: Value, x: Value): Value {
  const turned = builder.transposeLast(blocks);
  let rotated = x;
  for (let factor = 0; factor < site.factors; factor++)
    rotated = applyFactor(builder, site, factor, turned, rotated);
  return rotated;
}

/** Rows of x times P D P^T, where D has one factor's blocks. */
function applyFactor(builder: GraphBuilder, site: BoftSite, factor: number, all: Value, x: Value): Value {
  const blocks = builder.slice(all, 0, factor * site.blocks, (factor + 1) * site.blocks);
  const ordered = permute(builder, site, factor, x, "into");
  return permute(builder, site, factor, rotateBlocks(builder, ordered, blocks), "out-of");
}

/**
 * The butterfly's permutation. Factor i mixes groups of 2^i blocks: cut into halves of blocks, a group is put in the
 * order of every second half and then the others, and back. Factor 0 leaves the order as it is.
 */
function permute(
  builder: GraphBuilder,
  { blocks, extent }: BoftSite,
  factor: number,
  x: Value,
  direction: "into" | "out-of",
): Value {
  if (factor === 0) return x;
  const [rows = 0, width = 0] = x.shape;
  const groups = blocks / 2 ** factor;
  const pairs = 2 ** factor;
  const halves = direction === "into" ? [2, pairs] : [pairs, 2];
  const cut = builder.reshape(x, [rows, groups, ...halves, extent / 2]);
  return builder.reshape(builder.transpose(cut, [0, 1, 3, 2, 4]), [rows, width]);
}

/** s * (y - b) + b */
function scaled({ builder, parameter, base }: MethodUse, { linear, scales }: BoftSite, y: Value): Value {
  const factors = builder.reshape(parameter(scales), [linear.out]);
  if (!linear.bias) return builder.multiply(y, factors);
  const bias = base(`${linear.path}.bias`);
  return builder.add(builder.multiply(builder.subtract(y, bias), factors), bias);
}
