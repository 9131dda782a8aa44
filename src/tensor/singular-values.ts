/**
 * @file The singular value decomposition of a float32 matrix, whole or of its largest values alone. Computed in
 * float64 over the Gram matrix of the shorter side, whose rounding (the square root of float64's) lies below what
 * float32 can hold: Householder tridiagonalisation, eigenvalues by the implicit QL method, eigenvectors by inverse
 * iteration (Golub and Van Loan, "Matrix Computations", sections 8.3 and 8.2.2). Signs are as arbitrary as in every
 * such decomposition, but the same at every call. Knows nothing of models or adapters.
 */
import { DeltafitError, internalError } from "../errors.ts";
import { addScaled, dot, lengthOf, orthogonalise, scaleInPlace, transposeMatrix } from "./vectors.ts";

/** matrix = left * diag(values) * right, with orthonormal columns of `left` and rows of `right`. */
export interface SingularValueDecomposition {
  /** [rows, k], row-major. */
  readonly left: Float32Array;
  /** [k], falling. */
  readonly values: Float32Array;
  /** [k, columns], row-major. */
  readonly right: Float32Array;
}

export interface SingularValueOptions {
  /** How many of the largest singular values; all min(rows, columns) by default. */
  readonly rank?: number | undefined;
}

/**
 * Decomposes a matrix [rows, columns], given row-major. A truncated decomposition costs about as much as the Gram
 * matrix and its tridiagonal form; every further singular value adds little.
 * @throws DeltafitError `not-finite` for a matrix with numbers that are not finite.
 */
export function singularValueDecomposition(
  matrix: Float32Array,
  rows: number,
  columns: number,
  { rank }: SingularValueOptions = {},
): SingularValueDecomposition {
  if (matrix.length !== rows * columns)
    throw internalError(`a matrix [${rows}, ${columns}] of ${matrix.length} elements has no decomposition.`);
  if (!matrix.every(Number.isFinite))
    throw new DeltafitError(
      "not-finite",
      `The singular values of a matrix [${rows}, ${columns}] cannot be found: it has numbers that are not finite.`,
      "Check the weights it comes from.",
    );
  const count = Math.min(rank ?? Infinity, rows, columns);
  const isTall = rows > columns;
  const short = rowsOf(isTall ? transposeMatrix(matrix, rows, columns) : matrix, Math.min(rows, columns));
  const triples = largestTriples(short, Math.max(rows, columns), count);
  const inner = triples.map((triple) => (isTall ? triple.short : triple.long));
  const outer = triples.map((triple) => (isTall ? triple.long : triple.short));
  const left = new Float32Array(rows * count);
  const right = new Float32Array(count * columns);
  outer.forEach((vector, place) => {
    for (let row = 0; row < rows; row++) left[row * count + place] = vector[row] ?? 0;
  });
  inner.forEach((vector, place) => {
    right.set(vector, place * columns);
  });
  return { left, values: Float32Array.from(triples, ({ value }) => value), right };
}

function rowsOf(matrix: Float32Array, count: number): Float32Array[] {
  const length = count === 0 ? 0 : matrix.length / count;
  return Array.from({ length: count }, (_, row) => matrix.subarray(row * length, (row + 1) * length));
}

/** A singular value with its vector of the shorter and of the longer side. */
interface Triple {
  readonly value: number;
  readonly short: Float64Array;
  readonly long: Float64Array;
}

/** The largest singular values of the matrix with these rows, of which there are no more than columns. */
function largestTriples(rows: readonly Float32Array[], columns: number, count: number): Triple[] {
  const gram = rows.map((row, i) => Float64Array.from({ length: i + 1 }, (_, j) => dot(row, rows[j] ?? row)));
  const shortVectors = largestEigenvectors(gram, count);
  const longVectors: Float64Array[] = [];
  let largest = 0;
  const triples = shortVectors.map((short): Triple => {
    const long = new Float64Array(columns);
    rows.forEach((row, i) => {
      addScaled(long, short[i] ?? 0, row);
    });
    const value = lengthOf(long);
    largest = Math.max(largest, value);
    completeBasis(long, longVectors, largest);
    longVectors.push(long);
    return { value, short, long };
  });
  return triples.sort((a, b) => b.value - a.value);
}

/** A share of the largest length below which what is left of a vector is rounding. */
const roundingShare = 1e-12;

/**
 * Makes a vector orthonormal to others; one that lies among them becomes any that does not.
 * @param largest length that such a vector can have.
 */
