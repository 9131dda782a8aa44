/** @file The algebra of extents: canonical text, exact division, values from actual shapes. */
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import {
  addDimensions,
  bindDimensions,
  broadcastShapes,
  divideDimensions,
  evaluateDimension,
  multiplyDimensions,
  sameShape,
  sizeOf,
  subtractDimensions,
  symbol,
  symbolsOf,
  termsOf,
} from "./dimension.ts";
import type { Dimension, Shape } from "./dimension.ts";

const [batch, length] = [symbol("batch"), symbol("length")];

test("a symbol is a plain name", () => {
  expect(symbol("past_length2")).toBe("past_length2");
  expect(failureOf(() => symbol("2x"))).toEqual({
    code: "internal",
    message: 'internal: "2x" is no name for a dimension.',
    hint: "This is a defect of deltafit; please report it.",
  });
  expect(failureOf(() => symbol("a+b")).message).toBe('internal: "a+b" is no name for a dimension.');
  expect(failureOf(() => symbol("")).message).toBe('internal: "" is no name for a dimension.');
});

describe("equal extents are the same text, however they came about", () => {
  test.each<[Dimension, Dimension]>([
    [addDimensions(2, 3), 5],
    [addDimensions(), 0],
    [addDimensions(length, 4), "length+4"],
    [addDimensions(4, length), "length+4"],
    [addDimensions(length, batch), "batch+length"],
    [addDimensions(length, length), "2*length"],
    [addDimensions(length, 4, subtractDimensions(0, length)), 4],
    [subtractDimensions(7, 9), -2],
    [subtractDimensions(length, length), 0],
    [subtractDimensions(length, 4), "length+-4"],
    [subtractDimensions(0, length), "-1*length"],
    [subtractDimensions(addDimensions(length, 4), 4), "length"],
    [subtractDimensions(batch, length), "batch+-1*length"],
    [multiplyDimensions(), 1],
    [multiplyDimensions(2, 3, 4), 24],
    [multiplyDimensions(length, batch), "batch*length"],
    [multiplyDimensions(batch, length, batch), "batch*batch*length"],
    [multiplyDimensions(2, length, 3), "6*length"],
    [multiplyDimensions(length, 0), 0],
    [multiplyDimensions(addDimensions(length, 4), batch), "4*batch+batch*length"],
    [multiplyDimensions(addDimensions(length, 1), subtractDimensions(length, 1)), "length*length+-1"],
    [multiplyDimensions(addDimensions(batch, length), 2), "2*batch+2*length"],
    [sizeOf([batch, 2, length, 3]), "6*batch*length"],
    [sizeOf([]), 1],
  ])("%s = %s", (found, expected) => {
    expect(found).toBe(expected);
  });
});

test("sums and products agree with their values", () => {
  const values = new Map([
    ["batch", 3],
    ["length", 5],
  ]);
  const extents: Dimension[] = [0, 1, 4, batch, length, "length+4", "2*batch", "batch*length+-2*length+7"];
  for (const a of extents)
    for (const b of extents) {
      const [x, y] = [evaluateDimension(a, values), evaluateDimension(b, values)];
      expect(evaluateDimension(addDimensions(a, b), values)).toBe(x + y);
      expect(evaluateDimension(subtractDimensions(a, b), values)).toBe(x - y);
      expect(evaluateDimension(multiplyDimensions(a, b), values)).toBe(x * y);
      expect(addDimensions(a, b)).toBe(addDimensions(b, a));
      expect(multiplyDimensions(a, b)).toBe(multiplyDimensions(b, a));
      expect(subtractDimensions(addDimensions(a, b), b)).toBe(a);
      if (termsOf(b).length === 1) expect(divideDimensions(multiplyDimensions(a, b), b)).toBe(a);
    }
});

