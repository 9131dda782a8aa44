/** @file Matrix products. */
import { internalError } from "../../errors.ts";
import { broadcastShapes, evaluateDimension } from "../dimension.ts";
import type { Node } from "../graph.ts";
import type { HostArray, LoweringTarget, Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, outputGradient, required } from "./inputs.ts";
import { broadcastTo } from "./elementwise.ts";
import { lowerInBlocks } from "./stored-product.ts";
import { lowerFourBitProduct, lowerStoredValue, storedMatrix } from "./stored-matrix.ts";

/** Plain product of one pair of matrices, read through strides so that transposes need no copy. */
function product(
  rows: number,
  inner: number,
  columns: number,
  a: (row: number, k: number) => number,
  b: (k: number, column: number) => number,
  store: (row: number, column: number, value: number) => void,
): void {
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a(row, k) * b(k, column);
      store(row, column, sum);
    }
}

export const MatMul: Operation<"MatMul"> = {
  infer(inputs) {
    const [a, b] = [required(inputs, 0, "MatMul"), required(inputs, 1, "MatMul")];
    const lead = broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2));
    const [rows, inner] = a.shape.slice(-2);
    const [otherInner, columns] = b.shape.slice(-2);
    if (lead === undefined || inner !== otherInner || rows === undefined || columns === undefined)
      throw internalError(`MatMul of ${describe(a)} and ${describe(b)}: the shapes do not fit.`);
    return [{ dtype: a.dtype, shape: [...lead, rows, columns] }];
  },
  // C = A B: dA = dC B^T, dB = A^T dC, summed over broadcast leading axes
  gradient(rule) {
    const { builder, node, wanted } = rule;
    const dy = outputGradient(rule);
    const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
    return [
      wanted[0] ? builder.sumToShape(builder.matmul(dy, builder.transposeLast(b)), a.shape) : undefined,
      wanted[1] ? builder.sumToShape(builder.matmul(builder.transposeLast(a), dy), b.shape) : undefined,
    ];
  },
  lower(_node, target) {
    target.emit("MatMul", [target.input(0), target.input(1)], [target.output(0)]);
  },
  interpret(_node, inputs) {
    const [left, right] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const joint = broadcastShapes(left.shape.slice(0, -2), right.shape.slice(0, -2)) ?? [];
    const lead = joint.map((dimension) => evaluateDimension(dimension, new Map()));
    const a = broadcastTo(left, [...lead, ...left.shape.slice(-2)]);
    const b = broadcastTo(right, [...lead, ...right.shape.slice(-2)]);
    const [rows = 0, inner = 0] = a.shape.slice(-2);
    const columns = b.shape.at(-1) ?? 0;
    const batches = lead.reduce((x, y) => x * y, 1);
    const data = new Float64Array(batches * rows * columns);
    for (let batch = 0; batch < batches; batch++)
      product(
        rows,
        inner,
        columns,
        (row, k) => a.data[(batch * rows + row) * inner + k] ?? 0,
        (k, column) => b.data[(batch * inner + k) * columns + column] ?? 0,
        (row, column, value) => (data[(batch * rows + row) * columns + column] = value),
      );
    return [{ shape: [...lead, rows, columns], data }];
  },
};

/** Name of a factor of a product; a stored matrix is made for this product alone, and gone after it. */
function factor(node: Node<"Gemm">, index: 0 | 1, target: LoweringTarget): string {
  const value = inputOf(node, index);
  const stored = storedMatrix(value);
  if (!stored) return target.input(index);
  const name = target.intermediate("matrix", value);
  lowerStoredValue(target, stored, name, target.input(1 - index));
  return name;
}

