import { describe, expect, it } from "vitest";
import { combineTaskVectors } from "./task-vectors.ts";
import type { TaskArithmetic } from "./task-vectors.ts";

const floats = (...values: number[]) => Float32Array.from(values);
const noMasks = {
  bernoulli(): Uint8Array {
    throw new Error("nothing is to be drawn");
  },
};
const settings: TaskArithmetic = { sparsify: "none", density: 1, majoritySign: undefined, masks: noMasks };

describe("combineTaskVectors", () => {
  it("adds with weights, also negative ones", () => {
    expect(combineTaskVectors([floats(1, 2), floats(4, -8)], [0.5, -0.25], settings)).toEqual(
      floats(-0.5, 3),
    );
  });

  it("keeps the entries of largest magnitude, the first of equal ones", () => {
    const pruned = (density: number) =>
      combineTaskVectors([floats(1, -3, 2, 3, 0.5)], [1], { ...settings, sparsify: "magnitude", density });
    expect(pruned(0.4)).toEqual(floats(0, -3, 0, 3, 0));
    expect(pruned(0.39)).toEqual(floats(0, -3, 0, 0, 0));
    expect(pruned(1)).toEqual(floats(1, -3, 2, 3, 0.5));
  });

  it("drops entries at random, and lets what stays stand for them", () => {
    const masks = {
      bernoulli: (count: number) => Uint8Array.from({ length: count }, (_, index) => index % 2),
    };
    const random = { ...settings, sparsify: "random", density: 0.25, masks } as const;
    expect(combineTaskVectors([floats(1, 2, 3, 4)], [1], random)).toEqual(floats(0, 8, 0, 16));
    expect(combineTaskVectors([floats(1, 2)], [1], { ...random, masks: noMasks, density: 1 })).toEqual(
      floats(1, 2),
    );
  });

  it("takes the mean of those that agree with the majority, by value or by count", () => {
    const vectors = [floats(5, 1, 0, -2), floats(-1, 1, -1, 2), floats(-1, 3, 1, 0)];
    const elected = (majoritySign: "total" | "frequency") =>
      combineTaskVectors(vectors, [1, 1, 1], { ...settings, majoritySign });
    // Of the first entries the sum is positive, but two of three are negative; a balance of zero counts as positive.
    expect(elected("total")).toEqual(floats(5, 5 / 3, 1, 2));
    expect(elected("frequency")).toEqual(floats(-1, 5 / 3, 1, 2));
  });
});
