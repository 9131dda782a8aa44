/**
 * @file Scaled dot-product attention (Vaswani et al. 2017, equation 1) over a graph: grouped queries without
 * repeated keys, causal attention in row blocks, windows and padding. Knows no model and no cache.
 */
import {
  addDimensions,
  divideDimensions,
  multiplyDimensions,
  subtractDimensions,
} from "../../graph/dimension.ts";
import type { Dimension } from "../../graph/dimension.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";
import { internalError } from "../../errors.ts";
import { softCap } from "./soft-cap.ts";

/** Added to the score of a key that may not be seen: the most negative float32, as transformers' eager attention adds it. */
const hidden = -3.4028234663852886e38;

export interface AttentionInputs {
  /** [batch, heads, length, size] */
  readonly query: Value;
  /** [batch, key-value heads, keys, size] */
  readonly key: Value;
  readonly value: Value;
  readonly scale: number;
  readonly causal: boolean;
  readonly window?: number | undefined;
  readonly softCap?: number | undefined;
  /** [1 or batch, heads, length, some]: added to the scores of the last keys; those in front get nothing. */
  readonly bias?: Value | undefined;
  /** Keys before the first query, which every query may see (a cache or a prefix). */
  readonly pastKeys: Dimension;
  /** int64 [batch, keys]: 1 for keys that exist, 0 for padding; left out where every visible key exists. */
  readonly keyMask?: Value | undefined;
  /** int64 [batch, length]: where in its row each position's sequence starts; left out where a row is one sequence. */
  readonly sequenceStarts?: Value | undefined;
  /** Row blocks of causal attention: each meets only keys up to its own end. The length must be a multiple. */
  readonly blocks: number;
  readonly dropout: (weights: Value) => Value;
}

/** Attention results [batch, heads, length, size]. */
export function attend(builder: GraphBuilder, inputs: AttentionInputs): Value {
  const { query, causal, pastKeys } = inputs;
  const length = query.shape[2] ?? 0;
  const blocks = causal && typeof pastKeys === "number" ? inputs.blocks : 1;
  const blockLength = divideDimensions(length, blocks);
  if (blockLength === undefined) throw internalError(`the length ${length} has no ${blocks} equal blocks.`);
  const scaled = builder.scale(query, inputs.scale);
  const parts = Array.from({ length: blocks }, (_, block) => {
    const start = multiplyDimensions(block, blockLength);
    const end = addDimensions(start, blockLength);
    const keyEnd = blocks === 1 ? (inputs.key.shape[2] ?? 0) : addDimensions(pastKeys, end);
    return attendRows(builder, inputs, scaled, start, end, keyEnd);
  });
  return builder.concat(parts, 2);
}

/** The rows start .. end of the result, from the keys before `keyEnd`. */
function attendRows(
  builder: GraphBuilder,
  inputs: AttentionInputs,
  query: Value,
  start: Dimension,
  end: Dimension,
  keyEnd: Dimension,
): Value {
  const [batch = 0, heads = 0, , size = 0] = query.shape;
  const groups = inputs.key.shape[1] ?? 0;
  const share = divideDimensions(heads, groups) ?? 0;
  const rows = builder.slice(query, 2, start, end);
  const length = rows.shape[2] ?? 0;
  // The queries that share a key head become rows of one product: no key is repeated.
  const folded = builder.reshape(rows, [batch, groups, multiplyDimensions(share, length), size]);
  const key = builder.slice(inputs.key, 2, 0, keyEnd);
  const value = builder.slice(inputs.value, 2, 0, keyEnd);
  const scores = softCap(builder, builder.matmul(folded, builder.transposeLast(key)), inputs.softCap);
  const unfolded = builder.reshape(scores, [batch, groups, share, length, keyEnd]);
  const additions = [
    scoreBias(builder, inputs, start, end, keyEnd),
    visibility(builder, inputs, start, end, keyEnd),
  ];
  const seen = additions.reduce<Value>((sum, part) => (part ? builder.add(sum, part) : sum), unfolded);
  const weights = builder.softmax(seen);
  const dropped = inputs.dropout(weights);
  const refolded = builder.reshape(dropped, [batch, groups, multiplyDimensions(share, length), keyEnd]);
  return builder.reshape(builder.matmul(refolded, value), [batch, heads, length, inputs.value.shape[3] ?? 0]);
}

/** The rows of the call's bias as [1 or batch, groups, share, rows, keys]. */
function scoreBias(
  builder: GraphBuilder,
  { bias, key }: AttentionInputs,
  start: Dimension,
  end: Dimension,
  keyEnd: Dimension,
): Value | undefined {
  if (!bias) return undefined;
  const [batch = 0, heads = 0] = bias.shape;
  const groups = key.shape[1] ?? 0;
  const rows = builder.slice(bias, 2, start, end);
  const inFront = subtractDimensions(key.shape[2] ?? 0, bias.shape[3] ?? 0);
  const columns = builder.slice(builder.pad(rows, 3, inFront, 0), 3, 0, keyEnd);
  const share = divideDimensions(heads, groups) ?? 0;
  return builder.reshape(columns, [batch, groups, share, rows.shape[2] ?? 0, keyEnd]);
}

