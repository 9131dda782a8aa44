/**
 * @file Self-attention with rotary positions and grouped queries (Su et al. 2021; Ainslie et al. 2023), as decoders
 * use it: the projections under the names that Llama gave them, and the attention over what was projected.
 */
import type { Value } from "../../graph/graph.ts";
import { requireDivisible } from "../configuration.ts";
import type { AttentionCall, ForwardContext, OutputSlice } from "../forward.ts";
import { rotate, splitHeads } from "./rotary.ts";
import type { RotaryTables } from "./rotary.ts";

export interface AttentionShape {
  /** Width of the hidden states. */
  readonly hidden: number;
  readonly heads: number;
  /** Heads of keys and values. */
  readonly groups: number;
  /** Width of a head. */
  readonly size: number;
}

/**
 * The shape that a configuration states.
 * @throws DeltafitError `config-invalid` where the numbers do not divide each other.
 */
export function attentionShape(config: {
  readonly hidden_size: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads?: number | null | undefined;
  readonly head_dim?: number | null | undefined;
}): AttentionShape {
  const { hidden_size: hidden, num_attention_heads: heads, head_dim: given } = config;
  const groups = config.num_key_value_heads ?? heads;
  if (given == null) requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
  requireDivisible(heads, groups, "num_attention_heads", "num_key_value_heads");
  return { hidden, heads, groups, size: given ?? hidden / heads };
}

/** Queries [batch, heads, length, size], keys and values [batch, groups, length, size], without positions. */
export interface Projections {
  readonly query: Value;
  readonly key: Value;
  readonly value: Value;
}

/**
 * What the RMS norms of queries and keys normalise: each head on its own ("head"), or all heads of a token
 * together ("token").
 */
export type QueryKeyNorm = "head" | "token";

export interface ProjectionSettings {
  readonly shape: AttentionShape;
  readonly bias: boolean;
  readonly norm?:
    | {
        readonly over: QueryKeyNorm;
        readonly epsilon: number;
        /** What is added to the stored scales. */
        readonly offset?: number | undefined;
      }
    | undefined;
}

/** Projections of x [tokens, hidden] by three matrices in the module `path`. */
export function separateProjections(
  context: ForwardContext,
  path: string,
  x: Value,
  { shape, bias, norm }: ProjectionSettings,
): Projections {
  const { hidden, heads, groups, size } = shape;
  const project = (name: string, count: number) =>
    context.linear(`${path}.${name}_proj`, x, { in: hidden, out: count * size, bias });
  const normalised = (name: string, count: number) => {
    const all = project(name, count);
    if (!norm) return splitHeads(context, all, count);
    const scaled = (of: Value, width: number) =>
      context.rmsNorm(`${path}.${name}_norm`, of, width, norm.epsilon, norm.offset);
    return norm.over === "token"
      ? splitHeads(context, scaled(all, count * size), count)
      : scaled(splitHeads(context, all, count), size);
  };
  return {
    query: normalised("q", heads),
    key: normalised("k", groups),
    value: splitHeads(context, project("v", groups), groups),
  };
}

/** The outputs of a layer that computes all queries, then all keys, then all values. */
export function projectionSlices({
  heads,
  groups,
  size,
}: Pick<AttentionShape, "heads" | "groups" | "size">): OutputSlice[] {
  return [
    { name: "query", out: heads * size },
    { name: "key", out: groups * size },
    { name: "value", out: groups * size },
  ];
}

/**
 * Projections that were computed as one matrix product [tokens, (heads + 2 groups) * size]: all queries, then all keys,
 * then all values.
 */
export function splitProjections(
  context: ForwardContext,
  fused: Value,
  shape: Pick<AttentionShape, "heads" | "groups" | "size">,
): Projections {
  const slices = projectionSlices(shape);
  const [query = fused, key = fused, value = fused] = context.builder
    .split(
      fused,
      1,
      slices.map(({ out }) => out),
    )
    .map((part, index) => splitHeads(context, part, index === 0 ? shape.heads : shape.groups));
  return { query, key, value };
}

/** Results [tokens, heads * size] of attention; without tables the positions play no part. */
export function attendRotated(
  context: ForwardContext,
  { query, key, value }: Projections,
  tables: RotaryTables | undefined,
  call: Omit<AttentionCall, "query" | "key" | "value">,
): Value {
  const placed = (x: Value) => (tables ? rotate(context, x, tables) : x);
  return context.attention({ ...call, query: placed(query), key: placed(key), value });
}
