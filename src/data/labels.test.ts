import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import type { LabelOptions, PlacedLabel } from "./labels.ts";
import { createLabelMap, regressionTarget } from "./labels.ts";

const place = (label: string | number, line = 7): PlacedLabel => ({
  row: { line, where: `"d.csv", line ${line}`, values: {} },
  label,
});

function read(labels: readonly (string | number)[], options?: LabelOptions): unknown {
  const placed = labels.map((label) => place(label));
  const map = createLabelMap(placed, options);
  return { count: map.count, names: map.names, ids: placed.map((label) => map.idOf(label)) };
}

describe("class labels", () => {
  test("integers are ids, as text too", () => {
    expect(read([0, 2, 1])).toEqual({ count: 3, names: undefined, ids: [0, 2, 1] });
    expect(read(["0", " 1"])).toEqual({ count: 2, names: undefined, ids: [0, 1] });
    expect(read([0, 0], { labelCount: 2 })).toEqual({ count: 2, names: undefined, ids: [0, 0] });
  });

  test("names get ids in the order of their characters", () => {
    expect(read(["neutral", "bad", "Good"])).toEqual({
      count: 3,
      names: ["Good", "bad", "neutral"],
      ids: [2, 1, 0],
    });
  });

  test("known names decide, even if they are numbers", () => {
    expect(read(["b", "a"], { labelNames: ["b", "a", "c"] })).toEqual({
      count: 3,
      names: ["b", "a", "c"],
      ids: [0, 1],
    });
    expect(read([5, 1], { labelNames: ["1", "5"] })).toMatchObject({ ids: [1, 0] });
    expect(read([1, 0], { labelNames: ["no", "yes"] })).toMatchObject({ ids: [1, 0], names: ["no", "yes"] });
  });

  test("refusals", () => {
    expect([
      failureOf(() => read([0, 3], { labelCount: 2 })).message,
      failureOf(() => read([-1])).message,
      failureOf(() => read(["a", "b", "c"], { labelCount: 2 })).message,
      failureOf(() => read(["a", "z"], { labelNames: ["a", "b"] })).message,
    ]).toEqual([
      '"d.csv", line 7: expected a label from 0 to 1, found "3".',
      '"d.csv", line 7: expected a label from 0 to 0, found "-1".',
      'The data has 3 labels ("a", "b", "c"), the model 2.',
      '"d.csv", line 7: expected a label of "a", "b", found "z".',
    ]);
  });
});

test("regression targets are numbers", () => {
  expect([regressionTarget(place("-2.5e1")), regressionTarget(place(3))]).toEqual([-25, 3]);
  expect(failureOf(() => regressionTarget(place("high"))).message).toBe(
    '"d.csv", line 7: expected a number as label, found "high".',
  );
});
