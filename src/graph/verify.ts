/** @file Checks that a graph is well formed: order, names and types. Tests run it after every rewrite. */
import { internalError } from "../errors.ts";
import { sameShape } from "./dimension.ts";
import { nodesOf } from "./graph.ts";
import type { Graph, Node, OperationName } from "./graph.ts";
import { operationOf } from "./operations/index.ts";

const leaves: ReadonlySet<OperationName> = new Set<OperationName>(["Input", "Weight", "Constant"]);

/** Throws an internal error that names the first node which breaks a rule. */
export function verify(graph: Graph): void {
  const seen = new Set<Node>();
  for (const node of graph.nodes) {
    const place = `node ${node.id} (${node.operation})`;
    for (const input of node.inputs)
      if (input && !seen.has(input.node))
        throw internalError(`${place} reads node ${input.node.id}, which is not before it.`);
    if (!leaves.has(node.operation)) verifyTypes(node, place);
    seen.add(node);
  }
  const names = new Set<string>();
  for (const { name, value } of graph.outputs) {
    if (!seen.has(value.node)) throw internalError(`the output "${name}" is of no node of the graph.`);
    if (names.has(name)) throw internalError(`two outputs are called "${name}".`);
    names.add(name);
  }
  const given = [...nodesOf(graph, "Input"), ...nodesOf(graph, "Weight")];
  const leafNames = new Map(given.map((node) => [node.attributes.name, node]));
  const hidden = given.find((node) => leafNames.get(node.attributes.name) !== node);
  if (hidden) throw internalError(`two different inputs or weights are called "${hidden.attributes.name}".`);
  const clash = graph.outputs.find(({ name, value }) => (leafNames.get(name) ?? value.node) !== value.node);
  if (clash) throw internalError(`the output "${clash.name}" is called like an input or weight.`);
}

function verifyTypes<K extends OperationName>(node: Node<K>, place: string): void {
  const types = operationOf(node).infer(node.inputs, node.attributes);
  const fits = node.outputs.every((output, index) => {
    const type = types[index];
    return type?.dtype === output.dtype && sameShape(type.shape, output.shape);
  });
  if (!fits || types.length !== node.outputs.length)
    throw internalError(`${place} has outputs of other types than its rule says.`);
}
