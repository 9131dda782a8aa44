/**
 * @file ALBERT (Lan et al. 2020): BERT with narrow embeddings and with layers that share their parameters: the layers
 * of a group are the same modules, called again.
 */
import type { Value } from "../graph/graph.ts";
import { activationSchema, positiveInteger, probability, readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { predictionsHead, sequenceHead, tokenHeads } from "./layers/heads.ts";
import { describeEncoder, embedPostNorm, layerSettings, postNormSchema } from "./layers/post-norm-encoder.ts";
import { postNormLayer } from "./layers/post-norm-layer.ts";
import type { PostNormModules } from "./layers/post-norm-layer.ts";

const schema = postNormSchema
  .extend({
    embedding_size: positiveInteger.default(128),
    hidden_act: activationSchema.default("gelu_new"),
    hidden_dropout_prob: probability.default(0),
    attention_probs_dropout_prob: probability.default(0),
    num_hidden_groups: positiveInteger.default(1),
    inner_group_num: positiveInteger.default(1),
    classifier_dropout_prob: probability.default(0.1),
  })
  .refine(({ num_hidden_groups: groups, num_hidden_layers: layers }) => groups <= layers, {
    path: ["num_hidden_groups"],
    message: "expected no more groups than layers",
  });

const modules: PostNormModules = {
  attention: "attention",
  query: "attention.query",
  key: "attention.key",
  value: "attention.value",
  attentionOutput: "attention.dense",
  attentionNorm: "attention.LayerNorm",
  attentionEnd: "attention",
  expand: "ffn",
  contract: "ffn_output",
  outputNorm: "full_layer_layer_norm",
  feedForwardEnd: "",
};

export const albert: Architecture = {
  modelType: "albert",
  classDefaults: {
    vocab_size: 30000,
    hidden_size: 4096,
    intermediate_size: 16384,
    num_hidden_layers: 12,
    num_attention_heads: 64,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, embedding_size: embedding, num_hidden_layers: depth } = config;
    const settings = { ...layerSettings(config), feedForwardDropout: 0 };

    const encode: Model["encode"] = (context) => {
      const embedded = embedPostNorm(context, config, "albert.embeddings", embedding);
      const path = "albert.encoder.embedding_hidden_mapping_in";
      let x: Value = context.linear(path, embedded, { in: embedding, out: hidden, bias: true });
      for (let index = 0; index < depth; index++) {
        const group = Math.floor((index * config.num_hidden_groups) / depth);
        for (let inner = 0; inner < config.inner_group_num; inner++) {
          const layer = `albert.encoder.albert_layer_groups.${group}.albert_layers.${inner}`;
          x = postNormLayer(context, layer, x, settings, modules);
        }
      }
      return x;
    };

    return {
      ...describeEncoder(config),
      modelType: "albert",
      bodyPath: "albert",
      layerCount: depth * config.inner_group_num,
      ignoredTensors: [/\.position_ids$/],
      encode,
      tokenLogits: (context, x) =>
        predictionsHead(context, x, {
          dense: "predictions.dense",
          norm: "predictions.LayerNorm",
          output: "predictions.decoder",
          bias: "predictions.bias",
          in: hidden,
          embedding,
          vocabulary: config.vocab_size,
          activation: config.hidden_act,
          epsilon: config.layer_norm_eps,
          tiedWeight: config.tie_word_embeddings ? "albert.embeddings.word_embeddings.weight" : undefined,
        }),
      ...tokenHeads({ hidden, labelDropout: config.classifier_dropout_prob }),
      sequenceLogits: (context, x, labelCount) =>
        sequenceHead(context, context.firstTokens(x), labelCount, {
          dense: "albert.pooler",
          output: "classifier",
          hidden,
          activation: "tanh",
          inputDropout: 0,
          outputDropout: config.classifier_dropout_prob,
        }),
    };
  },
};
