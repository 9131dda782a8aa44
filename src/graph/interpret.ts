/** @file Runs a graph slowly on 64-bit floats from the operations' own definitions. For tests: the reference for every lowering. */
import { internalError } from "../errors.ts";
import { bindDimensions } from "./dimension.ts";
import { isOperation } from "./graph.ts";
import type { Graph, Node, OperationName, Value } from "./graph.ts";
import type { HostArray } from "./operation.ts";
import { operationOf } from "./operations/index.ts";

/** Values of inputs and weights by name -> values of the graph's outputs by name. */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, HostArray>>,
): Record<string, HostArray> {
  const dimensions = new Map<string, number>();
  const results = new Map<Value, HostArray>();
  for (const node of graph.nodes) {
    if (!isOperation(node, "Input") && !isOperation(node, "Weight")) continue;
    const { name } = node.attributes;
    const [feed, [output]] = [feeds[name], node.outputs];
    if (!feed || !output) throw internalError(`the interpreter was given no "${name}".`);
    const problem = bindDimensions(output.shape, feed.shape, dimensions);
    if (problem !== undefined) throw internalError(`"${name}": ${problem}.`);
    results.set(output, feed);
  }
  for (const node of graph.nodes) if (!isOperation(node, "Input") && !isOperation(node, "Weight")) run(node);
  return Object.fromEntries(
    graph.outputs.map(({ name, value }) => {
      const result = results.get(value);
      if (!result) throw internalError(`the output "${name}" was not computed.`);
      return [name, result];
    }),
  );

  function run<K extends OperationName>(node: Node<K>): void {
    const inputs = node.inputs.flatMap((input) =>
      input ? [results.get(input) ?? missing(node, input)] : [],
    );
    const outputs = operationOf(node).interpret(node, inputs, dimensions);
    for (const [index, output] of node.outputs.entries()) {
      const result = outputs[index];
      if (result) results.set(output, result);
    }
  }
}

function missing(node: Node, input: Value): never {
  throw internalError(`${node.operation} reads node ${input.node.id}, which has not run.`);
}
