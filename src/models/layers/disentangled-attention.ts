/**
 * @file Disentangled attention (He et al. 2021, "DeBERTa", equations 3 and 4): besides content to content, scores of
 * content to position and of position to content, from embeddings of the distance between query and key. Knows no
 * module names.
 */
import { addDimensions, multiplyDimensions, subtractDimensions } from "../../graph/dimension.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";

/** How distances between positions become rows of the table of relative positions. */
export interface RelativePositions {
  /** Half the rows of the table: distance d has row d + span, limited to the table. */
  readonly span: number;
  /** Number of buckets for distances to both sides together; `undefined` where each distance has a row of its own. */
  readonly buckets?: number | undefined;
  /** The distance from which on buckets grow no further. */
  readonly maximumDistance: number;
}

/**
 * Bucket of a distance (DeBERTa's second version): the distance itself up to half the buckets, logarithmic beyond.
 * Rounded to float32 at each step like the original, because a ceiling decides.
 */
function bucketOf(distance: number, buckets: number, maximumDistance: number): number {
  const middle = Math.floor(buckets / 2);
  const magnitude = Math.abs(distance);
  if (magnitude <= middle) return distance;
  const logarithm = (ratio: number) => Math.fround(Math.log(Math.fround(ratio)));
  const share = Math.fround(logarithm(magnitude / middle) / logarithm((maximumDistance - 1) / middle));
  return Math.sign(distance) * (Math.ceil(Math.fround(share * (middle - 1))) + middle);
}

/** Row of the table for the distance of a query from a key: query's position less key's. */
export function relativeRow(distance: number, { span, buckets, maximumDistance }: RelativePositions): number {
  const place = buckets === undefined ? distance : bucketOf(distance, buckets, maximumDistance);
  return Math.min(Math.max(place + span, 0), 2 * span - 1);
}

export interface RelativeScoreInputs {
  /** [batch, heads, length, size] */
  readonly query: Value;
  /** [batch, heads, length, size] */
  readonly key: Value;
  /** The table of relative positions as keys [2 span, heads * size]: what queries see of where a key is. */
  readonly positionKeys?: Value | undefined;
  /** The table as queries [2 span, heads * size]: what keys see of where a query is. */
  readonly positionQueries?: Value | undefined;
  readonly positions: RelativePositions;
  readonly maximumLength: number;
}

/** Scores [batch, heads, length, length] that depend on positions, before scaling; `undefined` without any table. */
export function relativeScores(builder: GraphBuilder, inputs: RelativeScoreInputs): Value | undefined {
  const { query, key, positionKeys, positionQueries } = inputs;
  // Row i of the result is about query i, column j about key j, of distance i - j.
  const contentToPosition = positionKeys && scoresByDistance(builder, query, positionKeys, inputs, -1);
  // The other way round: row j is about key j, and the result is turned to have queries as rows.
  const positionToContent =
    positionQueries && builder.transposeLast(scoresByDistance(builder, key, positionQueries, inputs, 1));
  if (contentToPosition && positionToContent) return builder.add(contentToPosition, positionToContent);
  return contentToPosition ?? positionToContent;
}

/**
 * result[a, b] = content[a] . table[row of direction * (b - a)]: [batch, heads, length, length].
 * Each distance's score is computed once for every row, in the order in which distances follow each other along a row;
 * then each row is shifted to where its own distances lie. No score has to be looked up.
 */
function scoresByDistance(
  builder: GraphBuilder,
  content: Value,
  table: Value,
  { positions, maximumLength }: RelativeScoreInputs,
  direction: 1 | -1,
): Value {
  const [, heads = 0, length = 0, size = 0] = content.shape;
  const places = Array.from({ length: 2 * maximumLength }, (_, index) => index - (maximumLength - 1));
  const allRows = places.map((offset) => relativeRow(direction * offset, positions));
  const rows = builder.slice(
    builder.constant("int64", [allRows.length], allRows),
    0,
    subtractDimensions(maximumLength, length),
    addDimensions(maximumLength, length),
  );
  const width = multiplyDimensions(2, length);
  const embedded = builder.reshape(builder.gather(table, rows), [width, heads, size]);
  return alignRows(builder, builder.matmul(content, builder.transpose(embedded, [1, 2, 0])));
}

/**
 * result[a, b] = x[a, b - a + length - 1] for x [batch, heads, length, 2 length]: [batch, heads, length, length].
 * In memory that element is at a (2 length - 1) + b + length - 1: with the first length - 1 elements cut off, the rows
 * of a matrix that is one column narrower begin where they should.
 */
function alignRows(builder: GraphBuilder, x: Value): Value {
  const [batch = 0, heads = 0, length = 0] = x.shape;
  const narrower = subtractDimensions(multiplyDimensions(2, length), 1);
  const size = multiplyDimensions(length, narrower);
  const start = subtractDimensions(length, 1);
  const flat = builder.reshape(x, [batch, heads, multiplyDimensions(2, length, length)]);
  const cut = builder.slice(flat, 2, start, addDimensions(start, size));
  return builder.slice(builder.reshape(cut, [batch, heads, length, narrower]), 3, 0, length);
}
