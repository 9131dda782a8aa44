/**
 * @file RoBERTa (Liu et al. 2019) and XLM-RoBERTa (Conneau et al. 2020), the same model on other languages: BERT's
 * encoder with positions that skip padding, and heads of its own.
 */
import { z } from "zod";
import { readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { predictionsHead, sequenceHead, tokenHeads } from "./layers/heads.ts";
import {
  describeEncoder,
  embedPostNorm,
  encodePostNorm,
  postNormSchema,
} from "./layers/post-norm-encoder.ts";

const schema = postNormSchema.extend({
  pad_token_id: z.int().nonnegative().default(1),
});

function architecture(modelType: string, vocabulary: number): Architecture {
  return {
    modelType,
    classDefaults: {
      vocab_size: vocabulary,
      hidden_size: 768,
      intermediate_size: 3072,
      num_hidden_layers: 12,
      num_attention_heads: 12,
    },
    create: (raw) => createModel(modelType, readConfiguration(schema, raw)),
  };
}

export const roberta = architecture("roberta", 50265);
export const xlmRoberta = architecture("xlm-roberta", 30522);

function createModel(modelType: string, config: z.output<typeof schema>): Model {
  const hidden = config.hidden_size;
  const padding = config.pad_token_id;
  const headDropout = config.classifier_dropout ?? config.hidden_dropout_prob;
  return {
    ...describeEncoder(config),
    modelType,
    bodyPath: "roberta",
    // Positions start after the padding id.
    maximumPositions: config.max_position_embeddings - padding - 1,
    tokenTypes: false,
    ignoredTensors: [/\.position_ids$/, /^roberta\.pooler\./, /^lm_head\.decoder\.bias$/],
    // Tokens count from padding + 1 on; padding keeps its own position.
    positionIds(inputIds) {
      let position = padding;
      return inputIds.map((id) => (id === padding ? padding : ++position));
    },
    encode: (context) =>
      encodePostNorm(
        context,
        config,
        "roberta",
        embedPostNorm(context, config, "roberta.embeddings", hidden, padding),
      ),
    tokenLogits: (context, x) =>
      predictionsHead(context, x, {
        dense: "lm_head.dense",
        norm: "lm_head.layer_norm",
        output: "lm_head.decoder",
        bias: "lm_head.bias",
        in: hidden,
        embedding: hidden,
        vocabulary: config.vocab_size,
        activation: "gelu",
        epsilon: config.layer_norm_eps,
        tiedWeight: config.tie_word_embeddings ? "roberta.embeddings.word_embeddings.weight" : undefined,
      }),
    ...tokenHeads({ hidden, labelDropout: headDropout }),
    // The first token through dense and tanh, with dropout before each layer.
    sequenceLogits: (context, x, labelCount) =>
      sequenceHead(context, context.firstTokens(x), labelCount, {
        dense: "classifier.dense",
        output: "classifier.out_proj",
        hidden,
        activation: "tanh",
        inputDropout: headDropout,
        outputDropout: headDropout,
      }),
  };
}
