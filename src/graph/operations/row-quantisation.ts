/**
 * @file Products in whole numbers of eight bits with a scale for each row of x and each column of the product: a row of x
 * is divided by its largest magnitude / 127, so that it is rounded to 1 ... 255 around 128, or by its largest number / 255
 * where none is negative, and the product is multiplied back. SwitchBack (Wortsman et al. 2023, "Stable and low-precision
 * training for large-scale vision-language models") trains with such products. They come into a graph when it is made ready
 * for a runtime, and have no gradient.
 */
import { internalError } from "../../errors.ts";
import type { Node } from "../graph.ts";
import type { Operation } from "../operation.ts";
import { typed } from "../operation.ts";
import { arrayOf, describe, inputOf, required } from "./inputs.ts";
import { storedMatrix } from "./stored-matrix.ts";

/** Rows of zeros are divided by this. */
const smallestScale = 1e-30;

function noGradient(operation: string): never {
  throw internalError(`${operation} has no gradient.`);
}

export const RowScale: Operation<"RowScale"> = {
  infer(inputs) {
    const x = required(inputs, 0, "RowScale");
    return [typed(x, [x.shape[0] ?? 0, 1])];
  },
  gradient: () => noGradient("RowScale"),
  lower(node, target) {
    const { zeroPoint } = node.attributes;
    const type = { dtype: "float32", shape: node.outputs[0]?.shape ?? [] } as const;
    const [x, axes] = [target.input(0), target.constant("int64", [1], [1])];
    const [largest, smallest, negated, magnitude, scaled] = [
      "largest",
      "smallest",
      "negated",
      "magnitude",
      "scaled",
    ].map((hint) => target.intermediate(hint, type)) as [string, string, string, string, string];
    target.emit("ReduceMax", [x, axes], [largest]);
    if (zeroPoint !== 0) {
      target.emit("ReduceMin", [x, axes], [smallest]);
      target.emit("Neg", [smallest], [negated]);
      target.emit("Max", [largest, negated], [magnitude]);
    }
    const share = target.constant("float32", [], [1 / (255 - zeroPoint)]);
    target.emit("Mul", [zeroPoint === 0 ? largest : magnitude, share], [scaled]);
    target.emit("Max", [scaled, target.constant("float32", [], [smallestScale])], [target.output(0)]);
  },
  interpret({ attributes: { zeroPoint } }, inputs) {
    const { shape, data } = arrayOf(inputs, 0);
    const [rows = 0, columns = 0] = shape;
    const scales = Float64Array.from({ length: rows }, (_, row) =>
      data
        .subarray(row * columns, (row + 1) * columns)
        .reduce((largest, value) => Math.max(largest, Math.abs(value) / (255 - zeroPoint)), smallestScale),
    );
    return [{ shape: [rows, 1], data: scales }];
  },
};

export const QuantizeRows: Operation<"QuantizeRows"> = {
  infer: (inputs) => [{ dtype: "uint8", shape: required(inputs, 0, "QuantizeRows").shape }],
  gradient: () => noGradient("QuantizeRows"),
  lower(node, target) {
    const rows = [inputOf(node, 0).shape[0] ?? 0];
    const scales = target.intermediate("scales", { dtype: "float32", shape: rows });
    const zeros = target.intermediate("zeros", { dtype: "uint8", shape: rows });
    target.emit("Reshape", [target.input(1), target.constant("int64", [1], [-1])], [scales]);
    target.emit(
      "Expand",
      [target.constant("uint8", [], [node.attributes.zeroPoint]), target.extents(rows)],
      [zeros],
    );
    target.emit("QuantizeLinear", [target.input(0), scales, zeros], [target.output(0)], { axis: 0 });
  },
  interpret({ attributes: { zeroPoint } }, inputs) {
    const [x, scales] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const columns = x.shape[1] ?? 0;
    const data = x.data.map((value, index) => {
      const scaled = roundHalfToEven(value / (scales.data[Math.floor(index / columns)] ?? 1)) + zeroPoint;
      return Math.min(255, Math.max(0, scaled));
    });
    return [{ shape: x.shape, data }];
  },
};

function roundHalfToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

export const QuantizedGemm: Operation<"QuantizedGemm"> = {
  infer(inputs, { transB, rows: range }) {
    const [x, w] = [required(inputs, 0, "QuantizedGemm"), required(inputs, 1, "QuantizedGemm")];
    const [rows, inner] = x.shape;
    const wRows = range ? range.to - range.from : w.shape[0];
    const [otherInner, columns] = transB ? [w.shape[1], wRows] : [wRows, w.shape[1]];
    const form = storedMatrix(w)?.form;
    if (rows === undefined || columns === undefined || inner !== otherInner || x.dtype !== "uint8")
      throw internalError(`QuantizedGemm of ${describe(x)} and ${describe(w)}: the shapes do not fit.`);
    if (form?.kind !== "int8" || form.axis !== (transB ? 0 : 1))
      throw internalError(
        "QuantizedGemm needs a matrix in eight bits with a scale for each column of the product.",
      );
    if (range && transB) throw internalError("QuantizedGemm has some rows of its matrix as columns.");
    return [{ dtype: "float32", shape: [rows, columns] }];
  },
  gradient: () => noGradient("QuantizedGemm"),
  lower(node, target) {
    const matrix = storedMatrix(inputOf(node, 1));
    if (!matrix) throw internalError("QuantizedGemm of a matrix that is not stored.");
    const { transB, zeroPoint, rows } = node.attributes;
    const columns = matrix.shape[transB ? 0 : 1] ?? 0;
    const one = target.constant("float32", [], [1]);
    const inputs = [
      ...[target.input(0), one, target.constant("uint8", [], [zeroPoint])],
      ...[target.weightPart(matrix.node, "values", rows), target.weightPart(matrix.node, "scales")],
      target.constant("int8", [columns], new Array<number>(columns).fill(0)),
    ];
    target.emit("QGemm", inputs, [target.output(0)], { transB }, "com.microsoft");
  },
  interpret: (node, inputs) => [interpretProduct(node, inputs)],
};

function interpretProduct(
  { attributes: { transB, zeroPoint, rows: range } }: Node<"QuantizedGemm">,
  inputs: Parameters<Operation<"QuantizedGemm">["interpret"]>[1],
) {
  const [x, w] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
  const [rows = 0, inner = 0] = x.shape;
  const [wRows = 0, wColumns = 0] = w.shape;
  const firstRow = range?.from ?? 0;
  const columns = transB ? wRows : wColumns;
  const data = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      let sum = 0;
      for (let k = 0; k < inner; k++)
        sum +=
          ((x.data[row * inner + k] ?? 0) - zeroPoint) *
          (w.data[transB ? column * wColumns + k : (firstRow + k) * wColumns + column] ?? 0);
      data[row * columns + column] = sum;
    }
  return { shape: [rows, columns], data };
}
