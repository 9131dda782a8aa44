/**
 * @file DeBERTa's second and third version (He et al. 2021; He et al. 2023, "DeBERTaV3"): distances fall into
 * logarithmic buckets, positions may share the projections of content, and the largest models have a convolution
 * beside the first layer.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import { activationSchema, positiveInteger, readConfiguration, requireEqual } from "./configuration.ts";
import type { Architecture, ForwardContext } from "./forward.ts";
import { activate } from "./layers/activation.ts";
import { convolveSequence } from "./layers/convolution.ts";
import { disentangledModel, disentangledSchema, maximumDistance } from "./layers/disentangled-encoder.ts";
import type { DisentangledProjections, PositionKinds } from "./layers/disentangled-encoder.ts";
import { splitHeads } from "./layers/rotary.ts";

const schema = disentangledSchema.extend({
  attention_head_size: positiveInteger.optional(),
  share_att_key: z.boolean().default(false),
  /** Fewer than one bucket means that every distance has a row of its own. */
  position_buckets: z
    .int()
    .refine((count) => count !== 1, "expected an even number of buckets, or a number below 1 for none")
    .default(-1),
  norm_rel_ebd: z.string().default("none"),
  /** 0 for no convolution. */
  conv_kernel_size: z
    .int()
    .refine((size) => size <= 0 || size % 2 === 1, "expected an odd number, or 0 for no convolution")
    .default(0),
  conv_act: activationSchema.default("tanh"),
  conv_groups: z.literal(1).optional(),
});

type Configuration = z.output<typeof schema>;

export const debertaV2: Architecture = {
  modelType: "deberta-v2",
  classDefaults: {
    vocab_size: 128_100,
    hidden_size: 1536,
    intermediate_size: 6144,
    num_hidden_layers: 24,
    num_attention_heads: 24,
  },
  create(raw) {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, num_attention_heads: heads, position_buckets: buckets } = config;
    requireEqual(
      (config.attention_head_size ?? hidden / heads) * heads,
      hidden,
      "attention_head_size",
      "hidden_size",
    );
    const distance = maximumDistance(config);
    const normalised = config.norm_rel_ebd
      .toLowerCase()
      .split("|")
      .some((kind) => kind.trim() === "layer_norm");
    return disentangledModel(config, {
      modelType: "deberta-v2",
      positions: {
        span: buckets > 0 ? buckets : distance,
        buckets: buckets > 0 ? buckets : undefined,
        maximumDistance: distance,
      },
      project: (context, path, x, table, kinds) => project(context, config, path, x, table, kinds),
      relativeTable: (context, table) =>
        normalised
          ? context.layerNorm("deberta.encoder.LayerNorm", table, hidden, config.layer_norm_eps)
          : table,
      afterFirstLayer: (context, embedded, x) =>
        config.conv_kernel_size > 0 ? convolution(context, config, embedded, x) : x,
    });
  },
};

function project(
  context: ForwardContext,
  { hidden_size: hidden, num_attention_heads: heads, share_att_key: shared }: Configuration,
  path: string,
  x: Value,
  table: Value | undefined,
  { contentToPosition, positionToContent }: PositionKinds,
): DisentangledProjections {
  const linear = (name: string, input: Value) =>
    context.linear(`${path}.${name}`, input, { in: hidden, out: hidden, bias: true });
  const content = (name: string) => splitHeads(context, linear(name, x), heads);
  return {
    query: content("query_proj"),
    key: content("key_proj"),
    value: content("value_proj"),
    positionKeys:
      table && contentToPosition ? linear(shared ? "key_proj" : "pos_key_proj", table) : undefined,
    positionQueries:
      table && positionToContent ? linear(shared ? "query_proj" : "pos_query_proj", table) : undefined,
  };
}

/**
 * A convolution of the embeddings joins the first layer's output. Padding reaches no token through it: the embeddings
 * of padding are zero.
 */
function convolution(context: ForwardContext, config: Configuration, embedded: Value, x: Value): Value {
  const { hidden_size: hidden, conv_kernel_size: kernel } = config;
  const path = "deberta.encoder.conv";
  const convolved = convolveSequence(context, `${path}.conv`, embedded, { in: hidden, out: hidden, kernel });
  const dropped = context.dropout(convolved, config.hidden_dropout_prob);
  const sum = context.builder.add(x, activate(context.builder, config.conv_act, dropped));
  return context.layerNorm(`${path}.LayerNorm`, sum, hidden, config.layer_norm_eps);
}
