/**
 * @file Builds graphs: one method an operation, equal nodes made once, and the algebra that never changes
 * a result (x * 1, x + 0, a reshape to the same shape) done on the way.
 */
import { internalError } from "../errors.ts";
import type { DataType } from "../tensor/tensor.ts";
import { broadcastShapes, sameShape, sizeOf, subtractDimensions } from "./dimension.ts";
import type { Dimension, Shape } from "./dimension.ts";
import { attributeText, isOperation } from "./graph.ts";
import type { Node, OperationAttributes, OperationName, Value, ValueType } from "./graph.ts";
import { operations } from "./operations/index.ts";
import type { WeightForm } from "./weight-form.ts";

/** Settings of a matrix product; what is left out is ONNX's default. */
export interface GemmOptions {
  readonly alpha?: number;
  readonly beta?: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
  readonly c?: Value | undefined;
}

export class GraphBuilder {
  readonly #nodes = new Map<string, Node>();

  /** A tensor given at every run. The same name twice must mean the same type. */
  input(name: string, dtype: DataType, shape: Shape): Value {
    return this.#leaf("Input", { name }, { dtype, shape });
  }

  /** A frozen float32 tensor of the base model; with a form, it is kept in that form and rounded accordingly. */
  weight(name: string, shape: readonly number[], form?: WeightForm): Value {
    return this.#leaf("Weight", form ? { name, form } : { name }, { dtype: "float32", shape });
  }

  constant(dtype: DataType, shape: readonly number[], data: readonly number[]): Value {
    return this.#leaf("Constant", { data }, { dtype, shape });
  }

  /** A float32 literal without axes. */
  scalar(value: number): Value {
    return this.constant("float32", [], [value]);
  }

  add(a: Value, b: Value): Value {
    if (isLiteral(a, 0) && sameBroadcast(a, b)) return b;
    if (isLiteral(b, 0) && sameBroadcast(b, a)) return a;
    return this.#apply("Add", {}, [a, b]);
  }

  subtract(a: Value, b: Value): Value {
    return isLiteral(b, 0) && sameBroadcast(b, a) ? a : this.#apply("Sub", {}, [a, b]);
  }

  multiply(a: Value, b: Value): Value {
    if (isLiteral(a, 1) && sameBroadcast(a, b)) return b;
    if (isLiteral(b, 1) && sameBroadcast(b, a)) return a;
    return this.#apply("Mul", {}, [a, b]);
  }

  divide(a: Value, b: Value): Value {
    return isLiteral(b, 1) && sameBroadcast(b, a) ? a : this.#apply("Div", {}, [a, b]);
  }

  /** x times a number known now. */
  scale(x: Value, factor: number): Value {
    return factor === 1 ? x : this.multiply(x, this.scalar(factor));
  }

  negate = (x: Value): Value => this.#apply("Neg", {}, [x]);
  exponential = (x: Value): Value => this.#apply("Exp", {}, [x]);
  logarithm = (x: Value): Value => this.#apply("Log", {}, [x]);
  squareRoot = (x: Value): Value => this.#apply("Sqrt", {}, [x]);
  reciprocal = (x: Value): Value => this.#apply("Reciprocal", {}, [x]);
  cosine = (x: Value): Value => this.#apply("Cos", {}, [x]);
  sine = (x: Value): Value => this.#apply("Sin", {}, [x]);
  tanh = (x: Value): Value => this.#apply("Tanh", {}, [x]);
  sigmoid = (x: Value): Value => this.#apply("Sigmoid", {}, [x]);
  erf = (x: Value): Value => this.#apply("Erf", {}, [x]);
  hardSigmoid = (x: Value, attributes: OperationAttributes["HardSigmoid"]): Value =>
    this.#apply("HardSigmoid", attributes, [x]);
  relu = (x: Value): Value => this.#apply("Relu", {}, [x]);
  swish = (x: Value): Value => this.#apply("Swish", {}, [x]);
  gelu = (x: Value, approximate: "none" | "tanh"): Value => this.#apply("Gelu", { approximate }, [x]);

  equal = (a: Value, b: Value): Value => this.#apply("Equal", {}, [a, b]);
  lessOrEqual = (a: Value, b: Value): Value => this.#apply("LessOrEqual", {}, [a, b]);
  and = (a: Value, b: Value): Value => this.#apply("And", {}, [a, b]);
  where = (condition: Value, a: Value, b: Value): Value => this.#apply("Where", {}, [condition, a, b]);

  cast(x: Value, to: DataType): Value {
    return x.dtype === to ? x : this.#apply("Cast", { to }, [x]);
  }

  /** x as a constant: no gradient goes through. */
  stopGradient = (x: Value): Value => this.#apply("StopGradient", {}, [x]);

  matmul = (a: Value, b: Value): Value => this.#apply("MatMul", {}, [a, b]);

