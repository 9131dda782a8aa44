/** @file Scores from the distance between query and key (Shaw et al. 2018), for any positions. Knows no model and no cache. */
import { multiplyDimensions } from "../../graph/dimension.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";
import type { RelativeBias } from "../forward.ts";

/**
 * Scores [1 or batch, heads, queries, keys].
 * @param queries positions, int64 [1 or batch, queries].
 * @param keys positions, int64 [1 or batch, keys].
 */
export function relativeScores(
  builder: GraphBuilder,
  { byDistance, reach }: RelativeBias,
  queries: Value,
  keys: Value,
): Value {
  const [batch = 0, queryCount = 0] = queries.shape;
  const keyCount = keys.shape[1] ?? 0;
  const distances = builder.subtract(
    builder.reshape(keys, [batch, 1, keyCount]),
    builder.reshape(queries, [batch, queryCount, 1]),
  );
  const places = builder.add(limited(builder, distances, reach), builder.constant("int64", [], [reach]));
  const count = multiplyDimensions(batch, queryCount, keyCount);
  const rows = builder.gather(byDistance, builder.reshape(places, [count]));
  const scores = builder.reshape(rows, [batch, queryCount, keyCount, byDistance.shape[1] ?? 0]);
  return builder.transpose(scores, [0, 3, 1, 2]);
}

/** Each number where it is within -reach .. reach, and the nearer end elsewhere. */
function limited(builder: GraphBuilder, numbers: Value, reach: number): Value {
  const [low, high] = [-reach, reach].map((end) => builder.constant("int64", [], [end]));
  if (!low || !high) return numbers;
  const fromBelow = builder.where(builder.lessOrEqual(low, numbers), numbers, low);
  return builder.where(builder.lessOrEqual(fromBelow, high), fromBelow, high);
}
