/**
 * @file Recomputation in the backward pass (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"):
 * what a segment of the forward pass computed is not kept but computed again from its input when its gradient is
 * due. Knows segments of a graph, not layers of a model.
 */
import type { GraphBuilder } from "./builder.ts";
import type { Node, Value } from "./graph.ts";

/** A part of a forward pass between two values: everything that leads from the input to the output. */
export interface Segment {
  readonly input: Value;
  readonly output: Value;
}

/** Gives, for a node of a segment, the copy that the backward pass reads in its place. */
export type Recomputation = (node: Node) => Node;

/**
 * Prepares the segments of a graph.
 * @param nodes the forward pass in running order.
 * @param gradientOf the gradient that has reached a value so far: complete once the backward pass gets to it.
 */
export function recomputation(
  builder: GraphBuilder,
  nodes: readonly Node[],
  segments: readonly Segment[],
  gradientOf: (value: Value) => Value | undefined,
): Recomputation {
  const segmentOf = new Map<Node, Segment>();
  for (const segment of segments)
    for (const node of nodesBetween(nodes, segment)) if (!segmentOf.has(node)) segmentOf.set(node, segment);
  const copies = new Map<Segment, Map<Node, Node>>();
  return (node) => {
    const segment = segmentOf.get(node);
    if (!segment) return overCheapInputs(builder, node, gradientOf);
    let known = copies.get(segment);
    if (!known) {
      known = copySegment(
        builder,
        nodes.filter((candidate) => segmentOf.get(candidate) === segment),
        segment,
        gradientOf(segment.output),
      );
      copies.set(segment, known);
    }
    return known.get(node) ?? node;
  };
}

/**
 * The same node over inputs that take less time to compute again than memory to keep: what an activation gives, and its
 * product with a gate, which are the largest results of a layer.
 */
function overCheapInputs(
  builder: GraphBuilder,
  node: Node,
  gradientOf: (value: Value) => Value | undefined,
): Node {
  const [output] = node.outputs;
  const gradient = output && gradientOf(output);
  if (!gradient || !node.inputs.some((input) => input && isCheap(input))) return node;
  return { ...node, inputs: node.inputs.map((input) => input && computedAgain(builder, input, gradient)) };
}

function isCheap({ node }: Value): boolean {
  if (node.operation === "Swish") return true;
  return node.operation === "Mul" && node.inputs.some((factor) => factor?.node.operation === "Swish");
}

function computedAgain(builder: GraphBuilder, value: Value, gradient: Value): Value {
  if (!isCheap(value)) return value;
  const { node } = value;
  const inputs = node.inputs.map((input) => {
    if (!input || node.operation === "Mul") return input && computedAgain(builder, input, gradient);
    return after(builder, input, gradient);
  });
  return builder.copy(node, inputs).outputs[value.outputIndex] ?? value;
}

/** The nodes that the segment's input reaches and that reach its output. */
function nodesBetween(nodes: readonly Node[], { input, output }: Segment): Node[] {
  const reached = new Set<Value>([input]);
  const after = nodes.filter((node) => {
    if (!node.inputs.some((value) => value !== undefined && reached.has(value))) return false;
    for (const value of node.outputs) reached.add(value);
    return true;
  });
  const needed = new Set<Node>([output.node]);
  return after
    .toReversed()
    .filter((node) => {
      if (!needed.has(node)) return false;
      for (const value of node.inputs) if (value) needed.add(value.node);
      return true;
    })
    .toReversed();
}

function copySegment(
  builder: GraphBuilder,
  nodes: readonly Node[],
  { input }: Segment,
  gradient: Value | undefined,
): Map<Node, Node> {
  const values = new Map<Value, Value>([[input, gradient ? after(builder, input, gradient) : input]]);
  const copies = new Map<Node, Node>();
  for (const node of nodes) {
    const copy = builder.copy(
      node,
      node.inputs.map((value) => value && (values.get(value) ?? value)),
    );
    copies.set(node, copy);
    for (const [index, value] of node.outputs.entries()) {
      const copied = copy.outputs[index];
      if (copied) values.set(value, copied);
    }
  }
  return copies;
}

/**
 * x once other float32 values are there: x plus zero times an element of each. Without this the runtime would find
 * copies equal to the nodes they copy and keep the results of the forward pass after all, or begin with x too early.
 */
export function after(builder: GraphBuilder, x: Value, ...others: readonly Value[]): Value {
  const elements = others.map((other) => {
    const element = other.shape.reduce<Value>(
      (value, _extent, axis) => builder.slice(value, axis, 0, 1),
      other,
    );
    return builder.reshape(element, [1]);
  });
  const sum = elements.reduce((total, element) => builder.add(total, element));
  return builder.add(x, builder.multiply(sum, builder.scalar(0)));
}
