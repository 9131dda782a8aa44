/**
 * @file How ONNX expresses products with large matrices that are kept in other forms than float32: some rows of the matrix
 * at a time, so that it is never there whole as float32 numbers.
 */
import { nodesOf } from "../graph.ts";
import type { Graph, Node, Value } from "../graph.ts";
import type { LoweringTarget } from "../operation.ts";
import { inputOf } from "./inputs.ts";
import { fourBitFactor, lowerStoredValue, rowBlocks, rowsAtOnce, storedMatrix } from "./stored-matrix.ts";
import type { StoredMatrix } from "./stored-matrix.ts";

/** What a product with stored matrices holds besides its inputs and its output. */
export interface ProductWorkspace {
  /** Float32 numbers of decoded matrices. */
  readonly fixed: number;
  /** Copies of the product, where it is put together from parts. */
  readonly results: number;
}

/**
 * The operation that decodes four bits of bitsandbytes' kinds decodes into a buffer of its own and multiplies that by
 * one: their numbers are there twice, but for a product with x that it computes itself.
 */
export function workspaceElements(node: Node<"Gemm">): ProductWorkspace {
  const isPutTogether = blocksOf(node) !== undefined;
  const sizes = [node.inputs[0], node.inputs[1]].map((value, index) => {
    const matrix = storedMatrix(value);
    const [rows = 0, columns = 0] = matrix?.shape ?? [];
    const isFourBit = matrix?.form.kind === "nf4" || matrix?.form.kind === "fp4";
    const copies = isFourBit && (isPutTogether || !fourBitFactor(node)) ? 2 : 1;
    return copies * (index === 1 && matrix ? rowsAtOnce(matrix) : rows) * columns;
  });
  return { fixed: sizes.reduce((sum, size) => sum + size, 0), results: isPutTogether ? 1 : 0 };
}

/** The names of the matrices that some product of the graph reads in blocks. */
export function readInBlocks(graph: Graph): ReadonlySet<string> {
  return new Set(
    nodesOf(graph, "Gemm").flatMap((node) => {
      const blocks = blocksOf(node);
      return blocks ? blocks.map(({ node: { attributes } }) => attributes.name) : [];
    }),
  );
}

function blocksOf(node: Node<"Gemm">): readonly StoredMatrix[] | undefined {
  const matrix = storedMatrix(inputOf(node, 1));
  if (!matrix || storedMatrix(inputOf(node, 0))) return undefined;
  const blocks = rowBlocks(matrix);
  return blocks.length > 1 ? blocks : undefined;
}

/** Writes alpha op(A) op(B) + beta C where B is such a matrix; false, and nothing, where it is not. */
export function lowerInBlocks(node: Node<"Gemm">, target: LoweringTarget): boolean {
  const blocks = blocksOf(node);
  if (!blocks) return false;
  if (node.attributes.transB) lowerColumns(node, target, blocks);
  else lowerSum(node, target, blocks);
  return true;
}

function decoded(target: LoweringTarget, block: StoredMatrix, after: string): string {
  const name = target.intermediate("matrix", { dtype: "float32", shape: block.shape });
  lowerStoredValue(target, block, name, after);
  return name;
}

/** Rows of B are columns of x B^T. */
function lowerColumns(node: Node<"Gemm">, target: LoweringTarget, blocks: readonly StoredMatrix[]): void {
  const { alpha, beta, transA, transB } = node.attributes;
  const [product] = node.outputs;
  const x = target.input(0);
  const parts = blocks.map((block) => {
    const name = target.intermediate(
      "columns",
      typeOf(product, [product?.shape[0] ?? 0, block.shape[0] ?? 0]),
    );
    const attributes = { alpha: { float: alpha }, transA, transB };
    target.emit("Gemm", [x, decoded(target, block, x)], [name], attributes);
    return name;
  });
  const c = target.input(2);
  if (c === "") {
    target.emit("Concat", parts, [target.output(0)], { axis: 1 });
    return;
  }
  const joined = target.intermediate("joined", product);
  target.emit("Concat", parts, [joined], { axis: 1 });
  const scaled = beta === 1 ? c : target.intermediate("scaled");
  if (beta !== 1) target.emit("Mul", [c, target.constant("float32", [], [beta])], [scaled]);
  target.emit("Add", [joined, scaled], [target.output(0)]);
}

/** Rows of B meet columns of y: y B is the sum of their products. */
function lowerSum(node: Node<"Gemm">, target: LoweringTarget, blocks: readonly StoredMatrix[]): void {
  const { alpha, beta, transA, transB } = node.attributes;
  const y = target.input(0);
  const [product] = node.outputs;
  let sum = target.input(2);
  for (const [index, block] of blocks.entries()) {
    const { from = 0, to = 0 } = block.rows ?? {};
    const part = target.intermediate("part");
    const vector = (value: number) => target.constant("int64", [1], [value]);
    target.emit("Slice", [y, vector(from), vector(to), vector(transA ? 0 : 1)], [part]);
    const isLast = index === blocks.length - 1;
    const name = isLast ? target.output(0) : target.intermediate("sum", product);
    const inputs = [part, decoded(target, block, part), ...(sum === "" ? [] : [sum])];
    const factor = index === 0 ? beta : 1;
    target.emit("Gemm", inputs, [name], { alpha: { float: alpha }, beta: { float: factor }, transA, transB });
    sum = name;
  }
}

function typeOf(value: Value | undefined, shape: Value["shape"]) {
  return { dtype: value?.dtype ?? "float32", shape } as const;
}
