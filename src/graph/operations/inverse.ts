/** @file Inverses of small square matrices. */
import { internalError } from "../../errors.ts";
import type { Operation } from "../operation.ts";
import { arrayOf, describe, outputGradient, required } from "./inputs.ts";

export const Inverse: Operation<"Inverse"> = {
  infer(inputs) {
    const a = required(inputs, 0, "Inverse");
    const [rows, columns] = a.shape.slice(-2);
    if (rows === undefined || rows !== columns)
      throw internalError(`Inverse of ${describe(a)}: the matrices are not square.`);
    return [{ dtype: a.dtype, shape: a.shape }];
  },
  // Y = A^-1: from Y A = I follows dY = -Y dA Y, and so the gradient of A is -Y^T G Y^T
  gradient(rule) {
    const { builder, node } = rule;
    const [inverse] = node.outputs;
    if (!inverse) throw internalError("Inverse has no output.");
    const turned = builder.transposeLast(inverse);
    return [builder.negate(builder.matmul(builder.matmul(turned, outputGradient(rule)), turned))];
  },
  lower(_node, target) {
    target.emit("Inverse", [target.input(0)], [target.output(0)], {}, "com.microsoft");
  },
  interpret(_node, inputs) {
    const { shape, data } = arrayOf(inputs, 0);
    const extent = shape.at(-1) ?? 0;
    const result = new Float64Array(data.length);
    const size = extent * extent;
    for (let start = 0; start < data.length; start += size)
      result.set(invert(data.subarray(start, start + size), extent), start);
    return [{ shape, data: result }];
  },
};

/** Gauss-Jordan elimination with the largest pivot of each column. */
function invert(matrix: Float64Array, extent: number): Float64Array {
  const width = 2 * extent;
  const rows = Array.from({ length: extent }, (_, row) => {
    const line = new Float64Array(width);
    line.set(matrix.subarray(row * extent, (row + 1) * extent));
    line[extent + row] = 1;
    return line;
  });
  const at = (row: number, column: number) => rows[row]?.[column] ?? NaN;
  for (let column = 0; column < extent; column++) {
    let pivot = column;
    for (let row = column + 1; row < extent; row++)
      if (Math.abs(at(row, column)) > Math.abs(at(pivot, column))) pivot = row;
    const [chosen] = rows.splice(pivot, 1);
    if (!chosen) throw internalError("a matrix to invert has too few rows.");
    rows.splice(column, 0, chosen);
    const divisor = at(column, column);
    for (let place = 0; place < width; place++) chosen[place] = (chosen[place] ?? 0) / divisor;
    for (const [row, line] of rows.entries()) {
      if (row === column) continue;
      const factor = line[column] ?? 0;
      for (let place = 0; place < width; place++)
        line[place] = (line[place] ?? 0) - factor * (chosen[place] ?? 0);
    }
  }
  return Float64Array.from(rows.flatMap((line) => [...line.subarray(extent)]));
}
