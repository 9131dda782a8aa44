/**
 * @file How ONNX expresses matrices that are kept in other forms than float32: as float32 numbers, made anew for every
 * use, so that no more than one such matrix is there at a time.
 */
import { internalError } from "../../errors.ts";
import type { FourBitKind } from "../../tensor/four-bit-blocks.ts";
import { isOperation } from "../graph.ts";
import type { Node, Value } from "../graph.ts";
import { onnxDataType } from "../operation.ts";
import type { LoweringTarget } from "../operation.ts";
import { hasSeparateRows, partsOf } from "../weight-form.ts";
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

/** Rows that are decoded at once: fewer than there are only where rows can be had alone. */
export function rowsAtOnce({ form, shape }: StoredMatrix): number {
  const [rows = 0, columns = 0] = shape;
  if (rows * columns <= numbersAtOnce || !hasSeparateRows(form, shape)) return rows;
  return Math.max(1, Math.floor(numbersAtOnce / columns));
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
  const part = (name: PartName) => {
    const whole = target.weightPart(node, name, rows);
    // The smaller array is the one that waits.
    const waits = after !== undefined && name === (hasScales(form) ? "scales" : "values");
    return waits ? lowerAfter(target, matrix, { name, whole, after }) : whole;
  };
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
      lowerFourBit(target, matrix, form, [part("values"), part("scales")], output);
      return;
    case "int4-blocks":
      throw internalError(`the blocks of ${node.attributes.name} are for BlockGemm alone.`);
  }
}

const hasScales = ({ kind }: WeightForm): boolean => kind !== "bfloat16" && kind !== "float16";

/** An array of the matrix in its own shape, which is computed from the shape of what it waits for. */
function lowerAfter(
  target: LoweringTarget,
  { form, shape }: StoredMatrix,
  { name, whole, after }: { readonly name: PartName; readonly whole: string; readonly after: string },
): string {
  const [extent, nothing, own, array] = ["extent", "nothing", "own", name].map((hint) =>
    target.intermediate(hint),
  ) as [string, string, string, string];
  const partShape = partsOf(form, shape)[name]?.shape ?? [];
  target.emit("Shape", [after], [extent], { start: 0, end: 1 });
  target.emit("Mul", [extent, target.constant("int64", [1], [0])], [nothing]);
  target.emit("Add", [nothing, target.constant("int64", [partShape.length], partShape)], [own]);
  target.emit("Reshape", [whole, own], [array]);
  return array;
}

/** The matrix of a product x W^T that the runtime computes from these four bits itself. */
export function fourBitFactor(node: Node<"Gemm">): FourBitFactor | undefined {
  const [x, w, c] = node.inputs;
  const [matrix, { alpha, transA, transB }] = [storedMatrix(w), node.attributes];
  if (!matrix || storedMatrix(x) || c || alpha !== 1 || transA || !transB) return undefined;
  const { form } = matrix;
  return form.kind === "nf4" || form.kind === "fp4" ? { ...matrix, form } : undefined;
}

interface FourBitFactor extends StoredMatrix {
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
  const parts = [target.weightPart(matrix.node, "values"), target.weightPart(matrix.node, "scales")];
  emitFourBitProduct(target, form, [columns, rows], [target.input(0), ...parts], target.output(0));
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
  { shape }: StoredMatrix,
  form: { readonly kind: FourBitKind; readonly blockSize: number },
  parts: readonly [values: string, scales: string],
  output: string,
): void {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const row = target.intermediate("row", { dtype: "float32", shape: [1, count] });
  const inputs = [target.constant("float32", [1, 1], [1]), ...parts];
  emitFourBitProduct(target, form, [1, count], inputs, row);
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
