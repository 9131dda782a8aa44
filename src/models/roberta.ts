/** @file RoBERTa (Liu et al. 2019): BERT's encoder with positions that skip padding, and heads of its own. */
import { z } from "zod";
import { activationSchema, positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { encodePostNorm, postNormSchema } from "./layers/post-norm-encoder.ts";

const schema = postNormSchema.extend({
  type_vocab_size: positiveInteger.default(1),
  max_position_embeddings: positiveInteger.default(514),
  hidden_act: activationSchema.default("gelu"),
  pad_token_id: z.int().nonnegative().default(1),
  classifier_dropout: z.number().min(0).lt(1).nullish(),
  tie_word_embeddings: z.boolean().default(true),
});

export const roberta: Architecture = {
  modelType: "roberta",
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const hidden = config.hidden_size;
    const padding = config.pad_token_id;
    const headDropout = config.classifier_dropout ?? config.hidden_dropout_prob;
    return {
      modelType: "roberta",
      bodyPath: "roberta",
      vocabularySize: config.vocab_size,
      hiddenSize: hidden,
      layerCount: config.num_hidden_layers,
      // Positions start after the padding id.
      maximumPositions: config.max_position_embeddings - padding - 1,
      causal: false,
      initialDeviation: config.initializer_range,
      padTokenId: padding,
      keyValue: { heads: config.num_attention_heads, size: hidden / config.num_attention_heads },
      tokenTypes: false,
      ignoredTensors: [/\.position_ids$/, /^roberta\.pooler\./, /^lm_head\.decoder\.bias$/],
      // Tokens count from padding + 1 on; padding keeps its own position.
      positionIds(inputIds) {
        let position = padding;
        return inputIds.map((id) => (id === padding ? padding : ++position));
      },
      encode: (context) => encodePostNorm(context, config, "roberta", 0),
      tokenLogits(context, x) {
        const dense = context.linear("lm_head.dense", x, { in: hidden, out: hidden, bias: true });
        const activated = context.builder.gelu(dense, "none");
        const normed = context.layerNorm("lm_head.layer_norm", activated, hidden, config.layer_norm_eps);
        const logits = context.linear("lm_head.decoder", normed, {
          in: hidden,
          out: config.vocab_size,
          isOutput: true,
          ...(config.tie_word_embeddings ? { tiedWeight: "roberta.embeddings.word_embeddings.weight" } : {}),
        });
        return context.builder.add(logits, context.parameter("lm_head.bias", [config.vocab_size]));
      },
      // The first token through dense and tanh, with dropout before each layer.
      sequenceLogits(context, x, labelCount) {
        const first = context.dropout(context.firstTokens(x), headDropout);
        const dense = context.linear("classifier.dense", first, { in: hidden, out: hidden, bias: true });
        const dropped = context.dropout(context.builder.tanh(dense), headDropout);
        return context.linear("classifier.out_proj", dropped, { in: hidden, out: labelCount, bias: true, isOutput: true });
      },
    };
  },
};
