/**
 * @file The buffers that ONNX Runtime gives the values of a graph, and between which nodes each is held. Works on the
 * very graph that will run, without weights and before anything is loaded.
 */
import { evaluateDimension } from "../graph/dimension.ts";
import type { DimensionValues } from "../graph/dimension.ts";
import { isOperation, nodesOf } from "../graph/graph.ts";
import type { Graph, Node, OperationName, Value } from "../graph/graph.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";

/** A piece of memory that values share one after the other. */
export interface Buffer {
  readonly bytes: number;
  /** The nodes, counted from 0, that it is there for, both included. */
  readonly from: number;
  readonly to: number;
}

/** Operations whose result is another view of their first input. */
const views: ReadonlySet<OperationName> = new Set<OperationName>(["Reshape"]);

/** Operations whose kernels write over an input of the same size which nothing else reads. */
const inPlace: ReadonlySet<OperationName> = new Set<OperationName>(["Tanh", "Sigmoid", "Relu", "Softmax"]);

interface Held {
  readonly bytes: number;
  readonly from: number;
  to: number;
  /** Reads still to come; what the graph gives out is never read for the last time. */
  reads: number;
}

/**
 * The runtime's plan: a value takes over a buffer that it may overwrite, else one of its own extents that nothing needs
 * any more, which is then held through the time in between, else a new one. Inputs and weights are the caller's.
 */
export function planBuffers(graph: Graph, dimensions: DimensionValues): readonly Buffer[] {
  const given = new Set(graph.nodes.filter(isGiven));
  const outputs = new Set(graph.outputs.map(({ value }) => value));
  const reads = new Map<Value, number>();
  for (const node of graph.nodes)
    for (const input of node.inputs) if (input) reads.set(input, (reads.get(input) ?? 0) + 1);
  for (const value of outputs) reads.set(value, Infinity);
  const buffers: Held[] = [];
  const bufferOf = new Map<Value, Held>();
  const spare = new Map<string, Held[]>();
  for (const [index, node] of graph.nodes.entries()) {
    if (given.has(node)) continue;
    for (const output of node.outputs) {
      const count = reads.get(output) ?? 0;
      if (count === 0) continue;
      const shared = viewed(node, bufferOf) ?? (outputs.has(output) ? undefined : overwritten(node, output));
      const held = shared ?? (outputs.has(output) ? undefined : spare.get(extentsOf(output))?.pop());
      const own = held ?? { bytes: bytesOf(output, dimensions), from: index, to: index, reads: 0 };
      if (!held) buffers.push(own);
      own.reads += count;
      bufferOf.set(output, own);
    }
    for (const input of node.inputs) {
      const held = input && bufferOf.get(input);
      if (!held) continue;
      held.reads--;
      held.to = index;
      if (held.reads === 0) spare.set(extentsOf(input), [...(spare.get(extentsOf(input)) ?? []), held]);
    }
  }
  const end = graph.nodes.length - 1;
  return [
    ...buffers.map(({ bytes, from, to, reads: left }) => ({ bytes, from, to: left === Infinity ? end : to })),
    ...masksOf(graph, dimensions),
  ];

  function overwritten(node: Node, output: Value): Held | undefined {
    if (!inPlace.has(node.operation)) return undefined;
    const [input] = node.inputs;
    const held = input && bufferOf.get(input);
    return held?.reads === 1 && input && extentsOf(input) === extentsOf(output) ? held : undefined;
  }
}

const viewed = (node: Node, bufferOf: ReadonlyMap<Value, Held>): Held | undefined => {
  const [input] = node.inputs;
  return views.has(node.operation) && input ? bufferOf.get(input) : undefined;
};

/**
 * Masks of dropout, a byte for each element: the backward pass makes the same mask again, and the runtime, which merges
 * equal nodes, keeps that of the forward pass. Not where matrices are kept in forms: equal nodes then stay apart.
 */
function masksOf(graph: Graph, dimensions: DimensionValues): readonly Buffer[] {
  if (nodesOf(graph, "Weight").some(({ attributes: { form } }) => form)) return [];
  const masks = new Map<string, Buffer>();
  for (const [index, node] of graph.nodes.entries()) {
    const [output] = node.outputs;
    if (!output || !isOperation(node, "SeededDropout")) continue;
    const { site, ratio } = node.attributes;
    const key = JSON.stringify([site, ratio, output.shape]);
    const bytes = bytesOf(output, dimensions) / bytesPerElement[output.dtype];
    masks.set(key, { bytes, from: masks.get(key)?.from ?? index, to: index });
  }
  return [...masks.values()];
}

/** Bytes of a value. */
export function bytesOf({ shape, dtype }: Value, dimensions: DimensionValues): number {
  return elementCount(shape.map((extent) => evaluateDimension(extent, dimensions))) * bytesPerElement[dtype];
}

/** The runtime compares the extents as they are written. */
const extentsOf = ({ shape, dtype }: Value): string => JSON.stringify([bytesPerElement[dtype], ...shape]);

/** Whether a node computes nothing. */
export const isGiven = (node: Node): boolean =>
  isOperation(node, "Input") || isOperation(node, "Weight") || isOperation(node, "Constant");

/** Whether a node's result is another view of its input. */
export const isView = (node: Node): boolean => views.has(node.operation);
