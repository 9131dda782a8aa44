/** @file Operations that work element by element, with broadcasting where there are two inputs. */
import { internalError } from "../../errors.ts";
import { broadcastShapes, evaluateDimension } from "../dimension.ts";
import type { OperationAttributes, OperationName, Value } from "../graph.ts";
import type { GraphBuilder } from "../builder.ts";
import { onnxDataType, stridesOf } from "../operation.ts";
import type { HostArray, Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, outputGradient, outputOf, required } from "./inputs.ts";

/** Names of operations without attributes. */
type PlainName = {
  [K in OperationName]: keyof OperationAttributes[K] extends never ? K : never;
}[OperationName];

/** Position in a broadcast operand of each element of the result. */
function* broadcastOffsets(shape: readonly number[], operand: readonly number[]): Generator<number> {
  const strides = stridesOf(operand);
  const lead = shape.length - operand.length;
  const steps = shape.map((_, axis) =>
    axis < lead || operand[axis - lead] === 1 ? 0 : (strides[axis - lead] ?? 0),
  );
  const count = shape.reduce((a, b) => a * b, 1);
  const index = new Array<number>(shape.length).fill(0);
  let offset = 0;
  for (let element = 0; element < count; element++) {
    yield offset;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      offset += steps[axis] ?? 0;
      if ((index[axis] ?? 0) < (shape[axis] ?? 0)) break;
      offset -= (index[axis] ?? 0) * (steps[axis] ?? 0);
      index[axis] = 0;
    }
  }
}

/** Copies an array to the shape it broadcasts to. */
export function broadcastTo(array: HostArray, shape: readonly number[]): HostArray {
  return {
    shape,
    data: Float64Array.from(broadcastOffsets(shape, array.shape), (at) => array.data[at] ?? 0),
  };
}

function broadcastArrays(arrays: readonly HostArray[]): HostArray[] {
  let shape: readonly number[] = [];
  for (const array of arrays) {
    const joint = broadcastShapes(shape, array.shape);
    if (joint === undefined)
      throw internalError(`shapes [${shape.join()}] and [${array.shape.join()}] do not fit.`);
    shape = joint.map((dimension) => evaluateDimension(dimension, new Map()));
  }
  return arrays.map((array) => broadcastTo(array, shape));
}

function broadcastInputs(operation: string, ...values: readonly Value[]) {
  let shape = values[0]?.shape ?? [];
  for (const value of values.slice(1)) {
    const joint = broadcastShapes(shape, value.shape);
    if (joint === undefined)
      throw internalError(`${operation} of ${values.map(describe).join(" and ")}: the shapes do not fit.`);
    shape = joint;
  }
  return shape;
}

interface BinaryDefinition {
  readonly compute: (a: number, b: number) => number;
  /** Result is a truth value rather than of the inputs' type. */
  readonly comparison?: boolean;
  readonly gradientA?: (builder: GraphBuilder, dy: Value, a: Value, b: Value, y: Value) => Value;
  readonly gradientB?: (builder: GraphBuilder, dy: Value, a: Value, b: Value, y: Value) => Value;
}

function binary<K extends PlainName>(name: K, definition: BinaryDefinition): Operation<K> {
  return {
    infer(inputs) {
      const a = required(inputs, 0, name);
      const b = required(inputs, 1, name);
      if (a.dtype !== b.dtype)
        throw internalError(`${name} of ${describe(a)} and ${describe(b)}: types differ.`);
      return [{ dtype: definition.comparison ? "bool" : a.dtype, shape: broadcastInputs(name, a, b) }];
    },
    gradient(rule) {
      const { builder, node, wanted } = rule;
      const dy = outputGradient(rule);
      const [a, b, y] = [inputOf(node, 0), inputOf(node, 1), outputOf(node, 0)];
      const toward = (index: 0 | 1, formula: BinaryDefinition["gradientA"]) =>
        wanted[index] && formula
          ? builder.sumToShape(formula(builder, dy, a, b, y), inputOf(node, index).shape)
          : undefined;
      return [toward(0, definition.gradientA), toward(1, definition.gradientB)];
    },
    lower(_node, target) {
      target.emit(name, [target.input(0), target.input(1)], [target.output(0)]);
    },
    interpret(node, inputs) {
      const [a, b] = broadcastArrays([arrayOf(inputs, 0), arrayOf(inputs, 1)]);
      if (a === undefined || b === undefined) throw internalError(`${name} lacks an input.`);
      const data = a.data.map((value, index) => definition.compute(value, b.data[index] ?? 0));
      return [{ shape: a.shape, data: outputOf(node, 0).dtype === "float32" ? data : data.map(Math.trunc) }];
    },
  };
}

