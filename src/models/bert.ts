/** @file BERT (Devlin et al. 2019): post-norm bidirectional encoder with segments and learnt positions. */
import { readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { bertPredictions, predictionsHead, sequenceHead, tokenHeads } from "./layers/heads.ts";
import {
  describeEncoder,
  embedPostNorm,
  encodePostNorm,
  postNormSchema,
} from "./layers/post-norm-encoder.ts";

export const bert: Architecture = {
  modelType: "bert",
  classDefaults: {
    vocab_size: 30522,
    hidden_size: 768,
    intermediate_size: 3072,
    num_hidden_layers: 12,
    num_attention_heads: 12,
  },
  create(raw): Model {
    const config = readConfiguration(postNormSchema, raw);
    const hidden = config.hidden_size;
    const headDropout = config.classifier_dropout ?? config.hidden_dropout_prob;
    return {
      ...describeEncoder(config),
      modelType: "bert",
      bodyPath: "bert",
      ignoredTensors: [
        /\.position_ids$/,
        /^bert\.pooler\./,
        /^cls\.seq_relationship\./,
        /^cls\.predictions\.decoder\.bias$/,
      ],
      encode: (context) =>
        encodePostNorm(context, config, "bert", embedPostNorm(context, config, "bert.embeddings")),
      // Masked language modelling head: dense, activation, norm, then the tied embeddings with a bias of their own.
      tokenLogits: (context, x) =>
        predictionsHead(context, x, {
          ...bertPredictions("cls.predictions"),
          in: hidden,
          embedding: hidden,
          vocabulary: config.vocab_size,
          activation: config.hidden_act,
          epsilon: config.layer_norm_eps,
          tiedWeight: config.tie_word_embeddings ? "bert.embeddings.word_embeddings.weight" : undefined,
        }),
      ...tokenHeads({ hidden, labelDropout: headDropout }),
      // The first token through the pooler (dense, tanh), then one linear layer.
      sequenceLogits: (context, x, labelCount) =>
        sequenceHead(context, context.firstTokens(x), labelCount, {
          dense: "bert.pooler.dense",
          output: "classifier",
          hidden,
          activation: "tanh",
          inputDropout: 0,
          outputDropout: headDropout,
        }),
    };
  },
};