  /** alpha * op(a) op(b) + beta * c for matrices a and b. */
  gemm(
    a: Value,
    b: Value,
    { alpha = 1, beta = 1, transA = false, transB = false, c }: GemmOptions = {},
  ): Value {
    return this.#apply("Gemm", { alpha, beta, transA, transB }, c ? [a, b, c] : [a, b]);
  }

  /** Inverses of square matrices [.., n, n]. */
  inverse = (x: Value): Value => this.#apply("Inverse", {}, [x]);

  rowScale = (x: Value, zeroPoint: 0 | 128): Value => this.#apply("RowScale", { zeroPoint }, [x]);
  quantizeRows = (x: Value, scale: Value, zeroPoint: 0 | 128): Value =>
    this.#apply("QuantizeRows", { zeroPoint }, [x, scale]);
  quantizedGemm = (x: Value, w: Value, attributes: OperationAttributes["QuantizedGemm"]): Value =>
    this.#apply("QuantizedGemm", attributes, [x, w]);
  blockGemm = (x: Value, w: Value): Value => this.#apply("BlockGemm", {}, [x, w]);

  reshape(x: Value, shape: Shape): Value {
    if (sameShape(x.shape, shape)) return x;
    const source = isOperation(x.node, "Reshape") ? x.node.inputs[0] : undefined;
    return source ? this.reshape(source, shape) : this.#apply("Reshape", { shape }, [x]);
  }

  transpose(x: Value, permutation: readonly number[]): Value {
    if (permutation.every((axis, index) => axis === index)) return x;
    const source = isOperation(x.node, "Transpose") ? x.node.inputs[0] : undefined;
    if (isOperation(x.node, "Transpose") && source) {
      const inner = x.node.attributes.permutation;
      return this.transpose(
        source,
        permutation.map((axis) => inner[axis] ?? 0),
      );
    }
    return this.#apply("Transpose", { permutation }, [x]);
  }

  /** Swaps the last two axes. */
  transposeLast(x: Value): Value {
    const rank = x.shape.length;
    const axes = x.shape.map((_, axis) => axis);
    return this.transpose(x, [...axes.slice(0, -2), rank - 1, rank - 2]);
  }

  concat(parts: readonly Value[], axis: number): Value {
    const [first] = parts;
    return parts.length === 1 && first ? first : this.#apply("Concat", { axis }, parts);
  }

  slice(x: Value, axis: number, start: Dimension, end: Dimension): Value {
    return start === 0 && end === x.shape[axis] ? x : this.#apply("Slice", { axis, start, end }, [x]);
  }

  /** x cut along an axis into parts of the given extents. */
  split(x: Value, axis: number, extents: readonly Dimension[]): Value[] {
    let start: Dimension = 0;
    return extents.map((extent) => {
      const end: Dimension = subtractDimensions(extent, subtractDimensions(0, start));
      const part = this.slice(x, axis, start, end);
      start = end;
      return part;
    });
  }

  pad(x: Value, axis: number, before: Dimension, after: Dimension): Value {
    return before === 0 && after === 0 ? x : this.#apply("Pad", { axis, before, after }, [x]);
  }

  expand(x: Value, shape: Shape): Value {
    return sameShape(x.shape, shape) ? x : this.#apply("Expand", { shape }, [x]);
  }

  /** The integers below an extent: int64 [end]. */
  range = (end: Dimension): Value => this.#apply("Range", { end }, []);
  /** Rows of a table; `distinct` promises that no index occurs twice. */
  gather = (table: Value, indices: Value, distinct = false): Value =>
    this.#apply("Gather", { distinct }, [table, indices]);
  scatterRows = (indices: Value, updates: Value, rows: Dimension, distinct = false): Value =>
    this.#apply("ScatterRows", { rows, distinct }, [indices, updates]);

  reduceSum = (x: Value, axes: readonly number[], keepDimensions = true): Value =>
    this.#reduce("ReduceSum", x, axes, keepDimensions);
  reduceMean = (x: Value, axes: readonly number[], keepDimensions = true): Value =>
    this.#reduce("ReduceMean", x, axes, keepDimensions);
  reduceMax = (x: Value, axes: readonly number[], keepDimensions = true): Value =>
    this.#reduce("ReduceMax", x, axes, keepDimensions);

  /** The sum over all elements: a scalar. */
  sumAll(x: Value): Value {
    return this.reduceSum(
      x,
      x.shape.map((_, axis) => axis),
      false,
    );
  }

  softmax = (x: Value): Value => this.#apply("Softmax", {}, [x]);
  softmaxGradient = (p: Value, dp: Value): Value => this.#apply("SoftmaxGradient", {}, [p, dp]);

  /** Negative log-likelihood of each row: logits [n, classes], int64 targets [n] -> [n]. */
  softmaxCrossEntropyLoss = (logits: Value, targets: Value): Value =>
    this.#apply("SoftmaxCrossEntropyLoss", {}, [logits, targets]);
  softmaxCrossEntropyLossGradient = (dy: Value, logits: Value, targets: Value): Value =>
    this.#apply("SoftmaxCrossEntropyLossGradient", {}, [dy, logits, targets]);

