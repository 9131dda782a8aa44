/** @file Blocks of four bits against bitsandbytes' definition: codes, ties, short blocks, zeros. */
import { expect, test } from "vitest";
import { dequantiseBlocks, fourBitCodes, quantiseBlocks } from "./four-bit-blocks.ts";
import { TorchGenerator } from "./random.ts";

test.each(["nf4", "fp4"] as const)("%s takes the nearest code of every number", (kind) => {
  const values = new TorchGenerator(1).normal(1000);
  const blocks = quantiseBlocks(values, 64, kind);
  const restored = dequantiseBlocks(blocks, values.length, 64, kind);
  for (const [index, value] of values.entries()) {
    const scale = blocks.scales[Math.floor(index / 64)]!;
    const nearest = Math.min(...fourBitCodes[kind].map((code) => Math.abs(code * scale - value)));
    expect(Math.abs(restored[index]! - value)).toBeCloseTo(nearest, 6);
  }
});

test.each(["nf4", "fp4"] as const)("%s changes its code just above the middle of two neighbours", (kind) => {
  const codes = [...fourBitCodes[kind]].sort((one, other) => one - other);
  const middles = codes.slice(1).map((code, index) => Math.fround(code + codes[index]!) / 2);
  const beside = (value: number, sign: number) =>
    value === 0 ? sign * 2 ** -100 : Math.fround(value + sign * Math.abs(value) * 2 ** -23);
  const values = [...codes, ...middles.flatMap((value) => [beside(value, -1), value, beside(value, 1)])];
  // Beside a one, every number is in units of its block's scale.
  const pairs = Float32Array.from(values.flatMap((value) => [1, value]));
  const restored = dequantiseBlocks(quantiseBlocks(pairs, 2, kind), pairs.length, 2, kind);
  for (const [index, value] of values.entries()) {
    const above = middles.filter((middle) => value > middle).length;
    expect([value, restored[2 * index + 1]]).toEqual([value, codes[above]]);
  }
});

test("the first of two numbers is in the high bits, and the partner of an odd last one is zero", () => {
  const { packed, scales } = quantiseBlocks(Float32Array.of(-2, 2, 1), 64, "nf4");
  expect([...scales]).toEqual([2]);
  expect([...packed].map((byte) => byte.toString(16))).toEqual(["f", "c7"]);
});

test("every block has a scale of its own, a short last one too", () => {
  const values = new Float32Array(130).fill(0.5).fill(-3, 64, 128).fill(0.25, 128);
  const { packed, scales } = quantiseBlocks(values, 64, "nf4");
  expect([...scales]).toEqual([0.5, 3, 0.25]);
  expect(dequantiseBlocks({ packed, scales }, 130, 64, "nf4")).toEqual(values);
});

test("zeros stay zero", () => {
  const zeros = new Float32Array(70);
  for (const kind of ["nf4", "fp4"] as const)
    expect(
      dequantiseBlocks(quantiseBlocks(zeros, 64, kind), 70, 64, kind).every((value) => value === 0),
    ).toBe(true);
});
