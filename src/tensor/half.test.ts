import { describe, expect, test } from "vitest";
import { narrowToBfloat16, narrowToFloat16, widenBfloat16, widenFloat16 } from "./half.ts";

const everyPattern = Uint16Array.from({ length: 0x10000 }, (_, index) => index);

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] as number;
}

/** A float32 from its bits. */
function float(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0] as number;
}

/** The value of a float16 pattern straight from the definition of the format. */
function definedFloat16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

describe("float16", () => {
  test("every pattern widens to the value the format defines", () => {
    expect(widenFloat16(everyPattern)).toEqual(Float32Array.from(everyPattern, definedFloat16));
  });

  test("every pattern but NaN survives widening and narrowing", () => {
    const narrowed = narrowToFloat16(widenFloat16(everyPattern));
    const expected = everyPattern.map((half) => ((half & 0x7fff) > 0x7c00 ? (half & 0x8000) | 0x7e00 : half));
    expect(narrowed).toEqual(expected);
  });

  test("halfway between two neighbours goes to the even one, anything else to the nearer one", () => {
    const wrong = [...everyPattern.slice(0, 0x7bff)].filter((half) => {
      const middle = (definedFloat16(half) + definedFloat16(half + 1)) / 2;
      const bits = bitsOf(middle);
      const even = half & 1 ? half + 1 : half;
      const rounded = narrowToFloat16(Float32Array.of(float(bits - 1), middle, float(bits + 1), -middle));
      return rounded.join() !== [half, even, half + 1, even | 0x8000].join();
    });
    expect(wrong).toEqual([]);
  });

  test("limits: the largest value, overflow, underflow, infinities and signed zero", () => {
    const values = [
      65504,
      65519.996,
      65520,
      1e30,
      Infinity,
      -Infinity,
      2 ** -24,
      2 ** -25,
      2 ** -26,
      -0,
      1e-40,
    ];
    expect([...narrowToFloat16(Float32Array.from(values))]).toEqual([
      0x7bff, 0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00, 0x0001, 0x0000, 0x0000, 0x8000, 0x0000,
    ]);
  });
});

describe("bfloat16", () => {
  test("every pattern but NaN survives widening and narrowing", () => {
    const narrowed = narrowToBfloat16(widenBfloat16(everyPattern));
    const expected = everyPattern.map((half) => ((half & 0x7fff) > 0x7f80 ? (half & 0x8000) | 0x7fc0 : half));
    expect(narrowed).toEqual(expected);
  });

  test("rounds to nearest even, also into infinity and among subnormals", () => {
    const bits = [
      0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0xff7f8000, 0x00008000, 0x00008001,
    ];
    const source = new Float32Array(Uint32Array.from(bits).buffer);
    expect([...narrowToBfloat16(source)]).toEqual([
      0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80, 0xff80, 0x0000, 0x0001,
    ]);
  });
});

test("a NaN whose payload lies in the lower bits stays NaN", () => {
  const source = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff).buffer);
  expect([...narrowToFloat16(source)]).toEqual([0x7e00, 0xfe00]);
  expect([...narrowToBfloat16(source)]).toEqual([0x7fc0, 0xffc0]);
});

test("a destination is filled from its start and returned", () => {
  const into = new Float32Array([9, 9, 9]).subarray(1);
  expect(widenBfloat16(Uint16Array.of(0x3f80), into)).toBe(into);
  expect([...into]).toEqual([1, 9]);
});
