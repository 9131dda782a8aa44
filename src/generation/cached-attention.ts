/**
 * @file Scaled dot-product attention over a key-value cache and the sequence's own keys. The two are multiplied
 * apart, so that the cache is read once and never copied. Knows no model and not how the cache is kept.
 */
import { internalError } from "../errors.ts";
import {
  addDimensions,
  divideDimensions,
  multiplyDimensions,
  subtractDimensions,
} from "../graph/dimension.ts";
import type { Dimension } from "../graph/dimension.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { AttentionCall } from "../models/forward.ts";
import { relativeScores } from "../models/layers/relative-bias.ts";
import { softCap } from "../models/layers/soft-cap.ts";

/** Added to the score of a key that may not be seen: the most negative float32, as transformers' eager attention adds it. */
const hidden = -3.4028234663852886e38;

export interface CachedKeys {
  /** [batch, key-value heads, past, size] */
  readonly key: Value;
  readonly value: Value;
  /** int64 [batch, length]: positions of the queries. */
  readonly positions: Value;
  /** int64 [batch, past + length]: positions of the cached keys and the own ones; beyond all others where there is no key. */
  readonly keyPositions: Value;
}

/**
 * Attention results [batch, heads, length, size]. Keys of the call in excess of its queries stand in front of them
 * (a prefix) and belong to no cache: every query sees them.
 */
export function attendCached(builder: GraphBuilder, call: AttentionCall, past: CachedKeys): Value {
  const { query, key, value } = call;
  if (!call.causal)
    throw internalError(`the attention of ${call.path} is not causal: its keys cannot be cached.`);
  if (call.bias)
    throw internalError(`the attention of ${call.path} has a bias, which has no places for cached keys.`);
  const [batch = 0, heads = 0, length = 0, size = 0] = query.shape;
  const groups = key.shape[1] ?? 0;
  const share = divideDimensions(heads, groups) ?? 0;
  const pastLength = past.key.shape[2] ?? 0;
  const ownLength = key.shape[2] ?? 0;
  const keyCount = addDimensions(pastLength, ownLength);
  // The queries that share a key head become rows of one product: no key is repeated.
  const folded = [batch, groups, multiplyDimensions(share, length)];
  const queries = builder.reshape(builder.scale(query, call.scale), [...folded, size]);
  const products = [past.key, key].map((keys) => builder.matmul(queries, builder.transposeLast(keys)));
  const scores = softCap(builder, builder.concat(products, 3), call.softCap);
  const keyPositions = withPrefix(builder, past, subtractDimensions(ownLength, length));
  const parts = [
    builder.reshape(scores, [batch, groups, share, length, keyCount]),
    ...(call.relativeBias
      ? [
          builder.reshape(relativeScores(builder, call.relativeBias, past.positions, keyPositions), [
            batch,
            groups,
            share,
            length,
            keyCount,
          ]),
        ]
      : []),
    visibility(builder, call, past.positions, keyPositions),
  ];
  const weights = builder.softmax(parts.reduce((sum, part) => builder.add(sum, part)));
  const [pastWeights, ownWeights] = builder.split(builder.reshape(weights, [...folded, keyCount]), 3, [
    pastLength,
    ownLength,
  ]);
  if (!pastWeights || !ownWeights) throw internalError("the attention weights have no two parts.");
  const result = builder.add(builder.matmul(pastWeights, past.value), builder.matmul(ownWeights, value));
  return builder.reshape(result, [batch, heads, length, value.shape[3] ?? 0]);
}

/** [batch, 1, 1, length, keys]: 0 where a query may see a key, a huge negative number elsewhere. */
function visibility(
  builder: GraphBuilder,
  { window }: AttentionCall,
  positions: Value,
  keyPositions: Value,
): Value {
  const [batch = 0, length = 0] = positions.shape;
  const keyCount = keyPositions.shape[1] ?? 0;
  const keys = builder.reshape(keyPositions, [batch, 1, keyCount]);
  const queries = builder.reshape(positions, [batch, length, 1]);
  let visible = builder.lessOrEqual(keys, queries);
  if (window !== undefined) {
    const oldest = builder.subtract(queries, builder.constant("int64", [], [window - 1]));
    visible = builder.and(visible, builder.lessOrEqual(oldest, keys));
  }
  const bias = builder.where(visible, builder.scalar(0), builder.scalar(hidden));
  return builder.reshape(bias, [batch, 1, 1, length, keyCount]);
}

/** int64 [batch, past + prefix + length]: the positions of all keys. */
function withPrefix(builder: GraphBuilder, past: CachedKeys, prefix: Dimension): Value {
  if (prefix === 0) return past.keyPositions;
  const [batch = 0, length = 0] = past.positions.shape;
  const [cached, own] = builder.split(past.keyPositions, 1, [past.key.shape[2] ?? 0, length]);
  if (!cached || !own) throw internalError("the key positions have no two parts.");
  return builder.concat([cached, prefixPositions(builder, batch, prefix), own], 1);
}

/** int64 [batch, prefix]: a prefix takes the places -prefix .. -1, so that a window counts it. */
function prefixPositions(builder: GraphBuilder, batch: Dimension, prefix: Dimension): Value {
  if (typeof prefix === "string") throw internalError("a method puts a symbolic number of keys in front.");
  const places = builder.subtract(builder.range(prefix), builder.constant("int64", [], [prefix]));
  return builder.expand(builder.reshape(places, [1, prefix]), [batch, prefix]);
}
