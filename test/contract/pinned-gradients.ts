/**
 * @file Slopes of a training graph by finite differences in 64 bits. What the graph takes as a constant for its
 * gradient is held at its value, as the definition of such a gradient wants it.
 */
import { GraphBuilder } from "../../src/graph/builder.ts";
import { graphOf, isOperation } from "../../src/graph/graph.ts";
import type { Graph, Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import type { HostArray } from "../../src/graph/operation.ts";

type Arrays = Readonly<Record<string, HostArray>>;

/** A graph's loss as a function of one input, everything else held. */
export function lossOf(graph: Graph, feeds: Arrays, input: string): (values: Float64Array) => number {
  const { pinned, constants } = pinConstants(graph);
  const held = { ...feeds, ...interpret(constants, feeds) };
  return (data) => {
    const shape = feeds[input]?.shape ?? [];
    return interpret(pinned, { ...held, [input]: { shape, data } })["loss"]?.data[0] ?? NaN;
  };
}

/** The graph of the loss with an input in place of each value whose gradient is stopped, and the graph of those values. */
function pinConstants(graph: Graph): { pinned: Graph; constants: Graph } {
  const builder = new GraphBuilder();
  const values = new Map<Value, Value>();
  const stopped: { name: string; value: Value }[] = [];
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    if (!output) continue;
    if (isOperation(node, "Input"))
      values.set(output, builder.input(node.attributes.name, output.dtype, output.shape));
    else if (isOperation(node, "Weight"))
      values.set(output, builder.weight(node.attributes.name, output.shape.map(Number)));
    else if (isOperation(node, "Constant"))
      values.set(output, builder.constant(output.dtype, output.shape.map(Number), node.attributes.data));
    else if (isOperation(node, "StopGradient")) {
      const name = `stopped.${node.id}`;
      stopped.push({ name, value: output });
      values.set(output, builder.input(name, output.dtype, output.shape));
    } else {
      const copy = builder.copy(
        node,
        node.inputs.map((value) => value && values.get(value)),
      );
      for (const [index, value] of node.outputs.entries()) {
        const copied = copy.outputs[index];
        if (copied) values.set(value, copied);
      }
    }
  }
  const loss = graph.outputs.find(({ name }) => name === "loss")!.value;
  return {
    pinned: graphOf([{ name: "loss", value: values.get(loss)! }]),
    constants: graphOf(stopped),
  };
}
