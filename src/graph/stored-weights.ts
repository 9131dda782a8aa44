/**
 * @file Makes a graph ready for weights as they are kept: matrices in other forms than float32, and products with them in
 * whole numbers where these were prepared. Knows neither files nor a runtime.
 */
import { internalError } from "../errors.ts";
import { GraphBuilder } from "./builder.ts";
import { graphOf, isOperation, nodesOf } from "./graph.ts";
import type { Graph, Node, Value } from "./graph.ts";
import { softmaxProduct } from "./softmax-product.ts";
import type { WeightForm } from "./weight-form.ts";

/** How one weight is kept. */
export interface KeptWeight {
  /** Left out for float32. */
  readonly form?: WeightForm | undefined;
  /** The products that read it in eight bits: 0 for those with a scale for each of its rows, 1 for each column. */
  readonly productAxes: readonly (0 | 1)[];
  /** Whether products with a scale for each column read the gradient of a softmax alone: see `softmaxProduct`. */
  readonly isOutput?: boolean | undefined;
  /** Where products of few rows read it in blocks of four bits: the extent of a block. */
  readonly blockSize?: number | undefined;
}

/** The same graph over weights as they are kept, up to their rounding; the graph itself where nothing changes. */
export function overKeptWeights(graph: Graph, keptAs: (name: string) => KeptWeight): Graph {
  const kept = new Map(
    nodesOf(graph, "Weight").map(({ attributes: { name } }) => [name, keptAs(name)] as const),
  );
  if ([...kept.values()].every(({ form, productAxes }) => !form && productAxes.length === 0)) return graph;
  const builder = new GraphBuilder();
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const copy = copies.get(value);
    if (!copy) throw internalError(`${value.node.operation} ${value.node.id} was not copied yet.`);
    return copy;
  };
  for (const node of graph.nodes) {
    const product = quantisedProduct(builder, node, kept, copyOf);
    const copied = product ? [product] : copyNode(builder, node, kept, copyOf).outputs;
    for (const [index, output] of node.outputs.entries()) {
      const copy = copied[index];
      if (copy) copies.set(output, copy);
    }
  }
  return graphOf(graph.outputs.map(({ name, value }) => ({ name, value: copyOf(value) })));
}

function copyNode(
  builder: GraphBuilder,
  node: Node,
  kept: ReadonlyMap<string, KeptWeight>,
  copyOf: (value: Value) => Value,
): Node {
  const [output] = node.outputs;
  if (output && isOperation(node, "Input"))
    return builder.input(node.attributes.name, output.dtype, output.shape).node;
  if (output && isOperation(node, "Constant"))
    return builder.constant(output.dtype, output.shape.map(Number), node.attributes.data).node;
  if (output && isOperation(node, "Weight")) {
    const { name } = node.attributes;
    return builder.weight(name, output.shape.map(Number), kept.get(name)?.form).node;
  }
  return builder.copy(
    node,
    node.inputs.map((input) => input && copyOf(input)),
  );
}

/**
 * x W or x W^T + C in whole numbers, for a row of x for each of a number of tokens that is known at run time; products of a
 * method's own matrices with W are few and stay exact.
 */
function quantisedProduct(
  builder: GraphBuilder,
  node: Node,
  kept: ReadonlyMap<string, KeptWeight>,
  copyOf: (value: Value) => Value,
): Value | undefined {
  if (!isOperation(node, "Gemm")) return undefined;
  const [x, w, c] = node.inputs;
  const { alpha, beta, transA, transB } = node.attributes;
  if (!x || !w || transA || alpha !== 1 || typeof x.shape[0] !== "string") return undefined;
  if (!isOperation(w.node, "Weight")) return undefined;
  const { productAxes = [], blockSize, isOutput = false } = kept.get(w.node.attributes.name) ?? {};
  const axis = transB ? 0 : 1;
  if (!productAxes.includes(axis)) return undefined;
  const withAddend = (product: Value) => (c ? builder.add(product, builder.scale(copyOf(c), beta)) : product);
  if (isOutput && axis === 1) {
    const product = softmaxProduct(builder, x, { value: w, name: w.node.attributes.name }, copyOf);
    return product && withAddend(product);
  }
  if (blockSize !== undefined && transB) {
    const blocks = builder.weight(w.node.attributes.name, w.shape.map(Number), {
      kind: "int4-blocks",
      blockSize,
    });
    return withAddend(builder.blockGemm(copyOf(x), blocks));
  }
  const form: WeightForm = { kind: "int8", axis };
  const matrix = builder.weight(w.node.attributes.name, w.shape.map(Number), form);
  const rows = copyOf(x);
  const zeroPoint = 128;
  const scale = builder.rowScale(rows, zeroPoint);
  const integers = builder.quantizeRows(rows, scale, zeroPoint);
  return withAddend(builder.multiply(builder.quantizedGemm(integers, matrix, { transB, zeroPoint }), scale));
}
