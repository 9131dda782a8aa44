/**
 * @file Rotations of blocks of a vector: orthogonal matrices from skew-symmetric ones, applied block by block, and how
 * merging puts them into a layer's matrix. Knows no method.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { multiplyDimensions } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { MergeRule, MethodUse } from "./contract.ts";
import { storedWeight } from "./linear-sites.ts";

export function identityMatrix(builder: GraphBuilder, extent: number): Value {
  const isDiagonal = (at: number) => Number(at % (extent + 1) === 0);
  return builder.constant(
    "float32",
    [extent, extent],
    Array.from({ length: extent * extent }, (_, at) => isDiagonal(at)),
  );
}

/**
 * The Cayley transform (I - S) (I + S)^-1 = 2 (I + S)^-1 - I of skew-symmetric matrices S [.., n, n]: orthogonal. The
 * eigenvalues of I + S have the real part one, so that it always has an inverse.
 */
export function cayley(builder: GraphBuilder, skew: Value): Value {
  const identity = identityMatrix(builder, Number(skew.shape.at(-1) ?? 0));
  return builder.subtract(builder.scale(builder.inverse(builder.add(identity, skew)), 2), identity);
}

/**
 * Each block of x's rows times its own matrix.
 * @param x [rows, blocks * n]
 * @param rotations [blocks, n, n], or [1, n, n] for all blocks.
 */
export function rotateBlocks(builder: GraphBuilder, x: Value, rotations: Value): Value {
  const [rows = 0, width = 0] = x.shape;
  const [matrices = 0, extent = 0] = rotations.shape;
  const blocks = Number(width) / Number(extent);
  if (matrices === 1) {
    const flat = builder.reshape(x, [multiplyDimensions(rows, blocks), extent]);
    const rotated = builder.gemm(flat, builder.reshape(rotations, [extent, extent]));
    return builder.reshape(rotated, [rows, width]);
  }
  const byBlock = builder.transpose(builder.reshape(x, [rows, blocks, extent]), [1, 0, 2]);
  const rotated = builder.transpose(builder.matmul(byBlock, rotations), [1, 0, 2]);
  return builder.reshape(rotated, [rows, width]);
}

/** While training, each block [blocks, n, n] with a probability the identity instead. */
export function dropBlocks(use: MethodUse, rotations: Value, ratio: number): Value {
  const { builder } = use;
  const [blocks = 0, extent = 0] = rotations.shape;
  const ones = builder.expand(builder.scalar(1), [blocks, 1, 1]);
  const kept = use.dropout(ones, ratio);
  if (kept === ones) return rotations;
  const identity = identityMatrix(builder, Number(extent));
  // What is kept has grown by 1 / (1 - ratio).
  const mask = builder.scale(kept, 1 - ratio);
  return builder.add(identity, builder.multiply(mask, builder.subtract(rotations, identity)));
}

type Use = Parameters<MergeRule["merged"]>[0];

/**
 * The rule that merges a change of a layer's input: W (R x) = (W R) x.
 * @param rotateBack what the change's transpose makes of rows: of the rows of W [out, in].
 */
export function rotatedWeight(
  site: LinearSite,
  rotateBack: (use: Use, rows: Value) => Value,
  scaleRows: (use: Use, rows: Value) => Value = (_use, rows) => rows,
): MergeRule {
  const turned = (builder: GraphBuilder, x: Value) =>
    site.layout === "in-out" ? builder.transposeLast(x) : x;
  return {
    stored: storedWeight(site),
    merged: (use, base) => turned(use.builder, scaleRows(use, rotateBack(use, turned(use.builder, base)))),
  };
}
