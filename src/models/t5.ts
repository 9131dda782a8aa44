/**
 * @file T5 (Raffel et al. 2020) and its version 1.1: pre-norm encoder and decoder with RMS norms and no biases. Attention
 * is not scaled; positions come in as a score by distance, in buckets, from a table that all layers of a stack share.
 */
import { z } from "zod";
import type { Value } from "../graph/graph.ts";
import {
  activationSchema,
  positiveInteger,
  probability,
  readConfiguration,
  tokenIdSchema,
} from "./configuration.ts";
import type { ActivationName } from "./configuration.ts";
import type { Architecture, AttentionKind, ForwardContext, Model, RelativeBias } from "./forward.ts";
import { activate } from "./layers/activation.ts";
import { tokenOutput } from "./layers/heads.ts";
import { splitHeads } from "./layers/rotary.ts";

const gatedPrefix = "gated-";

/** "relu" or "gated-gelu"; with a gate, "gelu" has always meant its approximation. */
const feedForwardSchema = z.string().transform((name, context): FeedForward => {
  const gated = name.startsWith(gatedPrefix);
  const spelled = gated ? name.slice(gatedPrefix.length) : name;
  const activation = activationSchema.safeParse(gated && spelled === "gelu" ? "gelu_new" : spelled);
  if (activation.success) return { gated, activation: activation.data };
  context.addIssue('expected the name of an activation function, or "gated-" and such a name');
  return z.NEVER;
});

interface FeedForward {
  readonly gated: boolean;
  readonly activation: ActivationName;
}

const schema = z.object({
  vocab_size: positiveInteger,
  d_model: positiveInteger,
  d_kv: positiveInteger,
  d_ff: positiveInteger,
  num_layers: positiveInteger,
  num_decoder_layers: positiveInteger.nullish(),
  num_heads: positiveInteger,
  relative_attention_num_buckets: z.int().min(4).default(32),
  relative_attention_max_distance: positiveInteger.default(128),
  dropout_rate: probability.default(0.1),
  layer_norm_epsilon: z.number().positive().default(1e-6),
  initializer_factor: z.number().positive().default(1),
  feed_forward_proj: feedForwardSchema.default({ gated: false, activation: "relu" }),
  tie_word_embeddings: z.boolean().default(true),
  scale_decoder_outputs: z.boolean().optional(),
  pad_token_id: tokenIdSchema,
  decoder_start_token_id: tokenIdSchema,
});

type Configuration = z.output<typeof schema>;

const embeddingPath = "shared";
const headWeight = "lm_head.weight";

export const t5: Architecture = {
  modelType: "t5",
  classDefaults: { vocab_size: 32_128, d_model: 512, d_kv: 64, d_ff: 2048, num_layers: 6, num_heads: 8 },
  create(configuration, isStored): Model {
    const config = readConfiguration(schema, configuration);
    const { d_model: hidden, vocab_size: vocabulary, num_layers: encoderLayers } = config;
    const decoderLayers = config.num_decoder_layers ?? encoderLayers;
    // The first version scales what goes into the output embedding; files that do not say so are told by the tie.
    const isScaled = config.scale_decoder_outputs ?? config.tie_word_embeddings;
    const isTied = isTiedHead(config, isScaled, isStored);
    const padding = config.pad_token_id ?? 0;
    return {
      modelType: "t5",
      bodyPath: "",
      headModules: ["lm_head"],
      vocabularySize: vocabulary,
      hiddenSize: hidden,
      layerCount: decoderLayers,
      maximumPositions: Infinity,
      causal: true,
      encoderDecoder: { startTokenId: config.decoder_start_token_id ?? padding },
      initialDeviation: config.initializer_factor / Math.sqrt(hidden),
      padTokenId: padding,
      keyValue: { heads: config.num_heads, size: config.d_kv },
      tokenTypes: false,
      // Copies of the shared embedding, and a table that no layer reads.
      ignoredTensors: [
        /^(encoder|decoder)\.embed_tokens\.weight$/,
        /\.EncDecAttention\.relative_attention_bias\.weight$/,
      ],
      untiedConfiguration: { scale_decoder_outputs: isScaled },
      encode(context) {
        const source = stack(context.source, config, "encoder", encoderLayers);
        return stack(context, config, "decoder", decoderLayers, source);
      },
      tokenLogits: (context, x) =>
        tokenOutput(context, context.builder.scale(x, isScaled ? 1 / Math.sqrt(hidden) : 1), {
          path: "lm_head",
          in: hidden,
          vocabulary,
          tiedWeight: isTied ? `${embeddingPath}.weight` : undefined,
          bias: false,
        }),
    };
  },
};

/**
 * Files of version 1.1 say that the head is not tied, or, as transformers 5 writes them, that it is, whatever it is: then
 * the checkpoint decides.
 */
function isTiedHead(
  config: Configuration,
  isScaled: boolean,
  isStored: ((tensor: string) => boolean) | undefined,
): boolean {
  if (isScaled && config.tie_word_embeddings) return true;
  return isStored ? !isStored(headWeight) : config.tie_word_embeddings;
}

