/** @file Vectors and small matrices in host memory: sums in float64, whatever the elements are stored as. */

type Vector = Float32Array | Float64Array;

/** a . b over the length of a, in four running sums so that additions need not wait for one another. */
export function dot(a: Vector, b: Vector): number {
  const whole = a.length - (a.length % 4);
  let [first, second, third, fourth] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    first += (a[i] ?? 0) * (b[i] ?? 0);
    second += (a[i + 1] ?? 0) * (b[i + 1] ?? 0);
    third += (a[i + 2] ?? 0) * (b[i + 2] ?? 0);
    fourth += (a[i + 3] ?? 0) * (b[i + 3] ?? 0);
  }
  for (let i = whole; i < a.length; i++) first += (a[i] ?? 0) * (b[i] ?? 0);
  return first + second + (third + fourth);
}

/** target += factor * addend, over the addend's length. */
export function addScaled(target: Float64Array, factor: number, addend: Vector): void {
  for (let i = 0; i < addend.length; i++) target[i] = (target[i] ?? 0) + factor * (addend[i] ?? 0);
}

export function scaleInPlace(target: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] = (target[i] ?? 0) * factor;
}

/** Euclidean length. */
export function lengthOf(vector: Vector): number {
  return Math.sqrt(dot(vector, vector));
}

/** Takes the parts along orthonormal vectors out of a vector. */
export function orthogonalise(vector: Float64Array, others: readonly Float64Array[]): void {
  for (const other of others) addScaled(vector, -dot(other, vector), other);
}

/** A row-major matrix [rows, columns] as [columns, rows]. */
export function transposeMatrix(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(matrix.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      result[column * rows + row] = matrix[row * columns + column] ?? 0;
  return result;
}

/** The product of row-major matrices [rows, inner] and [inner, columns], summed in float64. */
export function matrixProduct(a: Float32Array, b: Float32Array, inner: number): Float32Array {
  const [rows, columns] = [a.length / inner, b.length / inner];
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const sum = new Float64Array(columns);
    for (let k = 0; k < inner; k++)
      addScaled(sum, a[row * inner + k] ?? 0, b.subarray(k * columns, (k + 1) * columns));
    result.set(sum, row * columns);
  }
  return result;
}
