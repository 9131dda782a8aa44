/**
 * @file The gradient of a softmax's cross-entropy times the matrix that made the logits, in whole numbers of eight bits.
 * A row of it is one large number and thousands of small ones that weigh as much together: rounded in steps of the large
 * one they are lost. With p the probabilities, t the target and q the softmax over all classes but t,
 * p W - W[t] = (1 - p[t]) (q W - W[t]), so that the large number never meets the others.
 */
import type { GraphBuilder } from "./builder.ts";
import { multiplyDimensions } from "./dimension.ts";
import { isOperation } from "./graph.ts";
import type { Value } from "./graph.ts";

/** Classes are cut into at most so many runs with scales of their own: most probabilities are far below the largest. */
const mostRuns = 32;
/** With fewer than these, small probabilities are rounded away again. */
const fewestRuns = 4;

/** The matrix [classes, size], as it is named among the weights. */
export interface OutputMatrix {
  readonly value: Value;
  readonly name: string;
}

/**
 * x W for x of `SoftmaxCrossEntropyLossGradient`; `undefined` for any other x and where the classes cannot be cut into
 * equal runs.
 */
export function softmaxProduct(
  builder: GraphBuilder,
  { node }: Value,
  matrix: OutputMatrix,
  copyOf: (value: Value) => Value,
): Value | undefined {
  if (!isOperation(node, "SoftmaxCrossEntropyLossGradient")) return undefined;
  const [dy, logits, targets] = node.inputs.map((input) => input && copyOf(input));
  const [classes = 0] = matrix.value.shape.map(Number);
  const runs = runsOf(classes);
  if (!dy || !logits || !targets || runs < fewestRuns) return undefined;
  const rows = logits.shape[0] ?? 0;
  const loss = builder.softmaxCrossEntropyLoss(logits, targets);
  const missed = builder.subtract(builder.scalar(1), builder.exponential(builder.negate(loss)));
  const mean = meanOfOthers(builder, builder.otherProbabilities(logits, targets), { ...matrix, runs });
  const own = builder.gather(copyOf(matrix.value), targets);
  const factor = builder.reshape(builder.multiply(missed, dy), [rows, 1]);
  return builder.multiply(builder.subtract(mean, own), factor);
}

/** q W, the sum over runs of classes of what each gives in its own scale. */
function meanOfOthers(
  builder: GraphBuilder,
  others: Value,
  { value, name, runs }: OutputMatrix & { readonly runs: number },
): Value {
  const [rows = 0] = others.shape;
  const [classes = 0, size = 0] = value.shape.map(Number);
  const extent = classes / runs;
  const zeroPoint = 0;
  const inRuns = builder.reshape(others, [multiplyDimensions(runs, rows), extent]);
  const scales = builder.rowScale(inRuns, zeroPoint);
  const integers = builder.reshape(builder.quantizeRows(inRuns, scales, zeroPoint), [rows, classes]);
  const scaleOf = builder.reshape(scales, [rows, runs]);
  const integerMatrix = builder.weight(name, [classes, size], { kind: "int8", axis: 1 });
  return Array.from({ length: runs }, (_, run) => {
    const range = { from: run * extent, to: (run + 1) * extent };
    const part = builder.slice(integers, 1, range.from, range.to);
    const product = builder.quantizedGemm(part, integerMatrix, { transB: false, zeroPoint, rows: range });
    return builder.multiply(product, builder.slice(scaleOf, 1, run, run + 1));
  }).reduce((sum, part) => builder.add(sum, part));
}

/** The largest number of equal runs. */
function runsOf(classes: number): number {
  for (let runs = mostRuns; runs > 1; runs--) if (classes % runs === 0) return runs;
  return 1;
}