/** Hidden states [tokens, hidden] of one stack; a decoder's sees what the encoder made of the source. */
function stack(
  context: ForwardContext,
  config: Configuration,
  path: "encoder" | "decoder",
  layers: number,
  source?: Value,
): Value {
  const { d_model: hidden, dropout_rate: dropout, layer_norm_epsilon: epsilon } = config;
  const positions = relativeBias(context, config, path);
  const embedded = context.tokenEmbedding({ path: embeddingPath, rows: config.vocab_size, size: hidden });
  let x = context.dropout(embedded, dropout);
  for (let index = 0; index < layers; index++)
    x = block(context, `${path}.block.${index}`, x, { config, positions, source });
  return context.dropout(context.rmsNorm(`${path}.final_layer_norm`, x, hidden, epsilon), dropout);
}

interface BlockSettings {
  readonly config: Configuration;
  readonly positions: RelativeBias;
  /** What the encoder made of the source, for a decoder's block. */
  readonly source: Value | undefined;
}

function block(context: ForwardContext, path: string, x: Value, settings: BlockSettings): Value {
  const { config, source } = settings;
  const { d_model: hidden, dropout_rate: dropout, layer_norm_epsilon: epsilon } = config;
  const part = (
    index: number,
    kind: "attention" | "cross-attention" | "feed-forward",
    residual: Value,
    compute: (path: string, normed: Value) => Value,
  ) => {
    const own = `${path}.layer.${index}`;
    const output = compute(own, context.rmsNorm(`${own}.layer_norm`, residual, hidden, epsilon));
    return context.sublayer({ path, kind, residual, output: context.dropout(output, dropout) });
  };
  return context.layer(path, x, (input) => {
    const attended = part(0, "attention", input, (own, normed) =>
      attention(context, `${own}.SelfAttention`, "self", normed, settings),
    );
    const crossed = source
      ? part(1, "cross-attention", attended, (own, normed) =>
          attention(context, `${own}.EncDecAttention`, "cross", normed, settings),
        )
      : attended;
    return part(source ? 2 : 1, "feed-forward", crossed, (own, normed) =>
      feedForward(context, `${own}.DenseReluDense`, normed, config),
    );
  });
}

function attention(
  context: ForwardContext,
  path: string,
  kind: Exclude<AttentionKind, "source">,
  x: Value,
  { config, positions, source }: BlockSettings,
): Value {
  const { d_model: hidden, num_heads: heads, d_kv: size } = config;
  const width = heads * size;
  const isCross = kind === "cross" && source !== undefined;
  const [keyContext, keyStates] = isCross ? [context.source, source] : [context, x];
  const project = (name: string, of: ForwardContext, states: Value) =>
    splitHeads(of, of.linear(`${path}.${name}`, states, { in: hidden, out: width }), heads);
  const attended = context.attention({
    path,
    kind,
    query: project("q", context, x),
    key: project("k", keyContext, keyStates),
    value: project("v", keyContext, keyStates),
    scale: 1,
    causal: source !== undefined && !isCross,
    relativeBias: isCross ? undefined : positions,
    dropout: config.dropout_rate,
  });
  return context.linear(`${path}.o`, attended, { in: width, out: hidden });
}

function feedForward(context: ForwardContext, path: string, x: Value, config: Configuration): Value {
  const { d_model: hidden, d_ff: intermediate, dropout_rate: dropout } = config;
  const { gated, activation } = config.feed_forward_proj;
  const expand = (name: string) => context.linear(`${path}.${name}`, x, { in: hidden, out: intermediate });
  const activated = activate(context.builder, activation, expand(gated ? "wi_0" : "wi"));
  const product = gated ? context.builder.multiply(activated, expand("wi_1")) : activated;
  return context.linear(`${path}.wo`, context.dropout(product, dropout), { in: intermediate, out: hidden });
}

/** The table of the stack's first layer, which all its layers read. */
function relativeBias(
  context: ForwardContext,
  config: Configuration,
  path: "encoder" | "decoder",
): RelativeBias {
  const { relative_attention_num_buckets: buckets, relative_attention_max_distance: maximum } = config;
  const table = context.parameter(`${path}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`, [
    buckets,
    config.num_heads,
  ]);
  const reach = Math.max(maximum, buckets);
  const rows = Array.from({ length: 2 * reach + 1 }, (_, index) =>
    relativeBucket(index - reach, { buckets, maximum, bothSides: path === "encoder" }),
  );
  return {
    byDistance: context.builder.gather(table, context.builder.constant("int64", [rows.length], rows)),
    reach,
  };
}

/**
 * The bucket of a distance, key's position less query's: small distances have one each, larger ones share them on a
 * logarithmic scale up to `maximum`. On both sides each has half the buckets; else keys behind the query have the first.
 * Rounded to float32 at each step like the original, because a floor decides.
 */
export function relativeBucket(
  distance: number,
  settings: { readonly buckets: number; readonly maximum: number; readonly bothSides: boolean },
): number {
  const { maximum, bothSides } = settings;
  const buckets = bothSides ? Math.floor(settings.buckets / 2) : settings.buckets;
  const offset = bothSides && distance > 0 ? buckets : 0;
  const steps = bothSides ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(buckets / 2);
  if (steps < exact) return offset + steps;
  const logarithm = Math.fround(Math.log(Math.fround(steps / exact)));
  const share = Math.fround(logarithm / Math.fround(Math.log(maximum / exact)));
  return offset + Math.min(exact + Math.floor(Math.fround(share * (buckets - exact))), buckets - 1);
}
