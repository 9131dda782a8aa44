/** @file Metrics of predicted classes, sets of labels and numbers, as GLUE uses them and scikit-learn and SciPy compute them. */

/** Share of equal entries. */
export function accuracy(predicted: readonly number[], actual: readonly number[]): number {
  return predicted.filter((value, index) => value === actual[index]).length / actual.length;
}

/** Counts of a binary decision about one class. */
function countsOf(predicted: readonly number[], actual: readonly number[], positive: number) {
  let [truePositive, falsePositive, falseNegative] = [0, 0, 0];
  for (const [index, value] of predicted.entries()) {
    const [isPredicted, isActual] = [value === positive, actual[index] === positive];
    if (isPredicted && isActual) truePositive++;
    else if (isPredicted) falsePositive++;
    else if (isActual) falseNegative++;
  }
  return { truePositive, falsePositive, falseNegative };
}

/** F1 of one class: 2 TP / (2 TP + FP + FN); 0 where the class never occurs. */
function f1OfClass(predicted: readonly number[], actual: readonly number[], positive: number): number {
  const { truePositive, falsePositive, falseNegative } = countsOf(predicted, actual, positive);
  const total = 2 * truePositive + falsePositive + falseNegative;
  return total === 0 ? 0 : (2 * truePositive) / total;
}

/** F1 of class 1 for two classes, as GLUE reports it; for more, the mean over the classes that occur (macro). */
export function f1(predicted: readonly number[], actual: readonly number[], classCount: number): number {
  if (classCount <= 2) return f1OfClass(predicted, actual, 1);
  const occurring = [...new Set([...predicted, ...actual])];
  return mean(occurring.map((label) => f1OfClass(predicted, actual, label)));
}

/**
 * Of sets of labels: the share of rows whose whole set is right, F1 over all decisions, and the mean of the labels' own
 * F1, where a label that never occurs has 0.
 */
export function labelSetScores(
  predicted: readonly (readonly number[])[],
  actual: readonly (readonly number[])[],
  labelCount: number,
): { readonly accuracy: number; readonly f1Micro: number; readonly f1Macro: number } {
  const perLabel = Array.from({ length: labelCount }, (_, label) => {
    const holds = (sets: readonly (readonly number[])[]) => sets.map((set) => Number(set.includes(label)));
    return [holds(predicted), holds(actual)] as const;
  });
  const isRight = (set: readonly number[], row: number) =>
    set.length === (predicted[row] ?? []).length && set.every((label) => predicted[row]?.includes(label));
  return {
    accuracy: actual.filter(isRight).length / actual.length,
    f1Micro: f1OfClass(
      perLabel.flatMap(([own]) => own),
      perLabel.flatMap(([, right]) => right),
      1,
    ),
    f1Macro: mean(perLabel.map(([own, right]) => f1OfClass(own, right, 1))),
  };
}

/** Matthews correlation over any number of classes (Gorodkin 2004); 0 where a side has only one class. */
export function matthews(predicted: readonly number[], actual: readonly number[]): number {
  const labels = [...new Set([...predicted, ...actual])];
  const count = actual.length;
  const correct = predicted.filter((value, index) => value === actual[index]).length;
  const occurrences = (list: readonly number[]) =>
    labels.map((label) => list.filter((value) => value === label).length);
  const [byPredicted, byActual] = [occurrences(predicted), occurrences(actual)];
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
  const covariance = correct * count - dot(byPredicted, byActual);
  const spread = Math.sqrt(
    (count ** 2 - dot(byPredicted, byPredicted)) * (count ** 2 - dot(byActual, byActual)),
  );
  return spread === 0 ? 0 : covariance / spread;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Pearson's correlation; NaN where a side is constant. */
export function pearson(a: readonly number[], b: readonly number[]): number {
  const [meanA, meanB] = [mean(a), mean(b)];
  let [covariance, varianceA, varianceB] = [0, 0, 0];
  for (const [index, value] of a.entries()) {
    const [x, y] = [value - meanA, (b[index] ?? 0) - meanB];
    covariance += x * y;
    varianceA += x * x;
    varianceB += y * y;
  }
  return covariance / Math.sqrt(varianceA * varianceB);
}

/** Ranks from 1; equal values share the mean of their ranks. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const result = new Array<number>(values.length).fill(0);
  for (let start = 0; start < order.length;) {
    let end = start;
    while (end < order.length && order[end]?.value === order[start]?.value) end++;
    for (let at = start; at < end; at++) result[order[at]?.index ?? 0] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}

/** Spearman's rank correlation; NaN where a side is constant. */
export function spearman(a: readonly number[], b: readonly number[]): number {
  return pearson(ranks(a), ranks(b));
}
