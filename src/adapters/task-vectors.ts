/**
 * @file Arithmetic on task vectors, tensors of one shape of which each stands for a task: weighted sums, pruning by
 * magnitude, random pruning (DARE, Yu et al. 2023, "Language Models are Super Mario", section 3) and election of signs
 * (TIES, Yadav et al. 2023, "TIES-Merging", section 4). Numbers are rounded to float32 where torch rounds them, in the
 * order of PEFT's utils/merge_utils.py. Knows no adapter.
 */
import { internalError } from "../errors.ts";

/** Whether the majority sign is that of the summed values, or the more frequent one. */
export const majoritySignMethods = ["total", "frequency"] as const;
export type MajoritySignMethod = (typeof majoritySignMethods)[number];

/** What is drawn for random pruning: ones with a probability, else zeros. */
export interface MaskSource {
  bernoulli(count: number, probability: number): Uint8Array;
}

export type SparsifyMethod = "none" | "magnitude" | "random";

export interface TaskArithmetic {
  /** How entries are dropped before anything else. */
  readonly sparsify: SparsifyMethod;
  /** Share of the entries that stay. */
  readonly density: number;
  /** Add only entries of the majority's sign, and divide by their number; left out, add all. */
  readonly majoritySign: MajoritySignMethod | undefined;
  readonly masks: MaskSource;
}

/**
 * One task vector from several.
 * @param vectors at least one, all of one length.
 * @param weights one for each.
 */
export function combineTaskVectors(
  vectors: readonly Float32Array[],
  weights: readonly number[],
  { sparsify, density, majoritySign, masks }: TaskArithmetic,
): Float32Array {
  const [first] = vectors;
  if (first === undefined || vectors.length !== weights.length)
    throw internalError(`${vectors.length} task vectors with ${weights.length} weights.`);
  const sparse = vectors.map((vector) => sparsified(vector, sparsify, density, masks));
  const factors = weights.map(Math.fround);
  if (majoritySign === undefined) return weightedSum(sparse, factors);
  return disjointMean(sparse, factors, majoritySign);
}

function sparsified(
  vector: Float32Array,
  sparsify: SparsifyMethod,
  density: number,
  masks: MaskSource,
): Float32Array {
  if (sparsify === "none" || density >= 1) return vector;
  return sparsify === "magnitude" ? largest(vector, density) : randomlyKept(vector, density, masks);
}

/** The entries of largest magnitude, the others zero; of equal ones the first stay. */
function largest(vector: Float32Array, density: number): Float32Array {
  const count = Math.trunc(density * vector.length);
  const order = Uint32Array.from(vector.keys()).sort(
    (a, b) => Math.abs(vector[b] ?? 0) - Math.abs(vector[a] ?? 0) || a - b,
  );
  const kept = new Float32Array(vector.length);
  for (const index of order.subarray(0, count)) kept[index] = vector[index] ?? 0;
  return kept;
}

/** Entries kept at random and divided by the density, so that the expected vector stays. */
function randomlyKept(vector: Float32Array, density: number, masks: MaskSource): Float32Array {
  const mask = masks.bernoulli(vector.length, density);
  const divisor = Math.fround(density);
  return vector.map((value, index) => (mask[index] === 1 ? value / divisor : 0));
}

function weightedSum(vectors: readonly Float32Array[], factors: readonly number[]): Float32Array {
  const sum = new Float32Array(vectors[0]?.length ?? 0);
  for (const [task, vector] of vectors.entries()) {
    const factor = factors[task] ?? 0;
    for (let at = 0; at < sum.length; at++)
      sum[at] = (sum[at] ?? 0) + Math.fround(factor * (vector[at] ?? 0));
  }
  return sum;
}

/** The weighted entries that agree with the majority, divided by how many agree. A sum of zero counts as positive. */
function disjointMean(
  vectors: readonly Float32Array[],
  factors: readonly number[],
  method: MajoritySignMethod,
): Float32Array {
  const mean = new Float32Array(vectors[0]?.length ?? 0);
  for (let at = 0; at < mean.length; at++) {
    let balance = 0;
    for (const vector of vectors) {
      const value = vector[at] ?? 0;
      balance = Math.fround(balance + (method === "total" ? value : Math.sign(value)));
    }
    const majority = balance >= 0 ? 1 : -1;
    let [sum, agreeing] = [0, 0];
    for (const [task, vector] of vectors.entries()) {
      const value = vector[at] ?? 0;
      if (Math.sign(value) !== majority) continue;
      sum = Math.fround(sum + Math.fround((factors[task] ?? 0) * value));
      agreeing++;
    }
    mean[at] = sum / Math.max(1, agreeing);
  }
  return mean;
}
