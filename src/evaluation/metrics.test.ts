import { expect, test } from "vitest";
import { labelSetScores } from "./metrics.ts";

/** As scikit-learn's accuracy_score and f1_score (micro, macro with zero_division 0) give them. */
test("scores of sets of labels", () => {
  const actual = [[0, 2], [], [1, 2], [0, 1]];
  const predicted = [[0, 2], [1], [1], [0, 2]];
  const { accuracy, f1Micro, f1Macro } = labelSetScores(predicted, actual, 4);
  expect(accuracy).toBe(0.25);
  expect(f1Micro).toBeCloseTo(2 / 3, 12);
  expect(f1Macro).toBeCloseTo(0.5, 12);
});
