/** @file Mixtral (Jiang et al. 2024): Mistral with a mixture of experts in place of each feed-forward layer. */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import { positiveInteger, readConfiguration, requireAtMost } from "./configuration.ts";
import type { Architecture, ForwardContext, Model } from "./forward.ts";
import { activate } from "./layers/activation.ts";
import { createDecoder, decoderSchema, preNorms } from "./layers/decoder.ts";
import { balanceLoss, mixtureOfExperts } from "./layers/experts.ts";
import type { Routing } from "./layers/experts.ts";
import { rotaryFrequencies, rotarySettings } from "./layers/rotary.ts";
import { attentionShape } from "./layers/self-attention.ts";

const schema = decoderSchema.extend({
  num_key_value_heads: positiveInteger.nullable().default(8),
  max_position_embeddings: positiveInteger.default(131_072),
  rms_norm_eps: z.number().positive().default(1e-5),
  sliding_window: positiveInteger.nullish(),
  num_local_experts: positiveInteger.default(8),
  num_experts_per_tok: positiveInteger.default(2),
  output_router_logits: z.boolean().default(false),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
  router_jitter_noise: z
    .literal(0, "noise on what the router sees is not implemented; expected 0")
    .default(0),
});

const defaultTheta = 1e6;

export const mixtral: Architecture = {
  modelType: "mixtral",
  classDefaults: {
    vocab_size: 32000,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { num_local_experts: experts, num_experts_per_tok: perToken, hidden_size: hidden } = config;
    requireAtMost(perToken, experts, "num_experts_per_tok", "num_local_experts");
    const frequencies = rotaryFrequencies(rotarySettings(config, defaultTheta), attentionShape(config).size);
    const expertOf = (context: ForwardContext) => (path: string, x: Value) => {
      const expand = (name: string) =>
        context.linear(`${path}.${name}`, x, { in: hidden, out: config.intermediate_size });
      const gated = context.builder.multiply(
        activate(context.builder, config.hidden_act, expand("w1")),
        expand("w3"),
      );
      return context.linear(`${path}.w2`, gated, { in: config.intermediate_size, out: hidden });
    };
    /** @param routings is told how each layer sends its tokens. */
    const decoder = (routings: Routing[]) =>
      createDecoder(config, {
        modelType: "mixtral",
        norms: preNorms,
        attention: () => ({ frequencies, window: config.sliding_window ?? undefined }),
        feedForwardModule: "block_sparse_moe",
        spanBody: "model",
        feedForward(context, path, x) {
          const settings = { hidden, experts, perToken, expert: expertOf(context) };
          const { output, routing } = mixtureOfExperts(context, path, x, settings);
          routings.push(routing);
          return output;
        },
      });
    return {
      ...decoder([]),
      countsTokens: config.output_router_logits,
      encode(context) {
        const routings: Routing[] = [];
        const hiddenStates = decoder(routings).encode(context);
        if (config.output_router_logits)
          context.addLoss(context.builder.scale(balanceLoss(context, routings), config.router_aux_loss_coef));
        return hiddenStates;
      },
    };
  },
};