test("division is exact or undefined", () => {
  expect(divideDimensions("6*batch*length", "2*length")).toBe("3*batch");
  expect(divideDimensions("4*batch+batch*length", batch)).toBe("length+4");
  expect(divideDimensions(12, 4)).toBe(3);
  expect(divideDimensions(0, length)).toBe(0);
  expect(divideDimensions("length+4", "length+4")).toBe(1);
  expect(divideDimensions(12, 5)).toBeUndefined();
  expect(divideDimensions("3*length", 2)).toBeUndefined();
  expect(divideDimensions("length+4", length)).toBeUndefined();
  expect(divideDimensions(length, batch)).toBeUndefined();
  expect(divideDimensions(length, "length+4")).toBeUndefined();
  expect(divideDimensions(length, 0)).toBeUndefined();
});

test("an extent tells its symbols and terms", () => {
  expect(symbolsOf("length*length+batch*length+4")).toEqual(["batch", "length"]);
  expect(symbolsOf(4)).toEqual([]);
  expect(termsOf("-2*batch*length+7")).toEqual([
    { coefficient: -2, symbols: ["batch", "length"] },
    { coefficient: 7, symbols: [] },
  ]);
  expect(termsOf(0)).toEqual([]);
});

test("an extent without the value of its symbol has none", () => {
  expect(failureOf(() => evaluateDimension("2*batch", new Map())).message).toBe(
    'internal: the dimension "batch" has no value.',
  );
});

describe("values of symbols from actual extents", () => {
  test("single symbols are solved, the rest is checked", () => {
    const values = new Map<string, number>();
    expect(bindDimensions([batch, "2*length", 7], [3, 10, 7], values)).toBeUndefined();
    expect(Object.fromEntries(values)).toEqual({ batch: 3, length: 5 });
    expect(bindDimensions(["batch*length+1", batch], [16, 3], values)).toBeUndefined();
    expect(bindDimensions([], [], values)).toBeUndefined();
  });

  test("an extent of zero is a value", () => {
    const values = new Map<string, number>();
    expect(bindDimensions(["2*rows", 0], [0, 0], values)).toBeUndefined();
    expect(values.get("rows")).toBe(0);
    expect(bindDimensions(["rows"], [1], values)).toBe("axis 0: expected rows = 0, found 1");
  });

  test.each<[Shape, number[], string]>([
    [[batch, 2], [3], "expected 2 axes, found 1"],
    [[], [1], "expected 0 axes, found 1"],
    [["2*length"], [5], "axis 0: expected a multiple of 2, found 5"],
    [[batch, batch], [3, 4], "axis 1: expected batch = 3, found 4"],
    [[batch, "2*batch"], [3, 4], "axis 1: expected 2*batch = 6, found 4"],
    [[batch, 7], [3, 8], "axis 1: expected 7, found 8"],
    [[batch, "batch*batch+1"], [3, 8], "axis 1: expected batch*batch+1 = 10, found 8"],
  ])("[%s] of [%s]: %s", (shape, extents, problem) => {
    expect(bindDimensions(shape, extents, new Map())).toBe(problem);
  });
});

test("shapes broadcast as NumPy's do, and unknown extents only to themselves", () => {
  expect(broadcastShapes([2, 3], [3])).toEqual([2, 3]);
  expect(broadcastShapes([2, 1], [1, 3])).toEqual([2, 3]);
  expect(broadcastShapes([], [batch, 1])).toEqual([batch, 1]);
  expect(broadcastShapes([batch, 1], [1, length])).toEqual([batch, length]);
  expect(broadcastShapes([1], [0])).toEqual([0]);
  expect(broadcastShapes([2], [3])).toBeUndefined();
  expect(broadcastShapes([batch], [length])).toBeUndefined();
  expect(broadcastShapes([batch], [2])).toBeUndefined();
  expect(sameShape([batch, 2], [batch, 2])).toBe(true);
  expect(sameShape([batch, 2], [batch])).toBe(false);
  expect(sameShape([batch, 2], [length, 2])).toBe(false);
});