  /** Logits [n, classes], int64 targets [n] -> [n, classes]. */
  otherProbabilities = (logits: Value, targets: Value): Value =>
    this.#apply("OtherProbabilities", {}, [logits, targets]);

  layerNormalization = (x: Value, scale: Value, bias: Value | undefined, epsilon: number): Value =>
    this.#apply("LayerNormalization", { epsilon }, bias ? [x, scale, bias] : [x, scale]);
  rmsNormalization = (x: Value, scale: Value, epsilon: number): Value =>
    this.#apply("RMSNormalization", { epsilon }, [x, scale]);

  rotaryEmbedding = (x: Value, cosine: Value, sine: Value): Value =>
    this.#apply("RotaryEmbedding", {}, [x, cosine, sine]);
  seededDropout = (x: Value, seed: Value, { ratio, site }: OperationAttributes["SeededDropout"]): Value =>
    this.#apply("SeededDropout", { ratio, site }, [x, seed]);

  /** Sums over the axes along which a value of `shape` was broadcast to x. */
  sumToShape(x: Value, shape: Shape): Value {
    if (sameShape(x.shape, shape)) return x;
    const lead = x.shape.length - shape.length;
    const axes = x.shape.flatMap((extent, axis) =>
      axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
    );
    const sizes = broadcastShapes(shape, x.shape);
    if (lead < 0 || sizes === undefined || !sameShape(sizes, x.shape)) return this.#broadcastBack(x, shape);
    return this.reshape(axes.length > 0 ? this.reduceSum(x, axes) : x, shape);
  }

  /** A gradient may itself be smaller than what it belongs to, where it is the same for every element. */
  #broadcastBack(x: Value, shape: Shape): Value {
    const joint = broadcastShapes(x.shape, shape);
    if (joint === undefined || !sameShape(joint, shape))
      throw internalError(`a gradient of shape [${x.shape.join()}] does not fit [${shape.join()}].`);
    return this.expand(x, shape);
  }

  /** Over no axes nothing is reduced; ONNX would take an empty list for all axes. */
  #reduce(
    operation: "ReduceSum" | "ReduceMean" | "ReduceMax",
    x: Value,
    axes: readonly number[],
    keepDimensions: boolean,
  ): Value {
    return axes.length === 0 ? x : this.#apply(operation, { axes, keepDimensions }, [x]);
  }

  /** The same operation on other inputs. */
  copy<K extends OperationName>(node: Node<K>, inputs: readonly (Value | undefined)[]): Node {
    return this.#apply(node.operation, node.attributes, inputs).node;
  }

  #leaf<K extends "Input" | "Weight" | "Constant">(
    operation: K,
    attributes: OperationAttributes[K],
    type: ValueType,
  ): Value {
    const key = `${operation} ${attributesText(attributes)} ${type.dtype} ${type.shape.join()}`;
    return this.#intern(key, operation, attributes, [], () => [type]);
  }

  #apply<K extends OperationName>(
    operation: K,
    attributes: OperationAttributes[K],
    inputs: readonly (Value | undefined)[],
  ): Value {
    const key = `${operation} ${attributesText(attributes)} ${inputs
      .map((value) => (value ? `${value.node.id}.${value.outputIndex}` : ""))
      .join()}`;
    return this.#intern(key, operation, attributes, inputs, () =>
      operations[operation].infer(inputs, attributes),
    );
  }

  #intern<K extends OperationName>(
    key: string,
    operation: K,
    attributes: OperationAttributes[K],
    inputs: readonly (Value | undefined)[],
    types: () => ValueType[],
  ): Value {
    const known = this.#nodes.get(key)?.outputs[0];
    if (known) return known;
    const outputs: Value[] = [];
    const node: Node<K> = { id: this.#nodes.size, operation, attributes, inputs, outputs };
    for (const [outputIndex, { dtype, shape }] of types().entries())
      outputs.push({ node, outputIndex, dtype, shape });
    this.#nodes.set(key, node);
    const [first] = outputs;
    if (!first) throw internalError(`${operation} has no output.`);
    return first;
  }
}

function attributesText(attributes: OperationAttributes[OperationName]): string {
  return Object.entries(attributes)
    .map(([name, value]) => `${name}=${attributeText(value)}`)
    .join(" ");
}

/** Whether a value is a literal with one number everywhere. */
function isLiteral(value: Value, number: number): boolean {
  const { node } = value;
  if (isOperation(node, "Expand")) return node.inputs[0] !== undefined && isLiteral(node.inputs[0], number);
  return isOperation(node, "Constant") && node.attributes.data.every((element) => element === number);
}

/** Whether combining a literal with x leaves x's type as it is. */
function sameBroadcast(literal: Value, x: Value): boolean {
  const joint = broadcastShapes(literal.shape, x.shape);
  return (
    literal.dtype === x.dtype && joint !== undefined && sameShape(joint, x.shape) && sizeOf(x.shape) !== 0
  );
}
