/**
 * @file How ONNX expresses matrices that are kept in other forms than float32: as float32 numbers, made anew for every
 * use, so that no more than one such matrix is there at a time.
 */
import { isOperation } from "../graph.ts";
import type { Node, Value } from "../graph.ts";
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

/**
 * Writes the matrix as float32 numbers. ONNX Runtime has no operation that only decodes four bits, but a product that
 * decodes first: [[1]] times the matrix as one column is the matrix. (Its product of x with the matrix itself is wrong
 * in the direction of the backward pass: with `transB` 0 the kernel for the CPU still reads the matrix transposed.)
 */
export function lowerStoredValue(
  target: LoweringTarget,
  { node, form, shape }: StoredMatrix,
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
    ...{ K: 1, N: count, block_size: form.blockSize, quant_type: form.kind === "fp4" ? 0 : 1 },
    ...{ training_mode: 1, transB: 1 },
  };
  target.emit("MatMulBnb4", inputs, [row], attributes, "com.microsoft");
  target.emit("Reshape", [row, target.constant("int64", [shape.length], shape)], [output]);
}
