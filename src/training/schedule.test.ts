import { expect, test } from "vitest";
import { scheduleFactor } from "./schedule.ts";

const rates = (name: "linear" | "cosine" | "constant", warmup: number, total: number) =>
  Array.from({ length: total + 1 }, (_, step) =>
    Number(scheduleFactor(name, step, warmup, total).toFixed(6)),
  );

test("linear rises to the peak over the warm-up and falls to 0 at the last update", () => {
  expect(rates("linear", 2, 6)).toEqual([0, 0.5, 1, 0.75, 0.5, 0.25, 0]);
});

test("cosine falls along half a period", () => {
  expect(rates("cosine", 0, 4)).toEqual([1, 0.853553, 0.5, 0.146447, 0]);
});

test("constant stays at the peak", () => {
  expect(rates("constant", 2, 4)).toEqual([0, 0.5, 1, 1, 1]);
});
