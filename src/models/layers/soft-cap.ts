/** @file Bounding values smoothly (Bello et al. 2016, section 5.1; Gemma 2). */
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";

/** cap * tanh(x / cap), which stays within the cap on both sides; x itself without a cap. */
export function softCap(builder: GraphBuilder, x: Value, cap: number | undefined): Value {
  return cap === undefined ? x : builder.scale(builder.tanh(builder.scale(x, 1 / cap)), cap);
}
