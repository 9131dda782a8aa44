/** @file Values that no other value makes: inputs, weights and literals. Their types are given, not inferred. */
import { internalError } from "../../errors.ts";
import { evaluateDimension } from "../dimension.ts";
import type { OperationName } from "../graph.ts";
import type { Operation } from "../operation.ts";
import { outputOf } from "./inputs.ts";

type LeafName = Extract<OperationName, "Input" | "Weight" | "Constant">;

function leaf<K extends LeafName>(name: K): Operation<K> {
  return {
    infer() {
      throw internalError(`the type of ${name} is given, not inferred.`);
    },
    gradient: () => [],
    lower() {
      throw internalError(`${name} is written by whoever writes the graph.`);
    },
    interpret() {
      throw internalError(`${name} is given to the interpreter.`);
    },
  };
}

export const Input = leaf("Input");
export const Weight = leaf("Weight");
export const Constant: Operation<"Constant"> = {
  ...leaf("Constant"),
  interpret(node, _inputs, dimensions) {
    const shape = outputOf(node, 0).shape.map((dimension) => evaluateDimension(dimension, dimensions));
    return [{ shape, data: Float64Array.from(node.attributes.data) }];
  },
};
