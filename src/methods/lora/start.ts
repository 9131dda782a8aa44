/**
 * @file How LoRA's A and B start. By default as PEFT starts them, A random and B zero; or orthogonal to each other, or
 * as parts of the frozen matrix, which then changes.
 */
import { DeltafitError } from "../../errors.ts";
import type { LinearSite } from "../../models/forward.ts";
import { qrDecomposition } from "../../tensor/orthonormal-factor.ts";
import { matrixProduct, transposeMatrix } from "../../tensor/vectors.ts";
import type { BaseChange, ParameterSpec, RandomSource } from "../contract.ts";
import { orthonormalPart, principalPart, quantisationRest } from "./decompositions.ts";
import type { DecomposedMatrix, FrozenMatrix } from "./decompositions.ts";
import type { LoraSite } from "../lora-site.ts";

/**
 * True as PEFT does (A uniform within 1 / sqrt(in), B zero), "gaussian" (A normal with deviation 1 / rank, B zero),
 * false (both random: not the identity, for tests), "orthogonal" (both random, with a product of zero); and those that
 * take A and B out of the frozen matrix: "pissa" (exactly, or from a random sketch that N iterations refine), "olora",
 * "loftq".
 */
export type LoraStart =
  boolean | "gaussian" | "orthogonal" | "pissa" | `pissa_niter_${number}` | "olora" | "loftq";

export interface LoraStartSettings {
  readonly initialWeights: LoraStart;
  /** Turns of quantising and decomposing; "loftq" alone has a use for it. 1 by default. */
  readonly loftqIterations?: number | undefined;
  /** B has a bias of its own. */
  readonly loraBias: boolean;
}

/** The names of starts, as they are written. */
export const loraStarts = ["gaussian", "orthogonal", "pissa", "pissa_niter_N", "olora", "loftq"] as const;

/** The start that a text names; `undefined` for any other text. */
export function loraStart(text: string): LoraStart | undefined {
  const iterations = /^pissa_niter_([0-9]{1,3})$/.exec(text)?.[1];
  if (iterations !== undefined) return `pissa_niter_${Number(iterations)}`;
  return (["gaussian", "orthogonal", "pissa", "olora", "loftq"] as const).find((name) => name === text);
}

/** How a start takes A and B out of the frozen matrix; `undefined` where it leaves the matrix alone. */
function decomposition({
  initialWeights: start,
  loftqIterations = 1,
}: LoraStartSettings): ((matrix: FrozenMatrix, random: RandomSource) => DecomposedMatrix) | undefined {
  if (typeof start === "boolean") return undefined;
  if (start === "pissa") return principalPart;
  if (start === "olora") return orthonormalPart;
  if (start === "loftq") return (matrix) => quantisationRest(matrix, loftqIterations);
  const iterations = /^pissa_niter_(.+)$/.exec(start)?.[1];
  if (iterations === undefined) return undefined;
  return (matrix, random) => principalPart(matrix, random, Number(iterations));
}

/** Whether A and B start as parts of the frozen matrix, which changes. */
function changesBase(settings: LoraStartSettings): boolean {
  return decomposition(settings) !== undefined;
}

/** Whether what stays frozen is the matrix less the start, so that without the start it is the matrix again. */
export function startsAsPart(settings: LoraStartSettings): boolean {
  return changesBase(settings) && settings.initialWeights !== "loftq";
}

/** @throws DeltafitError `config-invalid`; `method-unsupported` where a site cannot start in the way that is asked. */
export function checkStart(
  settings: LoraStartSettings,
  sites: readonly LoraSite[],
  linears: ReadonlyMap<string, LinearSite>,
): void {
  const { initialWeights: start, loftqIterations = 1 } = settings;
  if (!Number.isInteger(loftqIterations) || loftqIterations < 1)
    throw new DeltafitError(
      "config-invalid",
      `LoRA: loftqIterations is ${loftqIterations}; expected a whole number above 0.`,
      "A common value is 1 to 5.",
    );
  const refuse = ({ path }: LoraSite, why: string, hint: string) => {
    throw new DeltafitError(
      "method-unsupported",
      `LoRA: "${path}" cannot start as "${start}": ${why}.`,
      hint,
    );
  };
  for (const site of sites) {
    const { kind, rank } = site;
    // PEFT starts embeddings in its usual way, whatever linear layers do.
    if (kind === "embedding" && start === "loftq")
      refuse(site, "an embedding is not quantised", "Leave embeddings out of the targets.");
    if (kind === "embedding") continue;
    if (start === "orthogonal" && rank % 2 !== 0)
      refuse(site, `the rank is ${rank}, expected an even one`, "Choose another rank.");
    if (!changesBase(settings)) continue;
    const most = Math.min(site.in, site.out);
    if (rank > most)
      refuse(
        site,
        `the rank is ${rank}, and its matrix [${site.out}, ${site.in}] has no more than ${most}`,
        `Choose a rank of at most ${most}.`,
      );
    const tied = linears.get(site.path)?.tiedWeight;
    if (tied !== undefined)
      refuse(
        site,
        `its matrix is ${tied}, which other modules use as it is`,
        "Leave it out of the targets, or start in another way.",
      );
  }
}

