/** @file Whole numbers with shared scales: rounding, groups along both axes, packing. */
import { expect, test } from "vitest";
import { dequantiseInt4, dequantiseInt8, packInt4, quantiseInt4, quantiseInt8 } from "./integer-groups.ts";
import { TorchGenerator } from "./random.ts";

const shape = [5, 70] as const;
const values = new TorchGenerator(1).normal(350);

test.each([0, 1] as const)("eight bits along axis %d come back within half a step", (axis) => {
  const quantised = quantiseInt8(values, shape, axis);
  expect(quantised.scales).toHaveLength(shape[axis]);
  const restored = dequantiseInt8(quantised, shape, axis);
  for (const [index, value] of values.entries()) {
    const scale = quantised.scales[axis === 0 ? Math.floor(index / 70) : index % 70]!;
    expect(Math.abs(restored[index]! - value)).toBeLessThanOrEqual(scale * 0.501);
  }
});

test.each([
  [0, [1, 70]],
  [1, [5, 3]],
] as const)("four bits in groups along axis %d come back within a step", (axis, scaleShape) => {
  const quantised = quantiseInt4(values, shape, axis, 32);
  expect(quantised.scales).toHaveLength(scaleShape[0] * scaleShape[1]);
  const restored = dequantiseInt4(quantised, shape, axis, 32);
  for (const [index, value] of values.entries()) {
    const [row, column] = [Math.floor(index / 70), index % 70];
    const scale = quantised.scales[axis === 0 ? column : row * 3 + Math.floor(column / 32)]!;
    expect(Math.abs(restored[index]! - value)).toBeLessThanOrEqual(Math.abs(scale) * 1.001);
  }
});

test("the number of largest magnitude is exact in eight bits and in four", () => {
  const row = Float32Array.of(0.5, -4, 1);
  expect(dequantiseInt8(quantiseInt8(row, [1, 3], 0), [1, 3], 0)[1]).toBeCloseTo(-4, 6);
  expect(dequantiseInt4(quantiseInt4(row, [1, 3], 1, 32), [1, 3], 1, 32)).toEqual(
    Float32Array.of(0.5, -4, 1),
  );
});

test("zeros stay zero", () => {
  const zeros = new Float32Array(6);
  expect(dequantiseInt8(quantiseInt8(zeros, [2, 3], 0), [2, 3], 0).map(Math.abs)).toEqual(zeros);
  expect(dequantiseInt4(quantiseInt4(zeros, [2, 3], 1, 2), [2, 3], 1, 2).map(Math.abs)).toEqual(zeros);
});

test("the first of two integers is in the low bits", () => {
  expect([...packInt4(Int8Array.of(1, -8, 7))]).toEqual([0x81, 0x07]);
});
