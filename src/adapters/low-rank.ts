/**
 * @file A change of a matrix as LoRA's two factors, B [out, rank] times A [rank, in], by its largest singular values
 * (Eckart and Young 1936: no other factors of that rank come nearer). Knows no adapter.
 */
import { singularValueDecomposition } from "../tensor/singular-values.ts";

/** A change [out, in] of a module's matrix, row-major. */
export interface Change {
  readonly values: Float32Array;
  readonly out: number;
  readonly in: number;
}

/** Two matrices whose product is a change. */
export interface LowRankFactors {
  readonly rank: number;
  /** [rank, in] */
  readonly a: Float32Array;
  /** [out, rank] */
  readonly b: Float32Array;
}

/** How far factors are from the change they stand for. */
export interface ApproximationError {
  /** Frobenius norm of the difference over that of the change; 0 where both are zero. */
  readonly relative: number;
  /** Largest difference of an entry. */
  readonly largest: number;
}

/** Share of a change's energy, the sum of its squared singular values, that the rank has to hold. */
export interface EnergyShare {
  readonly energy: number;
}

/** The nearest factors of a rank, or of the smallest rank that holds a share of the change's energy. */
export function factorise(change: Change, wanted: number | EnergyShare): LowRankFactors {
  const { values, out, in: columns } = change;
  const whole = Math.min(out, columns);
  const limit = typeof wanted === "number" ? { rank: Math.min(wanted, whole) } : {};
  const { left, values: sizes, right } = singularValueDecomposition(values, out, columns, limit);
  const rank = typeof wanted === "number" ? Math.min(wanted, whole) : rankOfEnergy(sizes, wanted.energy);
  const width = sizes.length;
  const b = new Float32Array(out * rank);
  for (let row = 0; row < out; row++)
    for (let k = 0; k < rank; k++) b[row * rank + k] = (left[row * width + k] ?? 0) * (sizes[k] ?? 0);
  return { rank, a: Float32Array.from(right.subarray(0, rank * columns)), b };
}

/** The smallest number of singular values, one at least, whose squares make up the share. */
function rankOfEnergy(sizes: ArrayLike<number>, share: number): number {
  const squares = Array.from(sizes, (size) => size * size);
  const wanted = share * squares.reduce((a, b) => a + b, 0);
  let sum = 0;
  for (const [index, square] of squares.entries()) {
    sum += square;
    if (sum >= wanted) return index + 1;
  }
  return squares.length;
}

/** scale * B A: [out, in]. */
export function productOf({ rank, a, b }: LowRankFactors, scale = 1): Float32Array {
  const [columns, rows] = [a.length / rank, b.length / rank];
  const product = new Float32Array(rows * columns);
  const sums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let k = 0; k < rank; k++) {
      const factor = b[row * rank + k] ?? 0;
      for (let at = 0; at < columns; at++) sums[at] = (sums[at] ?? 0) + factor * (a[k * columns + at] ?? 0);
    }
    for (let at = 0; at < columns; at++) product[row * columns + at] = Math.fround(sums[at] ?? 0) * scale;
  }
  return product;
}

/** How far the product of factors is from a change. */
export function approximationError({ values }: Change, factors: LowRankFactors): ApproximationError {
  const product = productOf(factors);
  let [squared, whole, largest] = [0, 0, 0];
  for (const [index, value] of values.entries()) {
    const difference = Math.abs(value - (product[index] ?? 0));
    squared += difference * difference;
    whole += value * value;
    largest = Math.max(largest, difference);
  }
  return { relative: whole === 0 ? Math.sqrt(squared) : Math.sqrt(squared / whole), largest };
}

/**
 * Factors with every entry within the quantile of all their entries and its negative (PEFT's `svd_clamp`). The entries
 * count with their signs, which a decomposition is free to choose: the bound depends on them.
 */
export function clampFactors({ rank, a, b }: LowRankFactors, quantile: number): LowRankFactors {
  const sorted = new Float32Array(b.length + a.length);
  sorted.set(b);
  sorted.set(a, b.length);
  sorted.sort();
  const place = Math.fround(quantile) * (sorted.length - 1);
  const below = Math.floor(place);
  const [low, high] = [sorted[below] ?? 0, sorted[Math.min(below + 1, sorted.length - 1)] ?? 0];
  const bound = Math.fround(low + (high - low) * (place - below));
  // As torch's clamp with both bounds the wrong way round: the upper one decides.
  const clamp = (value: number): number => Math.min(Math.max(value, -bound), bound);
  return { rank, a: a.map(clamp), b: b.map(clamp) };
}

/** Rows of a matrix [rows, columns] as columns: [columns, rows]. */
export function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = values[row * columns + column] ?? 0;
  return turned;
}