/** How the base changes at a site before training. */
export function baseChangesOf(site: LoraSite, settings: LoraStartSettings): BaseChange[] {
  const decompose = decomposition(settings);
  if (!decompose || site.kind === "embedding") return [];
  const { initialWeights, loftqIterations = 1 } = settings;
  const { rank, factor, transposed, out, in: columns } = site;
  const turn = (matrix: Float32Array, rows: number, width: number) =>
    transposed ? transposeMatrix(matrix, rows, width) : matrix;
  return [
    {
      stored: `${site.path}.weight`,
      shape: transposed ? [columns, out] : [out, columns],
      recipe: `${initialWeights} ${rank} ${factor} ${transposed} ${loftqIterations}`,
      starts: [
        { key: site.a, shape: [rank, columns] },
        { key: site.b, shape: [out, rank] },
      ],
      apply(base, random) {
        const weight = turn(base, columns, out);
        const parts = decompose({ weight, out, in: columns, rank, factor }, random);
        return { changed: turn(parts.weight, out, columns), starts: [parts.a, parts.b] };
      },
    },
  ];
}

type Start = ParameterSpec["initial"];

const zeros =
  (count: number): Start =>
  () =>
    new Float32Array(count);
// kaiming_uniform with a = sqrt(5): bound sqrt(6 / ((1 + 5) fan)) = 1 / sqrt(fan)
const uniform =
  (count: number, fan: number): Start =>
  ({ random }) =>
    random.uniform(count, -1 / Math.sqrt(fan), 1 / Math.sqrt(fan));
const normal =
  (count: number, deviation: number): Start =>
  ({ random }) =>
    random.normal(count, 0, deviation);

/** A and B of a site. */
export function lowRankSpecs(site: LoraSite, settings: LoraStartSettings): ParameterSpec[] {
  const { path, rank, in: from, out } = site;
  const { initialWeights } = settings;
  const isRandom = initialWeights === false;
  if (site.kind === "embedding")
    return [
      { key: site.a, shape: [rank, from], initial: isRandom ? normal(rank * from, 1) : zeros(rank * from) },
      { key: site.b, shape: [out, rank], initial: normal(out * rank, 1) },
    ];
  const { a, b } = startsOf(site, settings);
  const bias = {
    key: `${path}.lora_B.bias`,
    shape: [out],
    initial: isRandom ? uniform(out, rank) : zeros(out),
  };
  return [
    { key: site.a, shape: [rank, from], initial: a },
    { key: site.b, shape: [out, rank], initial: b },
    ...(settings.loraBias ? [bias] : []),
  ];
}

function startsOf(site: LoraSite, settings: LoraStartSettings): { readonly a: Start; readonly b: Start } {
  const { rank, in: from, out } = site;
  const { initialWeights } = settings;
  if (changesBase(settings)) {
    const fromChange: Start = (source) => source.fromChange();
    return { a: fromChange, b: fromChange };
  }
  switch (initialWeights) {
    case "gaussian":
      return { a: normal(rank * from, 1 / rank), b: zeros(out * rank) };
    case "orthogonal":
      return { a: orthogonalA(site), b: orthogonalB(site) };
    case false:
      return { a: uniform(rank * from, from), b: uniform(out * rank, rank) };
    default:
      return { a: uniform(rank * from, from), b: zeros(out * rank) };
  }
}

/** Deviation of the random factors of an orthogonal start. */
const orthogonalDeviation = 1 / 10;

/** A [r, in] of rank r / 2: random orthonormal columns [r, r / 2] times normal numbers. */
function orthogonalA({ rank, in: from }: LoraSite): Start {
  return ({ random }) => {
    const { q } = qrDecomposition(random.normal((rank * rank) / 2, 0, 1), rank, rank / 2);
    return matrixProduct(q, random.normal((rank / 2) * from, 0, orthogonalDeviation), rank / 2);
  };
}

/**
 * B [out, r] whose rows are orthogonal to the columns of A: normal numbers times an orthonormal basis of what A leaves
 * free, so that B A is zero while neither is.
 */
function orthogonalB({ a, rank, in: from, out }: LoraSite): Start {
  return ({ random, earlier }) => {
    const half = rank / 2;
    // Of [columns of A | identity], the second half of Q's columns span what the first half does not.
    const columns = new Float32Array(rank * (half + rank));
    const first = earlier(a);
    for (let row = 0; row < rank; row++) {
      for (let column = 0; column < half; column++)
        columns[row * (half + rank) + column] = first[row * from + column] ?? 0;
      columns[row * (half + rank) + half + row] = 1;
    }
    const { q } = qrDecomposition(columns, rank, half + rank);
    const free = transposeMatrix(q, rank, rank).subarray(half * rank);
    return matrixProduct(random.normal(out * half, 0, orthogonalDeviation), free, half);
  };
}
