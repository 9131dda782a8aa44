/**
 * @file ELECTRA (Clark et al. 2020): BERT's encoder on embeddings that may be narrower than its layers. The same body
 * is trained as a generator, which predicts masked tokens, and as a discriminator, which is what one fine-tunes.
 */
import { positiveInteger, readConfiguration } from "./configuration.ts";
import type { Architecture, Model } from "./forward.ts";
import { predictionsHead, sequenceHead, tokenHeads } from "./layers/heads.ts";
import {
  describeEncoder,
  embedPostNorm,
  encodePostNorm,
  postNormSchema,
} from "./layers/post-norm-encoder.ts";

const schema = postNormSchema.extend({ embedding_size: positiveInteger.default(128) });

export const electra: Architecture = {
  modelType: "electra",
  classDefaults: {
    vocab_size: 30522,
    hidden_size: 256,
    intermediate_size: 1024,
    num_hidden_layers: 12,
    num_attention_heads: 4,
  },
  create(raw): Model {
    const config = readConfiguration(schema, raw);
    const { hidden_size: hidden, embedding_size: embedding } = config;
    const headDropout = config.classifier_dropout ?? config.hidden_dropout_prob;
    return {
      ...describeEncoder(config),
      modelType: "electra",
      bodyPath: "electra",
      ignoredTensors: [/\.position_ids$/],
      encode(context) {
        const embedded = embedPostNorm(context, config, "electra.embeddings", embedding);
        const widened =
          embedding === hidden
            ? embedded
            : context.linear("electra.embeddings_project", embedded, {
                in: embedding,
                out: hidden,
                bias: true,
              });
        return encodePostNorm(context, config, "electra", widened);
      },
      // The generator's head.
      tokenLogits: (context, x) =>
        predictionsHead(context, x, {
          dense: "generator_predictions.dense",
          norm: "generator_predictions.LayerNorm",
          output: "generator_lm_head",
          bias: true,
          in: hidden,
          embedding,
          vocabulary: config.vocab_size,
          activation: "gelu",
          epsilon: config.layer_norm_eps,
          tiedWeight: config.tie_word_embeddings ? "electra.embeddings.word_embeddings.weight" : undefined,
        }),
      ...tokenHeads({ hidden, labelDropout: headDropout }),
      // The first token through dense and GELU (BERT has tanh there), with dropout before each layer.
      sequenceLogits: (context, x, labelCount) =>
        sequenceHead(context, context.firstTokens(x), labelCount, {
          dense: "classifier.dense",
          output: "classifier.out_proj",
          hidden,
          activation: "gelu",
          inputDropout: headDropout,
          outputDropout: headDropout,
        }),
    };
  },
};
