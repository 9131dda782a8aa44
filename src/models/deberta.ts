/**
 * @file DeBERTa (He et al. 2021): BERT with disentangled attention to content and relative positions; query, key and
 * value come from one matrix.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import { readConfiguration } from "./configuration.ts";
import type { Architecture, ForwardContext } from "./forward.ts";
import { disentangledModel, disentangledSchema, maximumDistance } from "./layers/disentangled-encoder.ts";
import type {
  DisentangledConfiguration,
  DisentangledProjections,
  PositionKinds,
} from "./layers/disentangled-encoder.ts";
import { splitHeads } from "./layers/rotary.ts";

const schema = disentangledSchema.extend({
  /** Talking heads (Shazeer et al. 2020) were an experiment; no released model has them. */
  talking_head: z.literal(false).optional(),
});

export const deberta: Architecture = {
  modelType: "deberta",
  classDefaults: {
    vocab_size: 50265,
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const distance = maximumDistance(config);
    return disentangledModel(config, {
      modelType: "deberta",
      positions: { span: distance, maximumDistance: distance },
      project: (context, path, x, table, kinds) => project(context, config, path, x, table, kinds),
    });
  },
};

function project(
  context: ForwardContext,
  { hidden_size: hidden, num_attention_heads: heads }: DisentangledConfiguration,
  path: string,
  x: Value,
  table: Value | undefined,
  { contentToPosition, positionToContent }: PositionKinds,
): DisentangledProjections {
  const { builder } = context;
  const size = hidden / heads;
  // Each head's query, key and value lie side by side. Keys have no bias: it would cancel in the softmax.
  const fused = splitHeads(
    context,
    context.linear(`${path}.in_proj`, x, { in: hidden, out: 3 * hidden }),
    heads,
  );
  const [query = fused, key = fused, value = fused] = builder.split(fused, 3, [size, size, size]);
  const bias = (name: string) =>
    builder.reshape(context.parameter(`${path}.${name}`, [hidden]), [1, heads, 1, size]);
  return {
    query: builder.add(query, bias("q_bias")),
    key,
    value: builder.add(value, bias("v_bias")),
    positionKeys:
      table && contentToPosition
        ? context.linear(`${path}.pos_proj`, table, { in: hidden, out: hidden })
        : undefined,
    positionQueries:
      table && positionToContent
        ? context.linear(`${path}.pos_q_proj`, table, { in: hidden, out: hidden, bias: true })
        : undefined,
  };
}
