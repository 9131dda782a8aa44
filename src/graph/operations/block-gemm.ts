/**
 * @file Products of few rows with a matrix in blocks of four bits: where a step reads all weights for one token, their
 * bytes are its time. They come into a graph when it is made ready for a runtime, and have no gradient.
 */
import { internalError } from "../../errors.ts";
import type { Operation } from "../operation.ts";
import { arrayOf, describe, inputOf, required } from "./inputs.ts";
import { storedMatrix } from "./stored-matrix.ts";

/** What ONNX Runtime's `accuracy_level` calls rounding the rows to eight bits, a scale for each block of a row. */
const eightBitRows = 4;

export const BlockGemm: Operation<"BlockGemm"> = {
  infer(inputs) {
    const [x, w] = [required(inputs, 0, "BlockGemm"), required(inputs, 1, "BlockGemm")];
    const [rows, inner] = x.shape;
    const [columns, otherInner] = w.shape;
    if (rows === undefined || columns === undefined || inner !== otherInner)
      throw internalError(`BlockGemm of ${describe(x)} and ${describe(w)}: the shapes do not fit.`);
    if (storedMatrix(w)?.form.kind !== "int4-blocks")
      throw internalError("BlockGemm needs a matrix in blocks of four bits.");
    return [{ dtype: "float32", shape: [rows, columns] }];
  },
  gradient() {
    throw internalError("BlockGemm has no gradient.");
  },
  lower(node, target) {
    const matrix = storedMatrix(inputOf(node, 1));
    if (matrix?.form.kind !== "int4-blocks") throw internalError("BlockGemm of a matrix in no blocks.");
    const [columns = 0, inner = 0] = matrix.shape;
    const inputs = [
      target.input(0),
      target.weightPart(matrix.node, "values"),
      target.weightPart(matrix.node, "scales"),
    ];
    const { blockSize } = matrix.form;
    const attributes = { K: inner, N: columns, bits: 4, block_size: blockSize, accuracy_level: eightBitRows };
    target.emit("MatMulNBits", inputs, [target.output(0)], attributes, "com.microsoft");
  },
  interpret(_node, inputs) {
    const [x, w] = [arrayOf(inputs, 0), arrayOf(inputs, 1)];
    const [rows = 0, inner = 0] = x.shape;
    const [columns = 0] = w.shape;
    const data = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let k = 0; k < inner; k++)
          sum += (x.data[row * inner + k] ?? 0) * (w.data[column * inner + k] ?? 0);
        data[row * columns + column] = sum;
      }
    return [{ shape: [rows, columns], data }];
  },
};
