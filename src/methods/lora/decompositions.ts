/**
 * @file Starts of LoRA that are parts of the frozen matrix W [out, in] itself: PiSSA (Meng et al. 2024, equations 2 to
 * 4), OLoRA (Büyükakyüz 2024, algorithm 1) and LoftQ (Li et al. 2023, algorithm 1). Each sees W and gives A [r, in],
 * B [out, r] and the matrix that stays frozen in W's place.
 */
import { dequantiseBlocks, quantiseBlocks } from "../../tensor/four-bit-blocks.ts";
import { qrDecomposition } from "../../tensor/orthonormal-factor.ts";
import { singularValueDecomposition } from "../../tensor/singular-values.ts";
import { addScaled, matrixProduct, transposeMatrix } from "../../tensor/vectors.ts";
import type { RandomSource } from "../contract.ts";

/** A frozen matrix as a start sees it. */
export interface FrozenMatrix {
  /** W [out, in], row-major. */
  readonly weight: Float32Array;
  readonly out: number;
  readonly in: number;
  readonly rank: number;
  /** s of y = W x + s B A x. */
  readonly factor: number;
}

/** Starts of A [r, in] and B [out, r], and what stays frozen. */
export interface DecomposedMatrix {
  readonly a: Float32Array;
  readonly b: Float32Array;
  readonly weight: Float32Array;
}

/** s B A is W's largest singular part, in equal shares: A = sqrt(S / s) V^T and B = U sqrt(S / s). */
export function principalPart(
  matrix: FrozenMatrix,
  random: RandomSource,
  iterations?: number,
): DecomposedMatrix {
  const { weight, out, in: columns, rank, factor } = matrix;
  const { left, values, right } =
    iterations === undefined
      ? singularValueDecomposition(weight, out, columns, { rank })
      : sketchedDecomposition(matrix, random, iterations);
  const roots = values.map((value) => Math.sqrt(value / factor));
  return withRest(matrix, inShares(left, roots, right));
}

/** s B A is s times the first columns of Q and the first rows of R of W = Q R. */
export function orthonormalPart(matrix: FrozenMatrix): DecomposedMatrix {
  const { q, r } = qrDecomposition(matrix.weight, matrix.out, matrix.in, matrix.rank);
  return withRest(matrix, { a: r, b: q });
}

/** Numbers that share a scale, as in QLoRA's storage. */
const blockSize = 64;

/** W in 4 bits stays frozen, and B A is the largest singular part of what that loses; the two in turns. */
export function quantisationRest(matrix: FrozenMatrix, iterations: number): DecomposedMatrix {
  const { weight, out, in: columns, rank } = matrix;
  let source = weight;
  for (let turn = 1; ; turn++) {
    const rounded = dequantiseBlocks(
      quantiseBlocks(source, blockSize, "nf4"),
      source.length,
      blockSize,
      "nf4",
    );
    const lost = weight.map((value, place) => value - (rounded[place] ?? 0));
    const { left, values, right } = singularValueDecomposition(lost, out, columns, { rank });
    const parts = inShares(left, values.map(Math.sqrt), right);
    if (turn >= iterations) return { ...parts, weight: rounded };
    source = minusProduct({ ...matrix, factor: 1 }, parts);
  }
}

function inShares(left: Float32Array, roots: Float32Array, right: Float32Array) {
  const rank = roots.length;
  const columns = right.length / rank;
  return {
    a: right.map((value, place) => value * (roots[Math.floor(place / columns)] ?? 0)),
    b: left.map((value, place) => value * (roots[place % rank] ?? 0)),
  };
}

type Parts = Pick<DecomposedMatrix, "a" | "b">;

function withRest(matrix: FrozenMatrix, parts: Parts): DecomposedMatrix {
  return { ...parts, weight: minusProduct(matrix, parts) };
}

/** W - s B A */
function minusProduct(
  { weight, out, in: columns, rank, factor }: FrozenMatrix,
  { a, b }: Parts,
): Float32Array {
  const result = new Float32Array(weight.length);
  for (let row = 0; row < out; row++) {
    const sum = Float64Array.from(weight.subarray(row * columns, (row + 1) * columns));
    for (let k = 0; k < rank; k++)
      addScaled(sum, -factor * (b[row * rank + k] ?? 0), a.subarray(k * columns, (k + 1) * columns));
    result.set(sum, row * columns);
  }
  return result;
}

/**
 * The largest singular values of W by a random sketch of its range (Halko et al. 2011, algorithm 4.4, as in torch's
 * `svd_lowrank`): Q spans W G for a random G [in, r], made better by each iteration, and Q^T W is decomposed.
 */
function sketchedDecomposition(
  { weight, out, in: columns, rank }: FrozenMatrix,
  random: RandomSource,
  iterations: number,
) {
  const start = random.normal(columns * rank, 0, 1);
  const range = (from: Float32Array) => qrDecomposition(matrixProduct(weight, from, columns), out, rank).q;
  let basis = range(start);
  for (let turn = 0; turn < iterations; turn++)
    basis = range(qrDecomposition(transposedProduct(weight, basis, columns), columns, rank).q);
  // (W^T Q)^T = U S V^T
  const { left, values, right } = singularValueDecomposition(
    transposedProduct(weight, basis, columns),
    columns,
    rank,
  );
  return {
    left: matrixProduct(basis, transposeMatrix(right, rank, rank), rank),
    values,
    right: transposeMatrix(left, columns, rank),
  };
}

/** a^T b of a [rows, columns] and b with as many rows */
function transposedProduct(a: Float32Array, b: Float32Array, columns: number): Float32Array {
  const rows = a.length / columns;
  return matrixProduct(transposeMatrix(a, rows, columns), b, rows);
}
