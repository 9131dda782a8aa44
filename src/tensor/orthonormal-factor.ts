/**
 * @file The QR decomposition of a float32 matrix by Householder reflections in float64 (Golub and Van Loan, "Matrix
 * Computations", section 5.2), with LAPACK's choice of signs. Knows nothing of models or adapters.
 */
import { addScaled, dot, lengthOf, scaleInPlace } from "./vectors.ts";

/** matrix = q * r, with orthonormal columns of q and an upper triangular r. */
export interface QrDecomposition {
  /** [rows, k], row-major. */
  readonly q: Float32Array;
  /** [k, columns], row-major. */
  readonly r: Float32Array;
}

/**
 * Decomposes a matrix [rows, columns], given row-major.
 * @param rank how many columns of q and rows of r; min(rows, columns) by default.
 */
export function qrDecomposition(
  matrix: Float32Array,
  rows: number,
  columns: number,
  rank = Infinity,
): QrDecomposition {
  const count = Math.min(rank, rows, columns);
  const work = Array.from({ length: columns }, (_, column) =>
    Float64Array.from({ length: rows }, (_unused, row) => matrix[row * columns + column] ?? 0),
  );
  const reflectors = work.slice(0, count).map((column, place) => {
    const v = reflectorOf(column, place);
    for (const other of work.slice(place)) reflect(other, v, place);
    return v;
  });
  const r = new Float32Array(count * columns);
  work.forEach((column, place) => {
    for (let row = 0; row < Math.min(count, place + 1); row++) r[row * columns + place] = column[row] ?? 0;
  });
  const q = new Float32Array(rows * count);
  for (let place = 0; place < count; place++) {
    const column = new Float64Array(rows);
    column[place] = 1;
    for (let step = count - 1; step >= 0; step--) {
      const v = reflectors[step];
      if (v) reflect(column, v, step);
    }
    for (let row = 0; row < rows; row++) q[row * count + place] = column[row] ?? 0;
  }
  return { q, r };
}

/** The unit vector whose reflection leaves of a column, from `start` on, its first element alone; zero for none. */
function reflectorOf(column: Float64Array, start: number): Float64Array {
  const v = column.slice(start);
  const first = v[0] ?? 0;
  const length = lengthOf(v);
  if (length === Math.abs(first)) return v.fill(0);
  v[0] = first + (first < 0 ? -length : length);
  scaleInPlace(v, 1 / lengthOf(v));
  return v;
}

function reflect(column: Float64Array, v: Float64Array, start: number): void {
  const part = column.subarray(start);
  addScaled(part, -2 * dot(v, part), v);
}
