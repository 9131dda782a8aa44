/** @file Rewrites a graph so that frozen matrices are kept in other forms than float32. Knows neither files nor a runtime. */
import { internalError } from "../errors.ts";
import { GraphBuilder } from "./builder.ts";
import { graphOf, isOperation, nodesOf } from "./graph.ts";
import type { Graph, Node, Value } from "./graph.ts";
import type { WeightForm } from "./weight-form.ts";

/**
 * The same graph over weights in the forms that `formOf` names, by the weights' names; float32 where it names none.
 * The graph itself where nothing changes.
 */
export function withWeightForms(graph: Graph, formOf: (name: string) => WeightForm | undefined): Graph {
  const forms = new Map(
    nodesOf(graph, "Weight").flatMap(({ attributes: { name } }) => {
      const form = formOf(name);
      return form ? [[name, form] as const] : [];
    }),
  );
  if (forms.size === 0) return graph;
  const builder = new GraphBuilder();
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value): Value => {
    const copy = copies.get(value);
    if (!copy) throw internalError(`${value.node.operation} ${value.node.id} was not copied yet.`);
    return copy;
  };
  for (const node of graph.nodes) {
    const copy = copyNode(builder, node, forms, copyOf);
    for (const [index, output] of node.outputs.entries()) {
      const copied = copy.outputs[index];
      if (copied) copies.set(output, copied);
    }
  }
  return graphOf(graph.outputs.map(({ name, value }) => ({ name, value: copyOf(value) })));
}

function copyNode(
  builder: GraphBuilder,
  node: Node,
  forms: ReadonlyMap<string, WeightForm>,
  copyOf: (value: Value) => Value,
): Node {
  const [output] = node.outputs;
  if (output && isOperation(node, "Input"))
    return builder.input(node.attributes.name, output.dtype, output.shape).node;
  if (output && isOperation(node, "Constant"))
    return builder.constant(output.dtype, output.shape.map(Number), node.attributes.data).node;
  if (output && isOperation(node, "Weight")) {
    const { name } = node.attributes;
    return builder.weight(name, output.shape.map(Number), forms.get(name)).node;
  }
  return builder.copy(
    node,
    node.inputs.map((input) => input && copyOf(input)),
  );
}
