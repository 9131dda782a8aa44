/** @file Graphs as text, a line a node, and a hash of that text: what tests snapshot and caches are keyed by. */
import { attributeText } from "./graph.ts";
import type { Graph, Node } from "./graph.ts";

/** One line a node: name, types, operation, attributes, inputs. Equal graphs print equal text. */
export function print(graph: Graph): string {
  const numbers = new Map<Node, number>();
  const lines = graph.nodes.map((node, index) => {
    numbers.set(node, index);
    const inputs = node.inputs.map((value) => {
      if (!value) return "_";
      const name = `%${numbers.get(value.node) ?? "?"}`;
      return value.outputIndex === 0 ? name : `${name}.${value.outputIndex}`;
    });
    const attributes = Object.entries(node.attributes).map(
      ([name, value]) => `${name}=${attributeText(value)}`,
    );
    const types = node.outputs.map(({ dtype, shape }) => `${dtype}[${shape.join(", ")}]`);
    return `%${index}: ${types.join(", ")} = ${node.operation}(${[...inputs, ...attributes].join(", ")})`;
  });
  for (const { name, value } of graph.outputs) {
    const suffix = value.outputIndex === 0 ? "" : `.${value.outputIndex}`;
    lines.push(`${name} = %${numbers.get(value.node) ?? "?"}${suffix}`);
  }
  return lines.join("\n");
}

/** Stable 128-bit hash of a graph, as 32 hexadecimal digits: the same on every machine and in every process. */
export function hash(graph: Graph): string {
  return hashText(print(graph));
}

/** Four 32-bit FNV-1a lanes with different offsets, each mixed at the end. Not meant against forgery. */
export function hashText(text: string): string {
  const lanes = [0x811c9dc5, 0x01000193, 0x9e3779b1, 0x85ebca6b];
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    for (let lane = 0; lane < 4; lane++)
      lanes[lane] = Math.imul((lanes[lane] ?? 0) ^ (unit + lane), 0x01000193 + 2 * lane);
  }
  const finish = (lane: number) => {
    const mixed = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
    return ((mixed ^ (mixed >>> 13)) >>> 0).toString(16).padStart(8, "0");
  };
  return lanes.map(finish).join("");
}
