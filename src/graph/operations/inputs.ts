/** @file Reading the inputs of operations with the checks that all of them share. */
import { internalError } from "../../errors.ts";
import type { Node, Value } from "../graph.ts";
import type { GradientRule, HostArray } from "../operation.ts";
import type { OperationName } from "../graph.ts";

/** The input at an index; a missing one is a defect of the caller. */
export function required(inputs: readonly (Value | undefined)[], index: number, operation: string): Value {
  const value = inputs[index];
  if (value === undefined) throw internalError(`${operation} lacks its input ${index}.`);
  return value;
}

export function inputOf(node: Node, index: number): Value {
  return required(node.inputs, index, node.operation);
}

export function outputOf(node: Node, index: number): Value {
  return required(node.outputs, index, node.operation);
}

/** The gradient of an operation's first and only differentiable output. */
export function outputGradient<K extends OperationName>(rule: GradientRule<K>): Value {
  return required(rule.outputGradients, 0, `the gradient of ${rule.node.operation}`);
}

export function arrayOf(inputs: readonly HostArray[], index: number): HostArray {
  const array = inputs[index];
  if (array === undefined) throw internalError(`the interpreter lacks input ${index}.`);
  return array;
}

export function describe(value: Value): string {
  return `${value.dtype}[${value.shape.join(", ")}]`;
}
