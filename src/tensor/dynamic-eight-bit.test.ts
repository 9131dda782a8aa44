/** @file The dynamic eight-bit codes: their table, and numbers that come back within its precision. */
import { expect, test } from "vitest";
import {
  dequantiseDynamic,
  dynamicCodes,
  nestScales,
  quantiseDynamic,
  unnestScales,
} from "./dynamic-eight-bit.ts";
import { TorchGenerator } from "./random.ts";

test("the codes rise from -0.993 over zero to one", () => {
  expect(dynamicCodes).toHaveLength(256);
  expect(dynamicCodes.every((code, index) => index === 0 || code > dynamicCodes[index - 1]!)).toBe(true);
  expect([dynamicCodes[0], dynamicCodes[127], dynamicCodes[255]]).toEqual([Math.fround(-0.99296875), 0, 1]);
});

test("numbers come back within a part of their magnitude, and the largest exactly", () => {
  const values = new TorchGenerator(2).normal(700);
  const blocks = quantiseDynamic(values, 256);
  const restored = dequantiseDynamic(blocks, 256);
  for (const [index, value] of values.entries()) {
    const scale = blocks.scales[Math.floor(index / 256)]!;
    expect(Math.abs(restored[index]! - value)).toBeLessThan(0.01 * scale);
  }
  expect(dequantiseDynamic(quantiseDynamic(Float32Array.of(0.5, 3), 256), 256)[1]).toBe(3);
});

test("a block of zeros stays zero", () => {
  expect([...dequantiseDynamic(quantiseDynamic(new Float32Array(3), 256), 256)]).toEqual([0, 0, 0]);
});

test("scales come back near themselves; those that are all alike exactly", () => {
  const scales = new TorchGenerator(4).normal(300).map((value) => 2 + Math.abs(value));
  const nested = nestScales(scales, 256);
  expect([nested.codes.length, nested.scales.length]).toEqual([300, 2]);
  expect(nested.offset).toBeCloseTo(scales.reduce((sum, scale) => sum + scale, 0) / 300, 6);
  const restored = unnestScales(nested, 256);
  for (const [index, scale] of scales.entries())
    expect(Math.abs(restored[index]! - scale)).toBeLessThan(0.01 * nested.scales[Math.floor(index / 256)]!);
  const alike = new Float32Array(5).fill(0.3);
  expect(unnestScales(nestScales(alike, 256), 256)).toEqual(alike);
  expect(nestScales(new Float32Array(0), 256).offset).toBe(0);
});
