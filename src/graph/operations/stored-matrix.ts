/**
 * @file How ONNX expresses matrices that are kept in other forms than float32: as float32 numbers, made anew for every
 * use, so that no more than one such matrix is there at a time.
 */
import { internalError } from "../../errors.ts";
import { dynamicCodes } from "../../tensor/dynamic-eight-bit.ts";
import type { FourBitKind } from "../../tensor/four-bit-blocks.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { isOperation } from "../graph.ts";
import type { Node, Value } from "../graph.ts";
import { onnxDataType } from "../operation.ts";
import type { LoweringTarget } from "../operation.ts";
import { partsOf, rowsTogether } from "../weight-form.ts";
import type { PartName, RowRange, WeightForm } from "../weight-form.ts";

/** A matrix of the base that is kept in a form. */
export interface StoredMatrix {
  readonly node: Node<"Weight">;
  readonly form: WeightForm;
  readonly shape: readonly number[];
  /** Where only some rows are meant; `shape` is theirs. */
  readonly rows?: RowRange;
}

/** The matrix behind a value, where it is kept in a form. */
export function storedMatrix(value: Value | undefined): StoredMatrix | undefined {
  if (!value || !isOperation(value.node, "Weight")) return undefined;
  const { node } = value;
  const { form } = node.attributes;
  return form && { node, form, shape: value.shape.map(Number) };
}

/** Numbers of a matrix that are decoded at once: 32 MiB of float32. A layer's own matrices mostly have fewer. */
const numbersAtOnce = 2 ** 23;

/** Rows that are decoded at once: fewer than there are only where some can be had without the others. */
export function rowsAtOnce({ form, shape }: StoredMatrix): number {
  const [rows = 0, columns = 0] = shape;
  const together = rowsTogether(form, shape);
  if (rows * columns <= numbersAtOnce || together === undefined) return rows;
  const most = Math.floor(numbersAtOnce / (columns * together)) * together;
  return Math.min(rows, Math.max(together, most));
}

/** The matrix in blocks of so many rows. */
export function rowBlocks(matrix: StoredMatrix): readonly StoredMatrix[] {
  const [rows = 0, columns = 0] = matrix.shape;
  const step = rowsAtOnce(matrix);
  return Array.from({ length: Math.ceil(rows / step) }, (_, index): StoredMatrix => {
    const range: RowRange = { from: index * step, to: Math.min((index + 1) * step, rows) };
    return { ...matrix, shape: [range.to - range.from, columns], rows: range };
  });
}

/**
 * Writes the matrix as float32 numbers.
 * @param after Name of a value of at least one axis that has to be there first. Decoding needs nothing that a run
 * computes, so that the runtime may decode all matrices before it begins with anything else.
 */
export function lowerStoredValue(
  target: LoweringTarget,
  matrix: StoredMatrix,
  output: string,
  after?: string,
): void {
  const { node, form, rows } = matrix;
  // The smaller array is the one that waits.
  const part = (name: PartName) =>
    name === (hasScales(form) ? "scales" : "values")
      ? waitingPart(target, matrix, name, after)
      : target.weightPart(node, name, rows);
  switch (form.kind) {
    case "bfloat16":
    case "float16":
      target.emit("Cast", [part("values")], [output], { to: onnxDataType.float32 });
      return;
    case "int8":
    case "int4": {
      const blocks = form.kind === "int4" ? { block_size: form.blockSize } : {};
      target.emit("DequantizeLinear", [part("values"), part("scales")], [output], {
        axis: form.axis,
        ...blocks,
      });
      return;
    }
    case "nf4":
    case "fp4":
      lowerFourBit(target, { ...matrix, form }, output, after);
      return;
    case "int4-blocks":
      throw internalError(`the blocks of ${node.attributes.name} are for BlockGemm alone.`);
  }
}

const hasScales = ({ kind }: WeightForm): boolean => kind !== "bfloat16" && kind !== "float16";

/** An array of the matrix in its own shape, which is computed from the shape of what it waits for. */
function waitingPart(
  target: LoweringTarget,
  { node, form, shape, rows }: StoredMatrix,
  name: PartName,
  after: string | undefined,
): string {
  const whole = target.weightPart(node, name, rows);
  if (after === undefined) return whole;
  const [nothing, own, array] = ["nothing", "own", name].map((hint) => target.intermediate(hint)) as [
    string,
    string,
    string,
  ];
  const partShape = partsOf(form, shape)[name]?.shape ?? [];
  target.emit("Shape", [after], [nothing], { start: 0, end: 0 });
  target.emit("Concat", [nothing, target.constant("int64", [partShape.length], partShape)], [own], {
    axis: 0,
  });
  target.emit("Reshape", [whole, own], [array]);
  return array;
}

/**
 * Scales of blocks as float32 numbers: those of double quantisation are looked up in the numbers that codes of eight bits
 * stand for, multiplied by the scale of their row, and moved by the mean of all. Their last row is longer than the matrix
 * has blocks; what reads them reads the first ones.
 */
function fourBitScales(target: LoweringTarget, matrix: FourBitMatrix, after: string | undefined): string {
  const { node, form, shape, rows } = matrix;
  const stored = waitingPart(target, matrix, "scales", after);
  if (form.nestedBlockSize === undefined) return stored;
  const extents = partsOf(form, shape).scales?.shape ?? [];
  const step = (operation: string, inputs: readonly string[], dtype: "int32" | "float32" = "float32") => {
    const name = target.intermediate("scales", { dtype, shape: extents });
    target.emit(operation, inputs, [name], operation === "Cast" ? { to: onnxDataType[dtype] } : {});
    return name;
  };
  const table = target.constant("float32", [dynamicCodes.length], [...dynamicCodes]);
  const numbers = step("Gather", [table, step("Cast", [stored], "int32")]);
  const scaled = step("Mul", [numbers, target.weightPart(node, "nestedScales", rows)]);
  return step("Add", [scaled, target.weightPart(node, "nestedOffset")]);
}

