/** @file GPT-2 (Radford et al. 2019): pre-norm decoder with learnt positions and fused attention projections. */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import {
  activationSchema,
  positiveInteger,
  probability,
  readConfiguration,
  requireDivisible,
  tokenIdSchema,
} from "./configuration.ts";
import type { Architecture, ForwardContext, Model } from "./forward.ts";
import { feedForward } from "./layers/feed-forward.ts";
import { tokenHeads, tokenOutput } from "./layers/heads.ts";
import { projectionSlices, splitProjections } from "./layers/self-attention.ts";

const schema = z.object({
  vocab_size: positiveInteger,
  n_embd: positiveInteger,
  n_layer: positiveInteger,
  n_head: positiveInteger,
  n_inner: positiveInteger.nullish(),
  n_positions: positiveInteger.default(1024),
  activation_function: activationSchema.default("gelu_new"),
  layer_norm_epsilon: z.number().positive().default(1e-5),
  initializer_range: z.number().positive().default(0.02),
  embd_pdrop: probability.default(0.1),
  resid_pdrop: probability.default(0.1),
  attn_pdrop: probability.default(0.1),
  scale_attn_weights: z.boolean().default(true),
  scale_attn_by_inverse_layer_idx: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(true),
  /** Of the input of the labels; 0.1 where neither says so. */
  classifier_dropout: probability.nullish(),
  hidden_dropout: probability.nullish(),
  pad_token_id: tokenIdSchema,
});

type Configuration = z.output<typeof schema>;

export const gpt2: Architecture = {
  modelType: "gpt2",
  classDefaults: {
    vocab_size: 50257,
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { n_embd: hidden, n_head: heads } = config;
    requireDivisible(hidden, heads, "n_embd", "n_head");
    const tokens = { path: "transformer.wte", rows: config.vocab_size, size: hidden };
    return {
      modelType: "gpt2",
      bodyPath: "transformer",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.n_layer,
      maximumPositions: config.n_positions,
      causal: true,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads, size: hidden / heads },
      tokenTypes: false,
      // Old checkpoints hold the causal mask as tensors.
      ignoredTensors: [/\.attn\.(bias|masked_bias)$/],
      encode(context) {
        const positions = context.positionEmbedding({
          path: "transformer.wpe",
          rows: config.n_positions,
          size: hidden,
        });
        const embedded = context.builder.add(context.tokenEmbedding(tokens), positions);
        let x = context.dropout(embedded, config.embd_pdrop);
        for (let index = 0; index < config.n_layer; index++) x = layer(context, config, index, x);
        return context.layerNorm("transformer.ln_f", x, hidden, config.layer_norm_epsilon);
      },
      tokenLogits: (context, x) =>
        tokenOutput(context, x, {
          path: "lm_head",
          in: hidden,
          vocabulary: config.vocab_size,
          tiedWeight: config.tie_word_embeddings ? `${tokens.path}.weight` : undefined,
          bias: false,
        }),
      ...tokenHeads({
        hidden,
        labelDropout: config.classifier_dropout ?? config.hidden_dropout ?? 0.1,
      }),
      sequenceLogits: (context, x, labelCount) =>
        context.linear("score", context.lastTokens(x), { in: hidden, out: labelCount, isOutput: true }),
    };
  },
};

function layer(context: ForwardContext, config: Configuration, index: number, x: Value): Value {
  const path = `transformer.h.${index}`;
  const norm = (name: string, of: Value) =>
    context.layerNorm(`${path}.${name}`, of, config.n_embd, config.layer_norm_epsilon);
  return context.layer(path, x, (input) => {
    const attended = attention(context, config, index, norm("ln_1", input));
    const middle = context.sublayer({
      path,
      kind: "attention",
      residual: input,
      output: context.dropout(attended, config.resid_pdrop),
    });
    const modules = { expand: `${path}.mlp.c_fc`, contract: `${path}.mlp.c_proj` };
    const fed = feedForward(context, modules, norm("ln_2", middle), {
      hidden: config.n_embd,
      intermediate: config.n_inner ?? 4 * config.n_embd,
      activation: config.activation_function,
      ...stored,
    });
    return context.sublayer({
      path,
      kind: "feed-forward",
      residual: middle,
      output: context.dropout(fed, config.resid_pdrop),
    });
  });
}

/** GPT-2 stores its matrices as convolutions of width one. */
const stored = { bias: true, layout: "in-out" } as const;

function attention(context: ForwardContext, config: Configuration, index: number, x: Value): Value {
  const { n_embd: hidden, n_head: heads } = config;
  const path = `transformer.h.${index}.attn`;
  const size = hidden / heads;
  const shape = { heads, groups: heads, size };
  const slices = projectionSlices(shape);
  const fused = context.linear(`${path}.c_attn`, x, { in: hidden, out: 3 * hidden, slices, ...stored });
  const bySize = config.scale_attn_weights ? 1 / Math.sqrt(size) : 1;
  const byLayer = config.scale_attn_by_inverse_layer_idx ? 1 / (index + 1) : 1;
  const result = context.attention({
    ...splitProjections(context, fused, shape),
    path,
    scale: bySize * byLayer,
    causal: true,
    dropout: config.attn_pdrop,
  });
  return context.linear(`${path}.c_proj`, result, { in: hidden, out: hidden, ...stored });
}
