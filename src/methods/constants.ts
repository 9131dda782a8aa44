/**
 * @file Constants of methods in a graph: each one is an input of its own, which whoever runs the graph feeds. Knows
 * neither which methods have constants nor what they are for.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { BoundMethod } from "./contract.ts";

const inputName = (adapter: string, key: string): string => `constant.${adapter}.${key}`;

/** The graph's value of one of a method's constants; `undefined` where the method has none of that key. */
export function constantValue(
  builder: GraphBuilder,
  adapter: string,
  method: BoundMethod,
  key: string,
): Value | undefined {
  const constant = method.constants?.find((candidate) => candidate.key === key);
  return constant && builder.input(inputName(adapter, key), "float32", constant.shape);
}

/**
 * The inputs of a method's constants.
 * @param adapter what the graph calls the adapter.
 */
export function constantFeeds(adapter: string, { constants = [] }: BoundMethod): Record<string, Tensor> {
  return Object.fromEntries(
    constants.map(({ key, shape, values }) => [inputName(adapter, key), float32Tensor(shape, values())]),
  );
}
