/** @file Sums, means and maxima over axes. */
import { internalError } from "../../errors.ts";
import type { Dimension } from "../dimension.ts";
import { multiplyDimensions } from "../dimension.ts";
import type { OperationAttributes, Value } from "../graph.ts";
import type { GraphBuilder } from "../builder.ts";
import { stridesOf, typed } from "../operation.ts";
import type { Operation } from "../operation.ts";
import { arrayOf, inputOf, outputGradient, outputOf, required } from "./inputs.ts";

type ReductionName = "ReduceSum" | "ReduceMean" | "ReduceMax";

interface ReductionDefinition {
  readonly start: number;
  readonly combine: (accumulated: number, x: number) => number;
  readonly finish?: (accumulated: number, count: number) => number;
  /** Gradient with respect to x, from dy and y with their reduced axes kept as 1. */
  readonly gradient: (builder: GraphBuilder, dy: Value, x: Value, y: Value, count: Dimension) => Value;
}

function reducedShape<T extends Dimension>(
  shape: readonly T[],
  axes: readonly number[],
  keep: boolean,
): (T | 1)[] {
  const kept: (T | 1)[] = shape.map((dimension, axis) => (axes.includes(axis) ? 1 : dimension));
  return keep ? kept : kept.filter((_, axis) => !axes.includes(axis));
}

function reduction<K extends ReductionName>(name: K, definition: ReductionDefinition): Operation<K> {
  return {
    infer(inputs, { axes, keepDimensions }: OperationAttributes[ReductionName]) {
      const x = required(inputs, 0, name);
      return [typed(x, reducedShape(x.shape, axes, keepDimensions))];
    },
    gradient(rule) {
      const x = inputOf(rule.node, 0);
      const { axes }: OperationAttributes[ReductionName] = rule.node.attributes;
      const kept = reducedShape(x.shape, axes, true);
      const dy = rule.builder.reshape(outputGradient(rule), kept);
      const y = rule.builder.reshape(outputOf(rule.node, 0), kept);
      const count = multiplyDimensions(...axes.map((axis) => x.shape[axis] ?? 1));
      return [definition.gradient(rule.builder, dy, x, y, count)];
    },
    lower(node, target) {
      const { axes, keepDimensions }: OperationAttributes[ReductionName] = node.attributes;
      const axesInput = target.constant("int64", [axes.length], axes);
      target.emit(name, [target.input(0), axesInput], [target.output(0)], { keepdims: keepDimensions });
    },
    interpret(node, inputs) {
      const x = arrayOf(inputs, 0);
      const { axes, keepDimensions }: OperationAttributes[ReductionName] = node.attributes;
      const kept = reducedShape(x.shape, axes, true);
      const [from, to] = [stridesOf(x.shape), stridesOf(kept)];
      const size = kept.reduce((a, b) => a * b, 1);
      const data = new Float64Array(size).fill(definition.start);
      for (const [element, value] of x.data.entries()) {
        let at = 0;
        for (const [axis, extent] of x.shape.entries())
          if (!axes.includes(axis))
            at += (Math.floor(element / (from[axis] ?? 1)) % extent) * (to[axis] ?? 0);
        data[at] = definition.combine(data[at] ?? 0, value);
      }
      const { finish } = definition;
      const count = x.data.length / size;
      return [
        {
          shape: reducedShape(x.shape, axes, keepDimensions),
          data: finish ? data.map((value) => finish(value, count)) : data,
        },
      ];
    },
  };
}

export const ReduceSum = reduction("ReduceSum", {
  start: 0,
  combine: (sum, x) => sum + x,
  gradient: (builder, dy, x) => builder.expand(dy, x.shape),
});

export const ReduceMean = reduction("ReduceMean", {
  start: 0,
  combine: (sum, x) => sum + x,
  finish: (sum, count) => sum / count,
  gradient(builder, dy, x, _y, count) {
    if (typeof count === "string")
      throw internalError("ReduceMean over a symbolic extent has no gradient rule.");
    return builder.expand(builder.scale(dy, 1 / count), x.shape);
  },
});

/** Equal maxima each receive the whole gradient, which only shows where they tie exactly. */
export const ReduceMax = reduction("ReduceMax", {
  start: -Infinity,
  combine: Math.max,
  gradient: (builder, dy, x, y) => builder.where(builder.equal(x, y), dy, builder.scalar(0)),
});