interface UnaryDefinition {
  readonly compute: (x: number) => number;
  readonly gradient: (builder: GraphBuilder, dy: Value, x: Value, y: Value) => Value;
}

function unary<K extends PlainName>(name: K, definition: UnaryDefinition): Operation<K> {
  return {
    infer: (inputs) => [required(inputs, 0, name)].map(({ dtype, shape }) => ({ dtype, shape })),
    gradient: (rule) => [
      definition.gradient(rule.builder, outputGradient(rule), inputOf(rule.node, 0), outputOf(rule.node, 0)),
    ],
    lower(_node, target) {
      target.emit(name, [target.input(0)], [target.output(0)]);
    },
    interpret(_node, inputs) {
      const { shape, data } = arrayOf(inputs, 0);
      return [{ shape, data: data.map(definition.compute) }];
    },
  };
}

/**
 * erf by its Maclaurin series for small and by the continued fraction of erfc for large arguments
 * (Abramowitz & Stegun 7.1.5 and 7.1.14): accurate to about 1e-15, which finite differences need.
 */
function errorFunction(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude < 2.5) {
    let term = magnitude;
    let sum = magnitude;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-magnitude * magnitude) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * ((2 / Math.sqrt(Math.PI)) * sum);
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (magnitude + fraction);
  const complement = Math.exp(-magnitude * magnitude) / (Math.sqrt(Math.PI) * (magnitude + fraction));
  return Math.sign(x) * (1 - complement);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const Add = binary("Add", {
  compute: (a, b) => a + b,
  gradientA: (_builder, dy) => dy,
  gradientB: (_builder, dy) => dy,
});
export const Sub = binary("Sub", {
  compute: (a, b) => a - b,
  gradientA: (_builder, dy) => dy,
  gradientB: (builder, dy) => builder.negate(dy),
});
export const Mul = binary("Mul", {
  compute: (a, b) => a * b,
  gradientA: (builder, dy, _a, b) => builder.multiply(dy, b),
  gradientB: (builder, dy, a) => builder.multiply(dy, a),
});
export const Div = binary("Div", {
  compute: (a, b) => a / b,
  gradientA: (builder, dy, _a, b) => builder.divide(dy, b),
  // d(a/b)/db = -(a/b)/b
  gradientB: (builder, dy, _a, b, y) => builder.negate(builder.divide(builder.multiply(dy, y), b)),
});
export const Equal = binary("Equal", { compute: (a, b) => Number(a === b), comparison: true });
export const LessOrEqual = binary("LessOrEqual", { compute: (a, b) => Number(a <= b), comparison: true });
export const And = binary("And", { compute: (a, b) => Number(a !== 0 && b !== 0), comparison: true });

