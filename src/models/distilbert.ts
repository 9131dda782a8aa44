/** @file DistilBERT (Sanh et al. 2019): BERT with half the layers, no segments and no pooler. */
import { z } from "zod";
import {
  activationSchema,
  positiveInteger,
  probability,
  readConfiguration,
  requireDivisible,
  tokenIdSchema,
} from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { embedTokens } from "./layers/embeddings.ts";
import { predictionsHead, sequenceHead, tokenHeads } from "./layers/heads.ts";
import { postNormLayer } from "./layers/post-norm-layer.ts";
import type { PostNormModules, PostNormSettings } from "./layers/post-norm-layer.ts";

const schema = z.object({
  vocab_size: positiveInteger,
  dim: positiveInteger,
  hidden_dim: positiveInteger,
  n_layers: positiveInteger,
  n_heads: positiveInteger,
  activation: activationSchema.default("gelu"),
  max_position_embeddings: positiveInteger.default(512),
  initializer_range: z.number().positive().default(0.02),
  dropout: probability.default(0.1),
  attention_dropout: probability.default(0.1),
  seq_classif_dropout: probability.default(0.2),
  qa_dropout: probability.default(0.1),
  tie_word_embeddings: z.boolean().default(true),
  pad_token_id: tokenIdSchema,
});

/** DistilBERT's norms have no setting for it. */
const epsilon = 1e-12;

const modules: PostNormModules = {
  attention: "attention",
  query: "attention.q_lin",
  key: "attention.k_lin",
  value: "attention.v_lin",
  attentionOutput: "attention.out_lin",
  attentionNorm: "sa_layer_norm",
  attentionEnd: "attention",
  expand: "ffn.lin1",
  contract: "ffn.lin2",
  outputNorm: "output_layer_norm",
  feedForwardEnd: "ffn",
};

export const distilbert: Architecture = {
  modelType: "distilbert",
  classDefaults: {
    vocab_size: 30522,
    dim: 768,
    hidden_dim: 3072,
    n_layers: 6,
    n_heads: 12,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { dim: hidden, n_heads: heads } = config;
    requireDivisible(hidden, heads, "dim", "n_heads");
    const layer: PostNormSettings = {
      hidden,
      heads,
      intermediate: config.hidden_dim,
      activation: config.activation,
      epsilon,
      attentionDropout: config.attention_dropout,
      attentionOutputDropout: 0,
      feedForwardDropout: config.dropout,
    };
    return {
      modelType: "distilbert",
      bodyPath: "distilbert",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.n_layers,
      maximumPositions: config.max_position_embeddings,
      causal: false,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads, size: hidden / heads },
      tokenTypes: false,
      ignoredTensors: [/\.position_ids$/],
      encode(context) {
        let x = embedTokens(context, {
          path: "distilbert.embeddings",
          size: hidden,
          words: config.vocab_size,
          positions: config.max_position_embeddings,
          segments: 0,
          padding: config.pad_token_id,
          epsilon,
          dropout: config.dropout,
        });
        for (let index = 0; index < config.n_layers; index++)
          x = postNormLayer(context, `distilbert.transformer.layer.${index}`, x, layer, modules);
        return x;
      },
      tokenLogits: (context, x) =>
        predictionsHead(context, x, {
          dense: "vocab_transform",
          norm: "vocab_layer_norm",
          output: "vocab_projector",
          bias: true,
          in: hidden,
          embedding: hidden,
          vocabulary: config.vocab_size,
          activation: config.activation,
          epsilon,
          tiedWeight: config.tie_word_embeddings ? "distilbert.embeddings.word_embeddings.weight" : undefined,
        }),
      ...tokenHeads({ hidden, labelDropout: config.dropout, spanDropout: config.qa_dropout }),
      sequenceLogits: (context, x, labelCount) =>
        sequenceHead(context, context.firstTokens(x), labelCount, {
          dense: "pre_classifier",
          output: "classifier",
          hidden,
          activation: "relu",
          inputDropout: 0,
          outputDropout: config.seq_classif_dropout,
        }),
    };
  },
};
