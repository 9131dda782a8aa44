import { expect, test } from "vitest";
import { qrDecomposition } from "./orthonormal-factor.ts";
import { TorchGenerator } from "./random.ts";
import { matrixProduct, transposeMatrix } from "./vectors.ts";

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((most, value, place) => Math.max(most, Math.abs(value - (b[place] ?? NaN))), 0);
}

test.each([
  [6, 6],
  [9, 4],
  [4, 9],
  [1, 3],
])("a matrix [%i, %i] is the product of orthonormal columns and a triangle", (rows, columns) => {
  const matrix = new TorchGenerator(rows).normal(rows * columns);
  const { q, r } = qrDecomposition(matrix, rows, columns);
  const count = Math.min(rows, columns);
  expect(largestDifference(matrixProduct(q, r, count), matrix)).toBeLessThan(1e-6);
  const identity = Float32Array.from({ length: count * count }, (_, place) =>
    Number(place % (count + 1) === 0),
  );
  expect(largestDifference(matrixProduct(transposeMatrix(q, rows, count), q, rows), identity)).toBeLessThan(
    1e-6,
  );
  for (let row = 1; row < count; row++)
    expect(r.slice(row * columns, row * columns + row)).toEqual(new Float32Array(row));
  const first = qrDecomposition(matrix, rows, columns, 1);
  expect(first.r).toEqual(r.slice(0, columns));
});

test("signs are LAPACK's", () => {
  // numpy.linalg.qr([[3, 1], [4, 2]])
  const { q, r } = qrDecomposition(Float32Array.of(3, 1, 4, 2), 2, 2);
  expect(largestDifference(q, Float32Array.of(-0.6, -0.8, -0.8, 0.6))).toBeLessThan(1e-7);
  expect(largestDifference(r, Float32Array.of(-5, -2.2, 0, 0.4))).toBeLessThan(1e-6);
});
