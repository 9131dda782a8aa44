/** @file Softmax, cross-entropy and the norms: what normalises over the last axis. */
import { internalError } from "../../errors.ts";
import type { Shape } from "../dimension.ts";
import type { Value } from "../graph.ts";
import { typed } from "../operation.ts";
import type { GradientRule, HostArray, Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, outputGradient, outputOf, required } from "./inputs.ts";

/** Calls `compute` for each row of the last axis, to write its results into `data`. */
function mapRows(
  x: HostArray,
  compute: (row: Float64Array, index: number) => Float64Array,
): { shape: readonly number[]; data: Float64Array } {
  const width = x.shape.at(-1) ?? 1;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < x.data.length; start += width)
    data.set(compute(x.data.subarray(start, start + width), start / width), start);
  return { shape: x.shape, data };
}

function logSoftmaxRow(row: Float64Array): Float64Array {
  const maximum = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const logSum = maximum + Math.log(row.reduce((sum, value) => sum + Math.exp(value - maximum), 0));
  return row.map((value) => value - logSum);
}

const lastAxis = (shape: Shape) => shape.length - 1;
const rowShape = (shape: Shape) => [...shape.slice(0, -1), 1];

export const Softmax: Operation<"Softmax"> = {
  infer: (inputs) => [required(inputs, 0, "Softmax")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient: (rule) => [rule.builder.softmaxGradient(outputOf(rule.node, 0), outputGradient(rule))],
  lower(_node, target) {
    target.emit("Softmax", [target.input(0)], [target.output(0)], { axis: -1 });
  },
  interpret: (_node, inputs) => [mapRows(arrayOf(inputs, 0), (row) => logSoftmaxRow(row).map(Math.exp))],
};

export const SoftmaxGradient: Operation<"SoftmaxGradient"> = {
  infer: (inputs) => [required(inputs, 0, "SoftmaxGradient")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient() {
    throw internalError("second derivatives of Softmax are not defined.");
  },
  lower(node, target) {
    const p = inputOf(node, 0);
    const product = target.intermediate("product", p);
    const sum = target.intermediate("sum", typed(p, rowShape(p.shape)));
    const scaled = target.intermediate("scaled", p);
    const axes = target.constant("int64", [1], [lastAxis(p.shape)]);
    // p dp - p sum(p dp): the product is needed for the sum in any case
    target.emit("Mul", [target.input(0), target.input(1)], [product]);
    target.emit("ReduceSum", [product, axes], [sum], { keepdims: true });
    target.emit("Mul", [target.input(0), sum], [scaled]);
    target.emit("Sub", [product, scaled], [target.output(0)]);
  },
  interpret(_node, inputs) {
    const [p, dp] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const width = p.shape.at(-1) ?? 1;
    return [
      mapRows(p, (row, index) => {
        const gradient = dp.data.subarray(index * width, (index + 1) * width);
        const sum = row.reduce((total, value, column) => total + value * (gradient[column] ?? 0), 0);
        return row.map((value, column) => value * ((gradient[column] ?? 0) - sum));
      }),
    ];
  },
};

/** Inputs: logits [n, classes], int64 targets [n]. Output: loss [n]. */
export const SoftmaxCrossEntropyLoss: Operation<"SoftmaxCrossEntropyLoss"> = {
  infer(inputs) {
    const [logits, targets] = [
      required(inputs, 0, "SoftmaxCrossEntropyLoss"),
      required(inputs, 1, "SoftmaxCrossEntropyLoss"),
    ];
    if (logits.shape.length !== 2 || targets.shape.length !== 1 || targets.dtype !== "int64")
      throw internalError(
        `SoftmaxCrossEntropyLoss of ${describe(logits)} and ${describe(targets)} is not defined.`,
      );
    return [typed(logits, logits.shape.slice(0, 1))];
  },
  gradient(rule) {
    const { builder, node } = rule;
    return [
      builder.softmaxCrossEntropyLossGradient(outputGradient(rule), inputOf(node, 0), inputOf(node, 1)),
      undefined,
    ];
  },
  lower(node, target) {
    const [logits, targets] = [inputOf(node, 0), inputOf(node, 1)];
    const rowColumn = typed(logits, [logits.shape[0] ?? 0, 1]);
    const logProbabilities = target.intermediate("logProbabilities", logits);
    const column = target.intermediate("targets", typed(targets, rowColumn.shape));
    const picked = target.intermediate("picked", rowColumn);
    const negative = target.intermediate("negative", rowColumn);
    const axes = target.constant("int64", [1], [1]);
    target.emit("LogSoftmax", [target.input(0)], [logProbabilities], { axis: -1 });
    target.emit("Unsqueeze", [target.input(1), axes], [column]);
    target.emit("GatherElements", [logProbabilities, column], [picked], { axis: 1 });
    target.emit("Neg", [picked], [negative]);
    target.emit("Squeeze", [negative, axes], [target.output(0)]);
  },
  interpret(_node, inputs) {
    const [logits, targets] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const width = logits.shape[1] ?? 1;
    const logProbabilities = mapRows(logits, logSoftmaxRow);
    const loss = targets.data.map((target, row) => -(logProbabilities.data[row * width + target] ?? 0));
    return [{ shape: targets.shape, data: loss }];
  },
};

/**
 * Inputs: dy [n], logits [n, classes], int64 targets [n]. The probabilities are made again from the logits: the
 * fused Softmax costs a fraction of Exp over kept log-probabilities.
 */
export const SoftmaxCrossEntropyLossGradient: Operation<"SoftmaxCrossEntropyLossGradient"> = {
  infer: (inputs) =>
    [required(inputs, 1, "SoftmaxCrossEntropyLossGradient")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient() {
    throw internalError("second derivatives of SoftmaxCrossEntropyLoss are not defined.");
  },
  lower(node, target) {
    const [weights, logits, targets] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
    const rowColumn: Shape = [targets.shape[0] ?? 0, 1];
    const probabilities = target.intermediate("probabilities", logits);
    const axes = target.constant("int64", [1], [1]);
    const column = target.intermediate("targets", typed(targets, rowColumn));
    const minusOne = target.intermediate("minusOne", typed(logits, rowColumn));
    target.emit("Softmax", [target.input(1)], [probabilities], { axis: -1 });
    target.emit("Unsqueeze", [target.input(2), axes], [column]);
    const literal = target.constant("float32", [1, 1], [-1]);
    target.emit("Expand", [literal, target.extents(rowColumn)], [minusOne]);
    const difference = isOnes(weights) ? target.output(0) : target.intermediate("difference", logits);
    target.emit("ScatterElements", [probabilities, column, minusOne], [difference], {
      axis: 1,
      reduction: "add",
    });
    if (isOnes(weights)) return;
    const perRow = target.intermediate("perRow", typed(logits, rowColumn));
    target.emit("Unsqueeze", [target.input(0), axes], [perRow]);
    target.emit("Mul", [difference, perRow], [target.output(0)]);
  },
  interpret(_node, inputs) {
    const [dy, logits, targets] = [arrayOf(inputs, 0), arrayOf(inputs, 1), arrayOf(inputs, 2)];
    return [
      mapRows(logits, (row, index) =>
        logSoftmaxRow(row).map(
          (value, column) =>
            (Math.exp(value) - Number(column === targets.data[index])) * (dy.data[index] ?? 0),
        ),
      ),
    ];
  },
};

/** Below every logit, and finite. */
const lowestLogit = -3e38;

export const OtherProbabilities: Operation<"OtherProbabilities"> = {
  infer: (inputs) =>
    [required(inputs, 0, "OtherProbabilities")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient() {
    throw internalError("OtherProbabilities has no gradient.");
  },
  lower(node, target) {
    const [logits, targets] = [inputOf(node, 0), inputOf(node, 1)];
    const rowColumn: Shape = [targets.shape[0] ?? 0, 1];
    const column = target.intermediate("targets", typed(targets, rowColumn));
    const lowest = target.intermediate("lowest", typed(logits, rowColumn));
    const others = target.intermediate("others", logits);
    target.emit("Unsqueeze", [target.input(1), target.constant("int64", [1], [1])], [column]);
    const literal = target.constant("float32", [1, 1], [lowestLogit]);
    target.emit("Expand", [literal, target.extents(rowColumn)], [lowest]);
    target.emit("ScatterElements", [target.input(0), column, lowest], [others], { axis: 1 });
    target.emit("Softmax", [others], [target.output(0)], { axis: -1 });
  },
  interpret(_node, inputs) {
    const [logits, targets] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    return [
      mapRows(logits, (row, index) =>
        logSoftmaxRow(row.map((logit, column) => (column === targets.data[index] ? -Infinity : logit))).map(
          Math.exp,
        ),
      ),
    ];
  },
};

/** Whether a value is known to be one everywhere, as the gradient of a plain sum is: saves a pass over the logits. */
function isOnes(value: Value): boolean {
  const { node } = value;
  if (node.operation === "Expand" || node.operation === "Reshape") return isOnes(inputOf(node, 0));
  return (
    node.operation === "Constant" && "data" in node.attributes && node.attributes.data.every((x) => x === 1)
  );
}

/** Gradient of a normalisation from n = xhat and g = dy * scale: (g - mean(g) - n mean(g n)) * inverse deviation. */
function normalisationGradient(
  rule: GradientRule<"LayerNormalization"> | GradientRule<"RMSNormalization">,
  normalised: Value,
  inverseDeviation: Value,
  centred: boolean,
): Value {
  const { builder, node } = rule;
  const g = builder.multiply(outputGradient(rule), inputOf(node, 1));
  const axes = [lastAxis(g.shape)];
  const projection = builder.multiply(normalised, builder.reduceMean(builder.multiply(g, normalised), axes));
  const inner = centred ? builder.subtract(g, builder.reduceMean(g, axes)) : g;
  return builder.multiply(builder.subtract(inner, projection), inverseDeviation);
}

/** Inputs: x [..., size], scale [size], bias [size] (optional). Outputs: y, mean [..., 1], inverse deviation [..., 1]. */
export const LayerNormalization: Operation<"LayerNormalization"> = {
  infer(inputs) {
    const x = required(inputs, 0, "LayerNormalization");
    return [typed(x, x.shape), typed(x, rowShape(x.shape)), typed(x, rowShape(x.shape))];
  },
  gradient(rule) {
    const { builder, node, wanted } = rule;
    const [x, scale, bias] = [inputOf(node, 0), inputOf(node, 1), node.inputs[2]];
    const [mean, inverseDeviation] = [outputOf(node, 1), outputOf(node, 2)];
    const dy = outputGradient(rule);
    const normalised = builder.multiply(builder.subtract(x, mean), inverseDeviation);
    return [
      wanted[0] ? normalisationGradient(rule, normalised, inverseDeviation, true) : undefined,
      wanted[1] ? builder.sumToShape(builder.multiply(dy, normalised), scale.shape) : undefined,
      wanted[2] && bias ? builder.sumToShape(dy, bias.shape) : undefined,
    ];
  },
  lower(node, target) {
    const inputs = [target.input(0), target.input(1), ...(node.inputs[2] ? [target.input(2)] : [])];
    target.emit(
      "LayerNormalization",
      inputs,
      [target.requiredOutput(0), target.output(1), target.output(2)],
      {
        axis: -1,
        epsilon: { float: node.attributes.epsilon },
      },
    );
  },
  interpret(node, inputs) {
    const [x, scale] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const bias = node.inputs[2] ? arrayOf(inputs, 2) : undefined;
    const [means, inverses]: [number[], number[]] = [[], []];
    const y = mapRows(x, (row) => {
      const mean = row.reduce((a, b) => a + b, 0) / row.length;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
      const inverse = 1 / Math.sqrt(variance + node.attributes.epsilon);
      means.push(mean);
      inverses.push(inverse);
      return row.map(
        (value, column) => (value - mean) * inverse * (scale.data[column] ?? 0) + (bias?.data[column] ?? 0),
      );
    });
    const shape = [...x.shape.slice(0, -1), 1];
    return [y, { shape, data: Float64Array.from(means) }, { shape, data: Float64Array.from(inverses) }];
  },
};

/** Inputs: x [..., size], scale [size]. Outputs: y, inverse root mean square [..., 1]. Zhang & Sennrich 2019. */
export const RMSNormalization: Operation<"RMSNormalization"> = {
  infer(inputs) {
    const x = required(inputs, 0, "RMSNormalization");
    return [typed(x, x.shape), typed(x, rowShape(x.shape))];
  },
  gradient(rule) {
    const { builder, node, wanted } = rule;
    const [x, scale] = [inputOf(node, 0), inputOf(node, 1)];
    const inverse = outputOf(node, 1);
    const normalised = builder.multiply(x, inverse);
    return [
      wanted[0] ? normalisationGradient(rule, normalised, inverse, false) : undefined,
      wanted[1]
        ? builder.sumToShape(builder.multiply(outputGradient(rule), normalised), scale.shape)
        : undefined,
    ];
  },
  // ONNX's RMSNormalization has no output for the inverse deviation that the gradient needs; ONNX Runtime's kernel has.
  lower(node, target) {
    target.emit(
      "SimplifiedLayerNormalization",
      [target.input(0), target.input(1)],
      [target.requiredOutput(0), target.output(1)],
      { axis: -1, epsilon: { float: node.attributes.epsilon } },
    );
  },
  interpret(node, inputs) {
    const [x, scale] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const inverses: number[] = [];
    const y = mapRows(x, (row) => {
      const square = row.reduce((sum, value) => sum + value * value, 0) / row.length;
      const inverse = 1 / Math.sqrt(square + node.attributes.epsilon);
      inverses.push(inverse);
      return row.map((value, column) => value * inverse * (scale.data[column] ?? 0));
    });
    return [y, { shape: [...x.shape.slice(0, -1), 1], data: Float64Array.from(inverses) }];
  },
};
