/**
 * @file Reverse-mode differentiation: adds to a graph the nodes that compute the gradient of a scalar. The
 * rules are the operations' own; this file knows only the order in which to apply them.
 */
import { internalError } from "../errors.ts";
import type { GraphBuilder } from "./builder.ts";
import { graphOf, isOperation } from "./graph.ts";
import type { Node, OperationName, Value } from "./graph.ts";
import { operationOf } from "./operations/index.ts";
import { recomputation } from "./recompute.ts";
import type { Recomputation, Segment } from "./recompute.ts";

/**
 * Gradients of a scalar with respect to values.
 * @param loss a float32 scalar.
 * @param variables values of the graph that are treated as leaves: nothing above them is differentiated.
 * @param segments parts of the forward pass whose results are computed again instead of being kept.
 * @returns one value of each variable's shape; `undefined` where the loss does not depend on it.
 */
export function gradient(
  builder: GraphBuilder,
  loss: Value,
  variables: readonly Value[],
  segments: readonly Segment[] = [],
): (Value | undefined)[] {
  if (loss.shape.length !== 0 || loss.dtype !== "float32")
    throw internalError(`only a float32 scalar has a gradient, not ${loss.dtype}[${loss.shape.join()}].`);
  return pullBack(builder, [{ value: loss, gradient: builder.scalar(1) }], variables, segments);
}

/** A value of which the gradient is known. */
export interface Seed {
  readonly value: Value;
  readonly gradient: Value;
}

/**
 * Gradients with respect to values, of a scalar whose gradients with respect to others are known.
 * @param seeds these, none of which depends on the scalar through another; a variable among them has this much already.
 */
export function pullBack(
  builder: GraphBuilder,
  seeds: readonly Seed[],
  variables: readonly Value[],
  segments: readonly Segment[] = [],
): (Value | undefined)[] {
  const { nodes } = graphOf(seeds.map(({ value }, index) => ({ name: String(index), value })));
  const variableSet = new Set(variables);
  const dependent = findDependent(nodes, variableSet);
  const contributions = new Map<Value, Value[]>();
  for (const { value, gradient: known } of seeds) {
    const list = contributions.get(value);
    if (list) list.push(known);
    else contributions.set(value, [known]);
  }
  const gradientOf = (value: Value) => accumulate(builder, contributions.get(value));
  const recomputed = recomputation(builder, nodes, segments, gradientOf);
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((output) => dependent.has(output))) continue;
    // A variable may have parents of its own (a slice of the flat vector); they need no gradient.
    if (node.outputs.some((output) => variableSet.has(output))) continue;
    propagate(builder, node, recomputed, dependent, contributions);
  }
  return variables.map((variable) => accumulate(builder, contributions.get(variable)));
}

/** The values through which a variable can reach the loss. */
function findDependent(nodes: readonly Node[], variables: ReadonlySet<Value>): Set<Value> {
  const dependent = new Set<Value>();
  for (const node of nodes) {
    const reached =
      !isOperation(node, "StopGradient") &&
      node.inputs.some((input) => input !== undefined && dependent.has(input));
    for (const output of node.outputs)
      if (variables.has(output) || (reached && output.dtype === "float32")) dependent.add(output);
  }
  return dependent;
}

function propagate<K extends OperationName>(
  builder: GraphBuilder,
  node: Node<K>,
  recomputed: Recomputation,
  dependent: ReadonlySet<Value>,
  contributions: Map<Value, Value[]>,
): void {
  const outputGradients = node.outputs.map((output) => accumulate(builder, contributions.get(output)));
  if (outputGradients.every((dy) => dy === undefined)) return;
  const further = outputGradients.findIndex((dy, index) => index > 0 && dy !== undefined);
  if (further > 0) throw internalError(`${node.operation} has no gradient through its output ${further}.`);
  const wanted = node.inputs.map((input) => input !== undefined && dependent.has(input));
  const results = applyRule(builder, recomputed(node), outputGradients, wanted);
  for (const [index, input] of node.inputs.entries()) {
    const result = results[index];
    if (!input || !wanted[index]) continue;
    if (!result) throw internalError(`${node.operation} has no gradient with respect to input ${index}.`);
    const list = contributions.get(input);
    if (list) list.push(builder.sumToShape(result, input.shape));
    else contributions.set(input, [builder.sumToShape(result, input.shape)]);
  }
}

function applyRule<K extends OperationName>(
  builder: GraphBuilder,
  node: Node<K>,
  outputGradients: readonly (Value | undefined)[],
  wanted: readonly boolean[],
): (Value | undefined)[] {
  return operationOf(node).gradient({ builder, node, outputGradients, wanted });
}

/** The sum of what reaches a value. A plain matrix product adds the rest as its third input, which saves a pass. */
export function accumulate(builder: GraphBuilder, parts: readonly Value[] | undefined): Value | undefined {
  let sum: Value | undefined;
  for (const part of parts ?? []) {
    if (sum === undefined) sum = part;
    else
      sum =
        foldIntoProduct(builder, part, sum) ?? foldIntoProduct(builder, sum, part) ?? builder.add(sum, part);
  }
  return sum;
}

function foldIntoProduct(builder: GraphBuilder, product: Value, addend: Value): Value | undefined {
  const { node } = product;
  if (!isOperation(node, "Gemm") || node.inputs[2] !== undefined) return undefined;
  const [a, b] = node.inputs;
  return a && b ? builder.gemm(a, b, { ...node.attributes, beta: 1, c: addend }) : undefined;
}