function completeBasis(vector: Float64Array, others: readonly Float64Array[], largest: number): void {
  const length = lengthOf(vector);
  orthogonalise(vector, others);
  let left = lengthOf(vector);
  // A vector that lost half of its length keeps rounding of the same size along the others: once more takes it out.
  const isExact = left > 0.5 * length && left > roundingShare * largest;
  for (let axis = 0; !(left > roundingShare * largest) && axis < vector.length; axis++) {
    vector.fill(0);
    vector[axis] = 1;
    orthogonalise(vector, others);
    left = lengthOf(vector);
    // The squares of what is left of all axes add up to the dimensions that are free.
    if (left ** 2 > 0.5 / vector.length) break;
    left = 0;
  }
  if (left === 0) throw internalError("a basis has more vectors than dimensions.");
  scaleInPlace(vector, 1 / left);
  if (isExact) return;
  orthogonalise(vector, others);
  scaleInPlace(vector, 1 / lengthOf(vector));
}

/** Orthonormal eigenvectors of the largest eigenvalues of a symmetric matrix, given as its lower triangle's rows. */
function largestEigenvectors(lower: readonly Float64Array[], count: number): Float64Array[] {
  const { diagonal, beside, reflectors } = tridiagonalise(lower);
  const eigenvalues = tridiagonalEigenvalues(diagonal, beside).sort((a, b) => b - a);
  const vectors: Float64Array[] = [];
  for (let place = 0; place < count; place++)
    vectors.push(inverseIteration(diagonal, beside, eigenvalues[place] ?? 0, vectors));
  for (const vector of vectors)
    for (const reflector of reflectors.toReversed())
      addScaled(vector, -2 * dot(reflector, vector.subarray(0, reflector.length)), reflector);
  return vectors;
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** beside[i] stands between i and i + 1; the last is 0. */
  readonly beside: Float64Array;
  /** Unit vectors v, over the first elements each, of the reflections I - 2 v v^T in the order of their use. */
  readonly reflectors: readonly Float64Array[];
}

/** Reduces a symmetric matrix, the rows of its lower triangle, from its last row upwards; the rows are overwritten. */
function tridiagonalise(lower: readonly Float64Array[]): Tridiagonal {
  const size = lower.length;
  const diagonal = new Float64Array(size);
  const beside = new Float64Array(size);
  const reflectors: Float64Array[] = [];
  for (let last = size - 1; last >= 0; last--) {
    const row = lower[last] ?? new Float64Array(last + 1);
    diagonal[last] = row[last] ?? 0;
    if (last === 0) break;
    const v = row.slice(0, last);
    const length = lengthOf(v);
    const corner = v[last - 1] ?? 0;
    const target = corner > 0 ? -length : length;
    beside[last - 1] = last === 1 ? corner : target;
    if (last === 1 || length === 0) continue;
    v[last - 1] = corner - target;
    scaleInPlace(v, 1 / lengthOf(v));
    reflectors.push(v);
    // (I - 2 v v^T) A (I - 2 v v^T) = A - v w^T - w v^T with w = 2 (A v - (v^T A v) v).
    const w = timesSymmetric(lower, v);
    addScaled(w, -dot(v, w), v);
    scaleInPlace(w, 2);
    for (let i = 0; i < last; i++) {
      const target = lower[i];
      if (!target) continue;
      addScaled(target, -(v[i] ?? 0), w.subarray(0, i + 1));
      addScaled(target, -(w[i] ?? 0), v.subarray(0, i + 1));
    }
  }
  return { diagonal, beside, reflectors };
}

/** A v of the leading part of a symmetric matrix, as large as v. */
function timesSymmetric(lower: readonly Float64Array[], v: Float64Array): Float64Array {
  const product = new Float64Array(v.length);
  for (let i = 0; i < v.length; i++) {
    const row = lower[i]?.subarray(0, i);
    if (!row) continue;
    const own = v[i] ?? 0;
    product[i] = (product[i] ?? 0) + dot(row, v.subarray(0, i)) + (lower[i]?.[i] ?? 0) * own;
    addScaled(product, own, row);
  }
  return product;
}

/** Far more steps than the QL method was ever seen to need. */
const maximumSteps = 60;

/** Eigenvalues of a symmetric tridiagonal matrix, in no order, by QL steps with Wilkinson's shift. */
function tridiagonalEigenvalues(diagonal: Float64Array, beside: Float64Array): Float64Array {
  const d = diagonal.slice();
  const e = beside.slice();
  const at = (array: Float64Array, index: number): number => array[index] ?? 0;
  for (let first = 0; first < d.length; first++) {
    for (let step = 0; ; step++) {
      let last = first;
      while (last < d.length - 1) {
        const size = Math.abs(at(d, last)) + Math.abs(at(d, last + 1));
        if (Math.abs(at(e, last)) <= Number.EPSILON * size) break;
        last++;
      }
      if (last === first) break;
      if (step === maximumSteps)
        throw internalError("the eigenvalues of a symmetric matrix do not converge.");
      stepQl(d, e, first, last);
    }
  }
  return d;
}