export const Gemm: Operation<"Gemm"> = {
  infer(inputs, { transA, transB }) {
    const [a, b, c] = [required(inputs, 0, "Gemm"), required(inputs, 1, "Gemm"), inputs[2]];
    const [rows, inner] = transA ? [a.shape[1], a.shape[0]] : a.shape;
    const [otherInner, columns] = transB ? [b.shape[1], b.shape[0]] : b.shape;
    if (
      rows === undefined ||
      columns === undefined ||
      inner !== otherInner ||
      a.shape.length !== 2 ||
      b.shape.length !== 2
    )
      throw internalError(
        `Gemm of ${describe(a)}${transA ? "^T" : ""} and ${describe(b)}${transB ? "^T" : ""}: the shapes do not fit.`,
      );
    const shape = [rows, columns];
    if (c !== undefined && broadcastShapes(c.shape, shape)?.join() !== shape.join())
      throw internalError(
        `Gemm: the third input ${describe(c)} does not broadcast to [${shape.join(", ")}].`,
      );
    return [{ dtype: a.dtype, shape }];
  },
  // Y = alpha op(A) op(B) + beta C: dA = alpha dY op(B)^T (transposed where A is), dB = alpha op(A)^T dY likewise, dC = beta dY
  gradient(rule) {
    const { builder, node, wanted } = rule;
    const dy = outputGradient(rule);
    const [a, b, c] = [inputOf(node, 0), inputOf(node, 1), node.inputs[2]];
    const { alpha, beta, transA, transB } = node.attributes;
    const da = () =>
      transA
        ? builder.gemm(b, dy, { alpha, transA: transB, transB: true })
        : builder.gemm(dy, b, { alpha, transB: !transB });
    const db = () =>
      transB
        ? builder.gemm(dy, a, { alpha, transA: true, transB: transA })
        : builder.gemm(a, dy, { alpha, transA: !transA });
    return [
      wanted[0] ? da() : undefined,
      wanted[1] ? db() : undefined,
      wanted[2] && c ? builder.sumToShape(builder.scale(dy, beta), c.shape) : undefined,
    ];
  },
  lower(node, target) {
    if (lowerInBlocks(node, target) || lowerFourBitProduct(node, target)) return;
    const { alpha, beta, transA, transB } = node.attributes;
    const [inner] = transA ? inputOf(node, 0).shape : inputOf(node, 0).shape.slice(1);
    // ONNX Runtime forgets beta where the inner extent is zero, as it can be with rows counted at run time.
    const scaled = node.inputs[2] && beta !== 1 && (inner === 0 || typeof inner === "string");
    const c = scaled ? target.intermediate("scaled") : target.input(2);
    if (scaled) target.emit("Mul", [target.input(2), target.constant("float32", [], [beta])], [c]);
    const inputs = [factor(node, 0, target), factor(node, 1, target), ...(c === "" ? [] : [c])];
    target.emit("Gemm", inputs, [target.output(0)], {
      alpha: { float: alpha },
      beta: { float: scaled ? 1 : beta },
      transA,
      transB,
    });
  },
  interpret(node, inputs) {
    const [a, b] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const { alpha, beta, transA, transB } = node.attributes;
    const [aRows = 0, aColumns = 0] = a.shape;
    const [bRows = 0, bColumns = 0] = b.shape;
    const [rows, inner] = transA ? [aColumns, aRows] : [aRows, aColumns];
    const columns = transB ? bRows : bColumns;
    const bias: HostArray | undefined = node.inputs[2]
      ? broadcastTo(arrayOf(inputs, 2), [rows, columns])
      : undefined;
    const data = new Float64Array(rows * columns);
    product(
      rows,
      inner,
      columns,
      (row, k) => a.data[transA ? k * aColumns + row : row * aColumns + k] ?? 0,
      (k, column) => b.data[transB ? column * bColumns + k : k * bColumns + column] ?? 0,
      (row, column, value) => {
        const at = row * columns + column;
        data[at] = alpha * value + beta * (bias?.data[at] ?? 0);
      },
    );
    return [{ shape: [rows, columns], data }];
  },
};
