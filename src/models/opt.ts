/**
 * @file OPT (Zhang et al. 2022): GPT-3's decoder with learnt positions, counted over the tokens that are no padding.
 * The 350M model normalises after each sub-layer and has embeddings narrower than its layers.
 */
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
import { tokenHead, tokenOutput } from "./layers/heads.ts";
import { separateProjections } from "./layers/self-attention.ts";

const schema = z.object({
  vocab_size: positiveInteger,
  hidden_size: positiveInteger,
  ffn_dim: positiveInteger,
  num_hidden_layers: positiveInteger,
  num_attention_heads: positiveInteger,
  /** Width of the embeddings; that of the layers where it is null. */
  word_embed_proj_dim: positiveInteger.nullish(),
  activation_function: activationSchema.default("relu"),
  max_position_embeddings: positiveInteger.default(2048),
  do_layer_norm_before: z.boolean().default(true),
  _remove_final_layer_norm: z.boolean().default(false),
  enable_bias: z.boolean().default(true),
  /** Norms without parameters are not implemented. */
  layer_norm_elementwise_affine: z.literal(true).default(true),
  init_std: z.number().positive().default(0.02),
  dropout: probability.default(0.1),
  attention_dropout: probability.default(0),
  /** Leaving out whole layers while training is not implemented. */
  layerdrop: z.literal(0).default(0),
  tie_word_embeddings: z.boolean().default(true),
  pad_token_id: tokenIdSchema,
});

type Configuration = z.output<typeof schema>;

/** The rows of the table of positions start with two that no position uses. */
const positionOffset = 2;

/** OPT's norms are torch's with its default epsilon: the configuration has no key for it. */
const epsilon = 1e-5;

export const opt: Architecture = {
  modelType: "opt",
  classDefaults: {
    vocab_size: 50272,
    hidden_size: 768,
    ffn_dim: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: depth } = config;
    requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
    const width = config.word_embed_proj_dim ?? hidden;
    const embedding = {
      path: "model.decoder.embed_tokens",
      rows: config.vocab_size,
      size: width,
      paddingRow: config.pad_token_id,
    };
    return {
      modelType: "opt",
      bodyPath: "model",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: depth,
      maximumPositions: config.max_position_embeddings,
      causal: true,
      initialDeviation: config.init_std,
      padTokenId: config.pad_token_id,
      keyValue: { heads, size: hidden / heads },
      tokenTypes: false,
      ignoredTensors: [],
      positionIds: (_ids, mask) => positionsOf(mask),
      encode(context) {
        let x = embed(context, config, context.tokenEmbedding(embedding));
        for (let index = 0; index < depth; index++)
          x = layer(context, config, `model.decoder.layers.${index}`, x);
        if (config.do_layer_norm_before && !config._remove_final_layer_norm)
          x = context.layerNorm("model.decoder.final_layer_norm", x, hidden, epsilon);
        if (width === hidden) return x;
        return context.linear("model.decoder.project_out", x, { in: hidden, out: width });
      },
      tokenLogits: (context, x) =>
        tokenOutput(context, x, {
          path: "lm_head",
          in: width,
          vocabulary: config.vocab_size,
          tiedWeight: config.tie_word_embeddings ? `${embedding.path}.weight` : undefined,
          bias: false,
        }),
      spanLogits: (context, x) => tokenHead(context, x, 2, { path: "qa_outputs", hidden: width, dropout: 0 }),
      sequenceLogits: (context, x, labelCount) =>
        context.linear("score", context.lastTokens(x), { in: width, out: labelCount, isOutput: true }),
    };
  },
};

/** 0, 1, 2 .. over the tokens; -1 at padding, which takes one of the rows before. */
function positionsOf(mask: readonly number[]): number[] {
  let count = 0;
  return mask.map((present) => {
    count += present;
    return count * present - 1;
  });
}

/** Embeddings of tokens and positions [tokens, hidden]. */
function embed(context: ForwardContext, config: Configuration, tokens: Value): Value {
  const { hidden_size: hidden, max_position_embeddings: count } = config;
  const width = config.word_embed_proj_dim ?? hidden;
  const wide =
    width === hidden
      ? tokens
      : context.linear("model.decoder.project_in", tokens, { in: width, out: hidden });
  const positions = context.positionEmbedding(
    { path: "model.decoder.embed_positions", rows: count + positionOffset, size: hidden },
    positionOffset,
  );
  return context.builder.add(wide, positions);
}

function layer(context: ForwardContext, config: Configuration, path: string, x: Value): Value {
  const { hidden_size: hidden, do_layer_norm_before: isBefore, enable_bias: bias } = config;
  const norm = (name: string) => (of: Value) => context.layerNorm(`${path}.${name}`, of, hidden, epsilon);
  const sublayer = (
    kind: "attention" | "feed-forward",
    normName: string,
    input: Value,
    compute: (x: Value) => Value,
  ) =>
    context.sublayer({
      path,
      kind,
      residual: input,
      output: context.dropout(compute(isBefore ? norm(normName)(input) : input), config.dropout),
      norm: isBefore ? undefined : norm(normName),
    });
  return context.layer(path, x, (input) => {
    const middle = sublayer("attention", "self_attn_layer_norm", input, (of) =>
      attention(context, config, `${path}.self_attn`, of),
    );
    return sublayer("feed-forward", "final_layer_norm", middle, (of) =>
      feedForward(context, { expand: `${path}.fc1`, contract: `${path}.fc2` }, of, {
        hidden,
        intermediate: config.ffn_dim,
        activation: config.activation_function,
        bias,
      }),
    );
  });
}

function attention(context: ForwardContext, config: Configuration, path: string, x: Value): Value {
  const { hidden_size: hidden, num_attention_heads: heads, enable_bias: bias } = config;
  const size = hidden / heads;
  const projections = separateProjections(context, path, x, {
    shape: { hidden, heads, groups: heads, size },
    bias,
  });
  const result = context.attention({
    ...projections,
    path,
    scale: 1 / Math.sqrt(size),
    causal: true,
    dropout: config.attention_dropout,
  });
  return context.linear(`${path}.out_proj`, result, { in: hidden, out: hidden, bias });
}