/** One implicit QL step on the block [first, last]. */
function stepQl(d: Float64Array, e: Float64Array, first: number, last: number): void {
  const at = (array: Float64Array, index: number): number => array[index] ?? 0;
  const half = (at(d, first + 1) - at(d, first)) / (2 * at(e, first));
  const root = Math.hypot(half, 1);
  let bulge = at(d, last) - at(d, first) + at(e, first) / (half + (half < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = last - 1; i >= first; i--) {
    const crossed = sine * at(e, i);
    const beside = cosine * at(e, i);
    const length = Math.hypot(crossed, bulge);
    e[i + 1] = length;
    if (length === 0) {
      d[i + 1] = at(d, i + 1) - shift;
      e[last] = 0;
      return;
    }
    sine = crossed / length;
    cosine = bulge / length;
    const moved = at(d, i + 1) - shift;
    const change = (at(d, i) - moved) * sine + 2 * cosine * beside;
    shift = sine * change;
    d[i + 1] = moved + shift;
    bulge = cosine * change - beside;
  }
  d[first] = at(d, first) - shift;
  e[first] = bulge;
  e[last] = 0;
}

/** Steps of inverse iteration: one finds the direction, the other cleans it. */
const inverseSteps = 2;

/** A unit eigenvector of a tridiagonal matrix, orthogonal to those found before. */
function inverseIteration(
  diagonal: Float64Array,
  beside: Float64Array,
  eigenvalue: number,
  found: readonly Float64Array[],
): Float64Array {
  const solve = shiftedSolver(diagonal, beside, eigenvalue);
  // Any start with a share of every direction will do; the fractional parts of multiples of the golden ratio are one.
  const vector = Float64Array.from(
    diagonal,
    (_, i) => 0.5 + (((i + 1 + 7 * found.length) * 0.6180339887498949) % 1),
  );
  for (let step = 0; step < inverseSteps; step++) {
    solve(vector);
    scaleInPlace(vector, 1 / lengthOf(vector));
    completeBasis(vector, found, 1);
  }
  return vector;
}

/** Solves (T - shift) x = b in place of b: Gaussian elimination of a tridiagonal matrix with row exchanges. */
function shiftedSolver(
  diagonal: Float64Array,
  beside: Float64Array,
  shift: number,
): (b: Float64Array) => void {
  const size = diagonal.length;
  const largest = diagonal.reduce(
    (most, value, i) => Math.max(most, Math.abs(value), Math.abs(beside[i] ?? 0)),
    0,
  );
  // A pivot of zero is what a shift that is an eigenvalue gives: the smallest number that rounding allows stands in.
  const smallest = Number.EPSILON * (largest || 1);
  const pivots = new Float64Array(size);
  const next = new Float64Array(size);
  const afterNext = new Float64Array(size);
  const factors = new Float64Array(size);
  const exchanged = new Uint8Array(size);
  let [pivot, right] = [(diagonal[0] ?? 0) - shift, beside[0] ?? 0];
  for (let i = 0; i < size; i++) {
    const below = i + 1 < size ? (beside[i] ?? 0) : 0;
    const nextPivot = (diagonal[i + 1] ?? 0) - shift;
    const nextRight = beside[i + 1] ?? 0;
    if (Math.abs(below) > Math.abs(pivot)) {
      const factor = pivot / below;
      exchanged[i] = 1;
      factors[i] = factor;
      pivots[i] = below;
      next[i] = nextPivot;
      afterNext[i] = nextRight;
      [pivot, right] = [right - factor * nextPivot, -factor * nextRight];
    } else {
      const kept = Math.abs(pivot) < smallest ? smallest : pivot;
      const factor = below / kept;
      factors[i] = factor;
      pivots[i] = kept;
      next[i] = right;
      [pivot, right] = [nextPivot - factor * right, nextRight];
    }
  }
  return (b) => {
    for (let i = 0; i + 1 < size; i++) {
      const [own, below] = [b[i] ?? 0, b[i + 1] ?? 0];
      const factor = factors[i] ?? 0;
      b[i] = exchanged[i] ? below : own;
      b[i + 1] = exchanged[i] ? own - factor * below : below - factor * own;
    }
    for (let i = size - 1; i >= 0; i--) {
      const known = (next[i] ?? 0) * (b[i + 1] ?? 0) + (afterNext[i] ?? 0) * (b[i + 2] ?? 0);
      b[i] = ((b[i] ?? 0) - known) / (pivots[i] ?? 1);
    }
  };
}
