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
import { tokenOutput } from "./layers/heads.ts";
import { splitProjections } from "./layers/self-attention.ts";

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
  pad_token_id: tokenIdSchema,
});

export const gpt2: Architecture = {
  modelType: "gpt2",
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const hidden = config.n_embd;
    const heads = config.n_head;
    requireDivisible(hidden, heads, "n_embd", "n_head");
    const size = hidden / heads;
    const inner = config.n_inner ?? 4 * hidden;
    const tokens = { path: "transformer.wte", rows: config.vocab_size, size: hidden };

    /** GPT-2 stores its matrices as a convolution of width one: [in, out]. */
    const convolution = (context: ForwardContext, path: string, x: Value, from: number, to: number) =>
      context.linear(path, x, { in: from, out: to, bias: true, layout: "in-out" });

    const attention = (context: ForwardContext, path: string, x: Value, layer: number) => {
      const fused = convolution(context, `${path}.c_attn`, x, hidden, 3 * hidden);
      const bySize = config.scale_attn_weights ? 1 / Math.sqrt(size) : 1;
      const byLayer = config.scale_attn_by_inverse_layer_idx ? 1 / (layer + 1) : 1;
      const projections = splitProjections(context, fused, { heads, groups: heads, size });
      const result = context.attention({
        ...projections,
        path,
        scale: bySize * byLayer,
        causal: true,
        dropout: config.attn_pdrop,
      });
      return context.dropout(
        convolution(context, `${path}.c_proj`, result, hidden, hidden),
        config.resid_pdrop,
      );
    };

    const expandAndContract = (context: ForwardContext, path: string, x: Value) => {
      const fed = feedForward(context, { expand: `${path}.c_fc`, contract: `${path}.c_proj` }, x, {
        hidden,
        intermediate: inner,
        activation: config.activation_function,
        bias: true,
        layout: "in-out",
      });
      return context.dropout(fed, config.resid_pdrop);
    };

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
      keyValue: { heads, size },
      tokenTypes: false,
      // Old checkpoints hold the causal mask as tensors.
      ignoredTensors: [/\.attn\.(bias|masked_bias)$/],
      encode(context) {
        const norm = (path: string, x: Value) =>
          context.layerNorm(path, x, hidden, config.layer_norm_epsilon);
        const positions = context.positionEmbedding({
          path: "transformer.wpe",
          rows: config.n_positions,
          size: hidden,
        });
        let x = context.dropout(
          context.builder.add(context.tokenEmbedding(tokens), positions),
          config.embd_pdrop,
        );
        for (let index = 0; index < config.n_layer; index++) {
          const path = `transformer.h.${index}`;
          x = context.layer(path, x, (input) => {
            const attended = attention(context, `${path}.attn`, norm(`${path}.ln_1`, input), index);
            const middle = context.sublayer({ path, kind: "attention", residual: input, output: attended });
            const fed = expandAndContract(context, `${path}.mlp`, norm(`${path}.ln_2`, middle));
            return context.sublayer({ path, kind: "feed-forward", residual: middle, output: fed });
          });
        }
        return norm("transformer.ln_f", x);
      },
      tokenLogits: (context, x) =>
        tokenOutput(context, x, {
          path: "lm_head",
          in: hidden,
          vocabulary: config.vocab_size,
          tiedWeight: config.tie_word_embeddings ? `${tokens.path}.weight` : undefined,
          bias: false,
        }),
      sequenceLogits: (context, x, labelCount) =>
        context.linear("score", context.lastTokens(x), { in: hidden, out: labelCount, isOutput: true }),
    };
  },
};