/** The matrix of a product x W^T that the runtime computes from these four bits itself. */
export function fourBitFactor(node: Node<"Gemm">): FourBitMatrix | undefined {
  const [x, w, c] = node.inputs;
  const [matrix, { alpha, transA, transB }] = [storedMatrix(w), node.attributes];
  if (!matrix || storedMatrix(x) || c || alpha !== 1 || transA || !transB) return undefined;
  const { form } = matrix;
  return form.kind === "nf4" || form.kind === "fp4" ? { ...matrix, form } : undefined;
}

interface FourBitMatrix extends StoredMatrix {
  readonly form: Extract<WeightForm, { readonly kind: FourBitKind }>;
}

/**
 * Writes such a product as the runtime's own, which decodes the matrix and waits for x by itself; false, and nothing, for
 * any other.
 */
export function lowerFourBitProduct(node: Node<"Gemm">, target: LoweringTarget): boolean {
  const matrix = fourBitFactor(node);
  if (!matrix) return false;
  const { form, shape } = matrix;
  const [rows = 0, columns = 0] = shape;
  const x = target.input(0);
  // Scales of float32 are read as they lie; nested ones are decoded, which has to wait.
  const scales = fourBitScales(target, matrix, form.nestedBlockSize === undefined ? undefined : x);
  const inputs = [x, target.weightPart(matrix.node, "values"), scales];
  emitFourBitProduct(target, form, [columns, rows], inputs, target.output(0));
  return true;
}

function emitFourBitProduct(
  target: LoweringTarget,
  { kind, blockSize }: { readonly kind: FourBitKind; readonly blockSize: number },
  [K, N]: readonly [inner: number, columns: number],
  inputs: readonly string[],
  output: string,
): void {
  const attributes = {
    ...{ K, N, block_size: blockSize, quant_type: kind === "fp4" ? 0 : 1 },
    ...{ training_mode: 1, transB: 1 },
  };
  target.emit("MatMulBnb4", inputs, [output], attributes, "com.microsoft");
}

/**
 * ONNX Runtime has no operation that only decodes these four bits, but a product that decodes first: [[1]] times the
 * matrix as one column is the matrix. (Its product of x with the matrix itself is wrong in the direction of the backward
 * pass: with `transB` 0 the kernel for the CPU still reads the matrix transposed.)
 */
function lowerFourBit(
  target: LoweringTarget,
  matrix: FourBitMatrix,
  output: string,
  after: string | undefined,
): void {
  const { node, form, shape, rows } = matrix;
  const count = elementCount(shape);
  const row = target.intermediate("row", { dtype: "float32", shape: [1, count] });
  const parts = [target.weightPart(node, "values", rows), fourBitScales(target, matrix, after)];
  emitFourBitProduct(target, form, [1, count], [target.constant("float32", [1, 1], [1]), ...parts], row);
  target.emit("Reshape", [row, target.constant("int64", [shape.length], shape)], [output]);
}

/**
 * Writes rows of a matrix in 16 bits, widened after they are chosen; false where the matrix is in another form, whose
 * rows cannot be had alone.
 */
export function lowerStoredRows(
  target: LoweringTarget,
  matrix: StoredMatrix,
  indices: string,
  output: string,
): boolean {
  const { node, form } = matrix;
  if (form.kind !== "bfloat16" && form.kind !== "float16") return false;
  if (target.isReadInBlocks(node)) lowerRowsOfBlocks(target, matrix, indices, output);
  else {
    const rows = target.intermediate("rows");
    target.emit("Gather", [target.weightPart(node, "values"), indices], [rows]);
    target.emit("Cast", [rows], [output], { to: onnxDataType.float32 });
  }
  return true;
}

/**
 * Rows out of the blocks that products read: the runtime maps each array that it is given apart, and would map the pages of
 * the whole matrix a second time. Every block gives a row for each index; that of the last block that does not begin
 * behind the index stays.
 */
function lowerRowsOfBlocks(
  target: LoweringTarget,
  matrix: StoredMatrix,
  indices: string,
  output: string,
): void {
  const scalar = (value: number) => target.constant("int64", [], [value]);
  const column = target.intermediate("column");
  target.emit("Unsqueeze", [indices, target.constant("int64", [1], [-1])], [column]);
  const blocks = rowBlocks(matrix);
  let chosen = "";
  for (const [index, { node, rows = { from: 0, to: 0 } }] of blocks.entries()) {
    const [inBlock, place, own, widened] = ["inBlock", "place", "rows", "widened"].map((hint) =>
      target.intermediate(hint),
    ) as [string, string, string, string];
    target.emit("Sub", [indices, scalar(rows.from)], [inBlock]);
    // An index behind the last row is still the runtime's to refuse.
    const last = index === blocks.length - 1 ? [] : [scalar(rows.to - rows.from - 1)];
    target.emit("Clip", [inBlock, scalar(0), ...last], [place]);
    target.emit("Gather", [target.weightPart(node, "values", rows), place], [own]);
    target.emit("Cast", [own], [widened], { to: onnxDataType.float32 });
    if (index === 0) {
      chosen = widened;
      continue;
    }
    const reaches = target.intermediate("reaches");
    const next = index === blocks.length - 1 ? output : target.intermediate("chosen");
    target.emit("GreaterOrEqual", [column, scalar(rows.from)], [reaches]);
    target.emit("Where", [reaches, widened, chosen], [next]);
    chosen = next;
  }
}