/** 0 where a query may see a key and a huge negative number elsewhere; `undefined` where all is visible. */
function visibility(
  builder: GraphBuilder,
  inputs: AttentionInputs,
  start: Dimension,
  end: Dimension,
  keyEnd: Dimension,
): Value | undefined {
  const { causal, window, pastKeys, keyMask, sequenceStarts, query, key } = inputs;
  if (sequenceStarts) return sequenceVisibility(builder, inputs, sequenceStarts, start, end, keyEnd);
  const conditions: Value[] = [];
  const keyCount = key.shape[2] ?? 0;
  const keyPlaces = builder.reshape(builder.slice(builder.range(keyCount), 0, 0, keyEnd), [1, keyEnd]);
  const ownPlaces = builder.add(builder.range(query.shape[2] ?? 0), pastPlaces(builder, pastKeys, keyCount));
  const rows = builder.slice(ownPlaces, 0, start, end);
  const queryPlaces = builder.reshape(rows, [rows.shape[0] ?? 0, 1]);
  if (causal) conditions.push(builder.lessOrEqual(keyPlaces, queryPlaces));
  if (window !== undefined) {
    const reach = builder.constant("int64", [], [window - 1]);
    conditions.push(builder.lessOrEqual(builder.subtract(queryPlaces, reach), keyPlaces));
    if (!causal) conditions.push(builder.lessOrEqual(keyPlaces, builder.add(queryPlaces, reach)));
  }
  if (keyMask) {
    const present = builder.lessOrEqual(
      builder.constant("int64", [], [1]),
      builder.slice(keyMask, 1, 0, keyEnd),
    );
    conditions.push(builder.reshape(present, [keyMask.shape[0] ?? 0, 1, 1, 1, keyEnd]));
  }
  return visibleWhere(builder, conditions);
}

function visibleWhere(builder: GraphBuilder, conditions: readonly Value[]): Value | undefined {
  const [first, ...others] = conditions;
  if (!first) return undefined;
  const visible = others.reduce((a, b) => builder.and(a, b), first);
  return builder.where(visible, builder.scalar(0), builder.scalar(hidden));
}

/**
 * The same for rows of several sequences: a query sees keys of its own sequence and those before the first query.
 * Within a sequence distances are those of places in the row; the distance to a key before the first query is counted
 * from where the query's own sequence starts. Padding is a sequence of its own and so needs no mask.
 */
function sequenceVisibility(
  builder: GraphBuilder,
  { causal, window, pastKeys, query }: AttentionInputs,
  sequenceStarts: Value,
  start: Dimension,
  end: Dimension,
  keyEnd: Dimension,
): Value {
  if (typeof pastKeys !== "number") throw internalError("rows of several sequences have no cache.");
  const ownEnd = subtractDimensions(keyEnd, pastKeys);
  const [batch = 0] = sequenceStarts.shape;
  const places = builder.range(query.shape[2] ?? 0);
  const asRows = (x: Value) => builder.reshape(x, [...x.shape.slice(0, -1), x.shape.at(-1) ?? 0, 1]);
  const asColumns = (x: Value) => builder.reshape(x, [...x.shape.slice(0, -1), 1, x.shape.at(-1) ?? 0]);
  const queryPlaces = asRows(builder.slice(places, 0, start, end));
  const keyPlaces = asColumns(builder.slice(places, 0, 0, ownEnd));
  const queryStarts = asRows(builder.slice(sequenceStarts, 1, start, end));
  // What is not before the query and not before its sequence's start is in its sequence.
  const conditions = causal
    ? [builder.lessOrEqual(keyPlaces, queryPlaces), builder.lessOrEqual(queryStarts, keyPlaces)]
    : [builder.equal(queryStarts, asColumns(builder.slice(sequenceStarts, 1, 0, ownEnd)))];
  if (window !== undefined) {
    const reach = builder.constant("int64", [], [window - 1]);
    conditions.push(builder.lessOrEqual(builder.subtract(queryPlaces, reach), keyPlaces));
    if (!causal) conditions.push(builder.lessOrEqual(keyPlaces, builder.add(queryPlaces, reach)));
  }
  const own = visibleWhere(builder, conditions);
  if (!own) throw internalError("rows of several sequences have conditions.");
  const rows = subtractDimensions(end, start);
  const toScores = (x: Value, keys: Dimension) => builder.reshape(x, [batch, 1, 1, rows, keys]);
  if (pastKeys === 0 || window === undefined) return builder.pad(toScores(own, ownEnd), 4, pastKeys, 0);
  const inSequence = builder.subtract(queryPlaces, queryStarts);
  const nearest = builder.add(inSequence, builder.constant("int64", [], [pastKeys - (window - 1)]));
  const past = visibleWhere(builder, [builder.lessOrEqual(nearest, asColumns(builder.range(pastKeys)))]);
  return builder.concat([...(past ? [toScores(past, pastKeys)] : []), toScores(own, ownEnd)], 4);
}

/** int64 scalar-like [1]: how many keys come before the first query. */
function pastPlaces(builder: GraphBuilder, pastKeys: Dimension, keyCount: Dimension): Value {
  if (typeof pastKeys === "number") return builder.constant("int64", [], [pastKeys]);
  // The place with number `pastKeys` among 0 .. keyCount holds just that number.
  return builder.slice(builder.range(addDimensions(keyCount, 1)), 0, pastKeys, addDimensions(pastKeys, 1));
}
