/** @file Each rule of a well-formed graph, broken once. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { GraphBuilder } from "./builder.ts";
import { graphOf } from "./graph.ts";
import type { Graph, Node } from "./graph.ts";
import { verify } from "./verify.ts";

function small() {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [2, 3]);
  const y = builder.tanh(builder.negate(x));
  return { builder, x, y, graph: graphOf([{ name: "y", value: y }]) };
}

const messageOf = (graph: Graph) => failureOf(() => verify(graph)).message;

test("a graph as it is built passes", () => {
  expect(() => verify(small().graph)).not.toThrow();
});

test("a node reads only nodes before it", () => {
  const { graph } = small();
  expect(messageOf({ ...graph, nodes: graph.nodes.toReversed() })).toBe(
    "internal: node 2 (Tanh) reads node 1, which is not before it.",
  );
  expect(messageOf({ ...graph, nodes: graph.nodes.slice(1) })).toBe(
    "internal: node 1 (Neg) reads node 0, which is not before it.",
  );
});

test("outputs have the types that the operation's rule says", () => {
  const { x, graph } = small();
  const withOutput = (dtype: "float32" | "int64", shape: readonly number[]): Graph => {
    const outputs: Node["outputs"][number][] = [];
    const node: Node = { id: 7, operation: "Neg", attributes: {}, inputs: [x], outputs };
    outputs.push({ node, outputIndex: 0, dtype, shape });
    return { nodes: [...graph.nodes, node], outputs: graph.outputs };
  };
  expect(() => verify(withOutput("float32", [2, 3]))).not.toThrow();
  const message = "internal: node 7 (Neg) has outputs of other types than its rule says.";
  expect(messageOf(withOutput("float32", [3, 2]))).toBe(message);
  expect(messageOf(withOutput("int64", [2, 3]))).toBe(message);
  const without: Node = { id: 8, operation: "Neg", attributes: {}, inputs: [x], outputs: [] };
  expect(messageOf({ ...graph, nodes: [...graph.nodes, without] })).toBe(
    "internal: node 8 (Neg) has outputs of other types than its rule says.",
  );
});

test("inputs that an operation cannot take are refused by its own rule", () => {
  const { graph } = small();
  const node: Node = { id: 9, operation: "Neg", attributes: {}, inputs: [undefined], outputs: [] };
  expect(messageOf({ ...graph, nodes: [...graph.nodes, node] })).toBe("internal: Neg lacks its input 0.");
});

test("outputs are values of the graph", () => {
  const { builder, graph, y } = small();
  const other = builder.exponential(y);
  expect(messageOf({ ...graph, outputs: [{ name: "z", value: other }] })).toBe(
    'internal: the output "z" is of no node of the graph.',
  );
});

test("names stand for one thing", () => {
  const { builder, graph, x, y } = small();
  expect(messageOf({ ...graph, outputs: [...graph.outputs, ...graph.outputs] })).toBe(
    'internal: two outputs are called "y".',
  );
  const second = builder.input("x", "int64", [2]);
  expect(
    messageOf(
      graphOf([
        { name: "y", value: y },
        { name: "z", value: second },
      ]),
    ),
  ).toBe('internal: two different inputs or weights are called "x".');
  expect(messageOf(graphOf([{ name: "y", value: builder.add(x, builder.weight("x", [3])) }]))).toBe(
    'internal: two different inputs or weights are called "x".',
  );
  expect(messageOf(graphOf([{ name: "x", value: y }]))).toBe(
    'internal: the output "x" is called like an input or weight.',
  );
  expect(() => verify(graphOf([{ name: "x", value: x }]))).not.toThrow();
});
