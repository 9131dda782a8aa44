/** @file What an adapter adds, scaled by the factor it is given at run time: one number, or one for each row of a batch. */
import { DeltafitError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import { divideDimensions } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type { BoundMethod } from "./contract.ts";

const batch = "batch";

/**
 * x scaled by a factor [1], or by one for each row of the batch where x has rows of every one of them.
 * @throws DeltafitError `method-unsupported` for factors of rows where x belongs to no row.
 */
export function scaleByWeight(builder: GraphBuilder, adapter: string, weight: Value, x: Value): Value {
  if (weight.shape[0] !== batch) return builder.multiply(x, weight);
  const [rows = 0] = x.shape;
  const each = x.shape.length === 2 ? divideDimensions(rows, batch) : undefined;
  if (each === undefined)
    throw new DeltafitError(
      "method-unsupported",
      `The adapter "${adapter}" cannot have a weight for each row: it changes a parameter that all rows share.`,
      "Use it for all rows of a batch.",
    );
  const column = builder.expand(builder.reshape(weight, [batch, 1]), [batch, each]);
  return builder.multiply(x, builder.reshape(column, [rows, 1]));
}

/** A method that changes as much of the base as a factor says. */
export function weightedMethod(method: BoundMethod, factor: number): BoundMethod {
  const { merge } = method;
  const toward = (builder: GraphBuilder, from: Value, to: Value): Value =>
    builder.add(from, builder.scale(builder.subtract(to, from), factor));
  return {
    ...method,
    hooks: (use) =>
      method.hooks({
        ...use,
        weighted: (x) => use.builder.scale(use.weighted(x), factor),
        toward: (from, to) => toward(use.builder, from, use.toward(from, to)),
      }),
    merge:
      "impossible" in merge
        ? merge
        : merge.map((rule) => ({
            ...rule,
            merged: (use, base) => toward(use.builder, base, rule.merged(use, base)),
          })),
  };
}
