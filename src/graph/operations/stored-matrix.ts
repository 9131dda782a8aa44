/**
 * @file How ONNX expresses matrices that are kept in other forms than float32: as float32 numbers, made anew for every
 * use, so that no more than one such matrix is there at a time.
 */
import type { FourBitKind } from "../../tensor/four-bit-blocks.ts";
import { isOperation } from "../graph.ts";
import type { Node, Value } from "../graph.ts";
import { onnxDataType } from "../operation.ts";
import type { LoweringTarget } from "../operation.ts";
import type { WeightForm } from "../weight-form.ts";

/** A matrix of the base that is kept in a form. */
export interface StoredMatrix {
  readonly node: Node<"Weight">;
  readonly form: WeightForm;
  readonly shape: readonly number[];
}

/** The matrix behind a value, where it is kept in a form. */
export function storedMatrix(value: Value | undefined): StoredMatrix | undefined {
  if (!value || !isOperation(value.node, "Weight")) return undefined;
  const { node } = value;
  const { form } = node.attributes;
  return form && { node, form, shape: value.shape.map(Number) };
}

/** Writes the matrix as float32 numbers. */
export function lowerStoredValue(target: LoweringTarget, matrix: StoredMatrix, output: string): void {
  const { node, form } = matrix;
  const values = target.weightPart(node, "values");
  switch (form.kind) {
    case "bfloat16":
    case "float16":
      target.emit("Cast", [values], [output], { to: onnxDataType.float32 });
      return;
    case "int8":
    case "int4": {
      const scales = target.weightPart(node, "scales");
      const blocks = form.kind === "int4" ? { block_size: form.blockSize } : {};
      target.emit("DequantizeLinear", [values, scales], [output], { axis: form.axis, ...blocks });
      return;
    }
    case "nf4":
    case "fp4":
      lowerFourBit(target, matrix, form, output);
  }
}

/**
 * ONNX Runtime has no operation that only decodes these four bits, but a product that decodes first: [[1]] times the
 * matrix as one column is the matrix. (Its product of x with the matrix itself is wrong in the direction of the backward
 * pass: with `transB` 0 the kernel for the CPU still reads the matrix transposed.)
 */
function lowerFourBit(
  target: LoweringTarget,
  { node, shape }: StoredMatrix,
  { kind, blockSize }: { readonly kind: FourBitKind; readonly blockSize: number },
  output: string,
): void {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const row = target.intermediate("row", { dtype: "float32", shape: [1, count] });
  const inputs = [
    target.constant("float32", [1, 1], [1]),
    target.weightPart(node, "values"),
    target.weightPart(node, "scales"),
  ];
  const attributes = {
    ...{ K: 1, N: count, block_size: blockSize, quant_type: kind === "fp4" ? 0 : 1 },
    ...{ training_mode: 1, transB: 1 },
  };
  target.emit("MatMulBnb4", inputs, [row], attributes, "com.microsoft");
  target.emit("Reshape", [row, target.constant("int64", [shape.length], shape)], [output]);
}

/**
 * Writes rows of a matrix in 16 bits, widened after they are chosen; false where the matrix is in another form, whose
 * rows cannot be had alone.
 */
export function lowerStoredRows(
  target: LoweringTarget,
  { node, form }: StoredMatrix,
  indices: string,
  output: string,
): boolean {
  if (form.kind !== "bfloat16" && form.kind !== "float16") return false;
  const rows = target.intermediate("rows");
  target.emit("Gather", [target.weightPart(node, "values"), indices], [rows]);
  target.emit("Cast", [rows], [output], { to: onnxDataType.float32 });
  return true;
}