export const Neg = unary("Neg", { compute: (x) => -x, gradient: (builder, dy) => builder.negate(dy) });
export const Exp = unary("Exp", {
  compute: Math.exp,
  gradient: (builder, dy, _x, y) => builder.multiply(dy, y),
});
export const Log = unary("Log", { compute: Math.log, gradient: (builder, dy, x) => builder.divide(dy, x) });
export const Sqrt = unary("Sqrt", {
  compute: Math.sqrt,
  gradient: (builder, dy, _x, y) => builder.divide(builder.scale(dy, 0.5), y),
});
export const Reciprocal = unary("Reciprocal", {
  compute: (x) => 1 / x,
  gradient: (builder, dy, _x, y) => builder.negate(builder.multiply(dy, builder.multiply(y, y))),
});
export const Cos = unary("Cos", {
  compute: Math.cos,
  gradient: (builder, dy, x) => builder.negate(builder.multiply(dy, builder.sine(x))),
});
export const Sin = unary("Sin", {
  compute: Math.sin,
  gradient: (builder, dy, x) => builder.multiply(dy, builder.cosine(x)),
});
export const Tanh = unary("Tanh", {
  compute: Math.tanh,
  // 1 - y^2
  gradient: (builder, dy, _x, y) =>
    builder.multiply(dy, builder.subtract(builder.scalar(1), builder.multiply(y, y))),
});
export const Sigmoid = unary("Sigmoid", {
  compute: sigmoid,
  // y (1 - y)
  gradient: (builder, dy, _x, y) =>
    builder.multiply(dy, builder.multiply(y, builder.subtract(builder.scalar(1), y))),
});
export const Erf = unary("Erf", {
  compute: errorFunction,
  // 2/sqrt(pi) exp(-x^2)
  gradient: (builder, dy, x) =>
    builder.multiply(
      builder.scale(dy, 2 / Math.sqrt(Math.PI)),
      builder.exponential(builder.negate(builder.multiply(x, x))),
    ),
});
export const Relu = unary("Relu", {
  compute: (x) => Math.max(x, 0),
  gradient: (builder, dy, x) =>
    builder.where(builder.lessOrEqual(x, builder.scalar(0)), builder.scalar(0), dy),
});

