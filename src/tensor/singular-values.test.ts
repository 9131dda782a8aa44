import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { TorchGenerator } from "./random.ts";
import { singularValueDecomposition } from "./singular-values.ts";
import type { SingularValueDecomposition } from "./singular-values.ts";

function normal(count: number): Float32Array {
  return new TorchGenerator(count).normal(count);
}

/** Row-major product [m, k] [k, n]. */
function product(a: Float32Array, b: Float32Array, inner: number): Float32Array {
  const [rows, columns] = [a.length / inner, b.length / inner];
  return Float32Array.from({ length: rows * columns }, (_, place) => {
    const [row, column] = [Math.floor(place / columns), place % columns];
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (a[row * inner + k] ?? 0) * (b[k * columns + column] ?? 0);
    return sum;
  });
}

function composed({ left, values, right }: SingularValueDecomposition): Float32Array {
  const scaled = left.map((value, place) => value * (values[place % values.length] ?? 0));
  return product(scaled, right, values.length);
}

function transposed(matrix: Float32Array, rows: number): Float32Array {
  const columns = matrix.length / rows;
  return matrix.map((_, place) => matrix[(place % rows) * columns + Math.floor(place / rows)] ?? 0);
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, place) => Math.max(most, Math.abs(value - (b[place] ?? NaN))), 0);
}

/** How far the columns of `left` and the rows of `right` are from orthonormal. */
function distanceFromOrthonormal({ left, values, right }: SingularValueDecomposition): number {
  const count = values.length;
  const identity = Float32Array.from({ length: count * count }, (_, place) =>
    Number(place % (count + 1) === 0),
  );
  const [rows, columns] = [left.length / count, right.length / count];
  return Math.max(
    largestDifference(product(transposed(left, rows), left, rows), identity),
    largestDifference(product(right, transposed(right, count), columns), identity),
  );
}

test.each([
  [1, 1],
  [5, 1],
  [1, 6],
  [2, 2],
  [7, 7],
  [40, 24],
  [24, 40],
])("a matrix [%i, %i] is the product of its parts", (rows, columns) => {
  const matrix = normal(rows * columns);
  const parts = singularValueDecomposition(matrix, rows, columns);
  expect(parts.values).toEqual(parts.values.toSorted((a, b) => b - a));
  expect(largestDifference(composed(parts), matrix)).toBeLessThan(1e-6);
  expect(distanceFromOrthonormal(parts)).toBeLessThan(1e-6);
});

test("singular values are those that numpy finds", () => {
  // numpy.linalg.svd([[1, 2, 3], [4, 5, 6], [7, 8, 10], [-1, 0, 2]], compute_uv=False)
  const { values } = singularValueDecomposition(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 10, -1, 0, 2), 4, 3);
  const expected = Float32Array.of(17.436984282741232, 2.2028674771350567, 0.31456954972769696);
  expect(largestDifference(values, expected)).toBeLessThan(1e-6);
});

test("a truncated decomposition has the largest values, and is the same at every call", () => {
  const matrix = normal(20 * 30);
  const whole = singularValueDecomposition(matrix, 20, 30);
  const truncated = singularValueDecomposition(matrix, 20, 30, { rank: 3 });
  expect([truncated.left.length, truncated.right.length]).toEqual([60, 90]);
  expect(largestDifference(truncated.values, whole.values.slice(0, 3))).toBeLessThan(1e-6);
  expect(largestDifference(truncated.right, whole.right.slice(0, 90))).toBeLessThan(1e-6);
  expect(singularValueDecomposition(matrix, 20, 30, { rank: 3 })).toEqual(truncated);
});

test("a matrix of low rank has zeros behind it, with an orthonormal basis all the same", () => {
  const matrix = product(normal(12 * 2), normal(2 * 9), 2);
  const parts = singularValueDecomposition(matrix, 12, 9);
  const largest = parts.values[0] ?? 0;
  expect(parts.values.slice(2).every((value) => value < 1e-6 * largest)).toBe(true);
  expect(largestDifference(composed(parts), matrix)).toBeLessThan(1e-6 * largest);
  expect(distanceFromOrthonormal(parts)).toBeLessThan(1e-6);
});

test.each([
  ["zero", new Float32Array(12)],
  ["the identity", Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)],
  ["of equal rows", new Float32Array(12).fill(2)],
])("a matrix that is %s", (_what, matrix) => {
  const parts = singularValueDecomposition(matrix, 4, 3);
  expect(largestDifference(composed(parts), matrix)).toBeLessThan(1e-6);
  expect(distanceFromOrthonormal(parts)).toBeLessThan(1e-6);
});

test("values over many orders of magnitude keep their accuracy against the largest", () => {
  const size = 12;
  const basis = singularValueDecomposition(normal(size * size), size, size);
  const values = Float32Array.from({ length: size }, (_, place) => 10 ** (3 - place));
  const matrix = composed({ ...basis, values });
  const parts = singularValueDecomposition(matrix, size, size);
  expect(largestDifference(parts.values, values)).toBeLessThan(2e-4);
  expect(largestDifference(composed(parts), matrix)).toBeLessThan(2e-4);
  expect(distanceFromOrthonormal(parts)).toBeLessThan(1e-6);
});

test("numbers that are not finite are refused", () => {
  expect(failureOf(() => singularValueDecomposition(Float32Array.of(1, NaN), 1, 2))).toEqual({
    code: "not-finite",
    message: "The singular values of a matrix [1, 2] cannot be found: it has numbers that are not finite.",
    hint: "Check the weights it comes from.",
  });
});
