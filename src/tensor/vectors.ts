/** @file Vectors in host memory: sums in float64, whatever the elements are stored as. Knows no matrices. */

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