export const HardSigmoid: Operation<"HardSigmoid"> = {
  infer: (inputs) => [required(inputs, 0, "HardSigmoid")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient() {
    throw internalError("HardSigmoid has no gradient.");
  },
  lower({ attributes: { alpha, beta } }, target) {
    const attributes = { alpha: { float: alpha }, beta: { float: beta } };
    target.emit("HardSigmoid", [target.input(0)], [target.output(0)], attributes);
  },
  interpret({ attributes: { alpha, beta } }, inputs) {
    const { shape, data } = arrayOf(inputs, 0);
    return [{ shape, data: data.map((x) => Math.min(1, Math.max(0, alpha * x + beta))) }];
  },
};

/** SiLU; ONNX Runtime's fused kernel is QuickGelu with alpha 1. d/dx = s (1 + x (1 - s)) = s + x s (1 - s), s = sigmoid(x). */
export const Swish: Operation<"Swish"> = {
  ...unary("Swish", {
    compute: (x) => x * sigmoid(x),
    gradient(builder, dy, x) {
      const s = builder.sigmoid(x);
      const y = builder.multiply(x, s);
      return builder.multiply(dy, builder.add(s, builder.subtract(y, builder.multiply(y, s))));
    },
  }),
  lower(_node, target) {
    target.emit("QuickGelu", [target.input(0)], [target.output(0)], { alpha: { float: 1 } }, "com.microsoft");
  },
};

/** Coefficients of the tanh approximation (Hendrycks & Gimpel 2016): sqrt(2/pi) (x + 0.044715 x^3). */
const geluScale = Math.sqrt(2 / Math.PI);
const geluCubic = 0.044715;

/**
 * (1 + tanh(u)) / 2 = p = sigmoid(v) with v = 2 u = x (a + b x^2): p + x (a + 3 b x^2) (p - p^2). Every operation is a pass
 * over the largest arrays of a step, so that what counts is their number.
 */
function tanhGeluSlope(builder: GraphBuilder, x: Value): Value {
  const squared = builder.multiply(x, x);
  const [a, b] = [2 * geluScale, 2 * geluScale * geluCubic];
  const timesX = (cubic: number) =>
    builder.multiply(x, builder.add(builder.scale(squared, cubic), builder.scalar(a)));
  const p = builder.sigmoid(timesX(b));
  const change = builder.subtract(p, builder.multiply(p, p));
  return builder.add(p, builder.multiply(timesX(3 * b), change));
}

/**
 * Phi(x) + x phi(x), the normal distribution and its density. With z = x / sqrt(2), the first is (1 + erf(z)) / 2, which
 * HardSigmoid computes in one pass and need not cut, and the second z / exp(z^2) / sqrt(pi), in fewer passes than exp(-z^2)
 * takes.
 */
function geluSlope(builder: GraphBuilder, x: Value): Value {
  const z = builder.scale(x, Math.SQRT1_2);
  const cumulative = builder.hardSigmoid(builder.erf(z), { alpha: 0.5, beta: 0.5 });
  const quotient = builder.divide(z, builder.exponential(builder.multiply(z, z)));
  return builder.add(cumulative, builder.scale(quotient, 1 / Math.sqrt(Math.PI)));
}

export const Gelu: Operation<"Gelu"> = {
  infer: (inputs) => [required(inputs, 0, "Gelu")].map(({ dtype, shape }) => ({ dtype, shape })),
  gradient(rule) {
    const { builder, node } = rule;
    const dy = outputGradient(rule);
    const x = inputOf(node, 0);
    const slope = node.attributes.approximate === "tanh" ? tanhGeluSlope(builder, x) : geluSlope(builder, x);
    return [builder.multiply(dy, slope)];
  },
  lower(node, target) {
    target.emit("Gelu", [target.input(0)], [target.output(0)], { approximate: node.attributes.approximate });
  },
  interpret(node, inputs) {
    const { shape, data } = arrayOf(inputs, 0);
    const compute =
      node.attributes.approximate === "tanh"
        ? (x: number) => 0.5 * x * (1 + Math.tanh(geluScale * (x + geluCubic * x * x * x)))
        : (x: number) => 0.5 * x * (1 + errorFunction(x * Math.SQRT1_2));
    return [{ shape, data: data.map(compute) }];
  },
};

export const Where: Operation<"Where"> = {
  infer(inputs) {
    const [condition, a, b] = [
      required(inputs, 0, "Where"),
      required(inputs, 1, "Where"),
      required(inputs, 2, "Where"),
    ];
    if (condition.dtype !== "bool" || a.dtype !== b.dtype)
      throw internalError(`Where of ${[condition, a, b].map(describe).join(", ")}: types do not fit.`);
    return [{ dtype: a.dtype, shape: broadcastInputs("Where", condition, a, b) }];
  },
  gradient(rule) {
    const { builder, node, wanted } = rule;
    const dy = outputGradient(rule);
    const condition = inputOf(node, 0);
    const zero = builder.scalar(0);
    return [
      undefined,
      wanted[1] ? builder.sumToShape(builder.where(condition, dy, zero), inputOf(node, 1).shape) : undefined,
      wanted[2] ? builder.sumToShape(builder.where(condition, zero, dy), inputOf(node, 2).shape) : undefined,
    ];
  },
  lower(_node, target) {
    target.emit("Where", [target.input(0), target.input(1), target.input(2)], [target.output(0)]);
  },
  interpret(_node, inputs) {
    const [condition, a, b] = broadcastArrays(inputs);
    if (condition === undefined || a === undefined || b === undefined)
      throw internalError("Where lacks an input.");
    const data = condition.data.map((chosen, index) => (chosen !== 0 ? a.data[index] : b.data[index]) ?? 0);
    return [{ shape: condition.shape, data }];
  },
};

export const Cast: Operation<"Cast"> = {
  infer: (inputs, { to }) => [{ dtype: to, shape: required(inputs, 0, "Cast").shape }],
  gradient: (rule) => [outputGradient(rule)],
  lower(node, target) {
    target.emit("Cast", [target.input(0)], [target.output(0)], { to: onnxDataType[node.attributes.to] });
  },
  interpret(node, inputs) {
    const { shape, data } = arrayOf(inputs, 0);
    const { to } = node.attributes;
    const convert =
      to === "bool" ? (x: number) => Number(x !== 0) : to === "float32" ? (x: number) => x : Math.trunc;
    return [{ shape, data: data.map(convert) }];
  },
};

export const StopGradient: Operation<"StopGradient"> = {
  infer: (inputs) => [required(inputs, 0, "StopGradient")].map(({ dtype, shape }) => ({ dtype, shape })),
  // Differentiation ends before it gets here.
  gradient: () => [undefined],
  lower(_node, target) {
    target.emit("Identity", [target.input(0)], [target.output(0)]);
  },
  interpret: (_node, inputs) => [arrayOf(inputs, 0)],
};
