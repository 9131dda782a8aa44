/** @file BERT (Devlin et al. 2019): post-norm bidirectional encoder with segments and learnt positions. */
import { z } from "zod";
import { activationSchema, positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { activate } from "./layers/activation.ts";
import { encodePostNorm, postNormSchema } from "./layers/post-norm-encoder.ts";

const schema = postNormSchema.extend({
  type_vocab_size: positiveInteger.default(2),
  max_position_embeddings: positiveInteger.default(512),
  hidden_act: activationSchema.default("gelu"),
  classifier_dropout: z.number().min(0).lt(1).nullish(),
  tie_word_embeddings: z.boolean().default(true),
});

export const bert: Architecture = {
  modelType: "bert",
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const hidden = config.hidden_size;
    const wordEmbedding = { path: "bert.embeddings.word_embeddings", rows: config.vocab_size, size: hidden };
    return {
      modelType: "bert",
      bodyPath: "bert",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.num_hidden_layers,
      maximumPositions: config.max_position_embeddings,
      causal: false,
      initialDeviation: config.initializer_range,
      padTokenId: config.pad_token_id,
      keyValue: { heads: config.num_attention_heads, size: hidden / config.num_attention_heads },
      tokenTypes: config.type_vocab_size > 1,
      ignoredTensors: [/\.position_ids$/, /^bert\.pooler\./, /^cls\.seq_relationship\./, /^cls\.predictions\.decoder\.bias$/],
      encode: (context) => encodePostNorm(context, config, "bert", 0),
      // Masked language modelling head: dense, activation, norm, then the tied embeddings with a bias of their own.
      tokenLogits(context, x) {
        const head = "cls.predictions";
        const dense = context.linear(`${head}.transform.dense`, x, { in: hidden, out: hidden, bias: true });
        const activated = activate(context.builder, config.hidden_act, dense);
        const normed = context.layerNorm(`${head}.transform.LayerNorm`, activated, hidden, config.layer_norm_eps);
        const logits = context.linear(`${head}.decoder`, normed, {
          in: hidden,
          out: config.vocab_size,
          isOutput: true,
          ...(config.tie_word_embeddings ? { tiedWeight: `${wordEmbedding.path}.weight` } : {}),
        });
        return context.builder.add(logits, context.parameter(`${head}.bias`, [config.vocab_size]));
      },
      // The first token through the pooler (dense, tanh), then one linear layer.
      sequenceLogits(context, x, labelCount) {
        const first = context.firstTokens(x);
        const pooled = context.builder.tanh(context.linear("bert.pooler.dense", first, { in: hidden, out: hidden, bias: true }));
        const dropped = context.dropout(pooled, config.classifier_dropout ?? config.hidden_dropout_prob);
        return context.linear("classifier", dropped, { in: hidden, out: labelCount, bias: true, isOutput: true });
      },
    };
  },
};
