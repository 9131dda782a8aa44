/**
 * @file The one graph that reads prompts and decodes: new tokens and a key-value cache in, logits of each row's last
 * token and the new tokens' keys and values out. The runtime copies every output, so that the whole cache never is
 * one. Runs nothing and keeps no cache.
 */
import { internalError } from "../errors.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { addDimensions, subtractDimensions } from "../graph/dimension.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, GraphOutput, Value } from "../graph/graph.ts";
import { constantFeeds, constantValue } from "../methods/constants.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { createForwardContext, inputNames } from "../methods/forward-pass.ts";
import type { ActiveAdapter } from "../methods/forward-pass.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { headOutput } from "../methods/survey.ts";
import type { AttentionCall, Model } from "../models/forward.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { attendCached } from "./cached-attention.ts";

/**
 * Names of the inputs and outputs besides `input_ids` and `position_ids` (int64 [batch, length]) and `last_tokens`
 * (int64 [batch]). Adapters are numbered instead of named: those of equal configuration then share a graph.
 */
export const decoderNames = {
  /** int64 [batch, past + length]: see `CachedKeys`. */
  keyPositions: "key_positions",
  /** float32 [batch, key-value heads, past, size] */
  pastKey: (layer: number) => `past.key.${layer}`,
  pastValue: (layer: number) => `past.value.${layer}`,
  /** float32 [parameters of the adapter] */
  adapter: (index: number) => `adapter.${index}`,
  /** float32 [1], or [batch]: factor of what the adapter adds. */
  weight: (index: number) => `weight.${index}`,
  /** Output float32 [batch, vocabulary]. */
  logits: "logits",
  /** Outputs float32 [batch, key-value heads, length, size]. */
  newKey: (layer: number) => `new.key.${layer}`,
  newValue: (layer: number) => `new.value.${layer}`,
  /** Of an encoder-decoder: what a layer sees of the source, float32 [batch, key-value heads, source length, size]. */
  sourceKey: (layer: number) => `source.key.${layer}`,
  sourceValue: (layer: number) => `source.value.${layer}`,
} as const;

/** What the graph needs of an adapter. */
export interface DecoderAdapter {
  readonly method: BoundMethod;
  readonly layout: ParameterLayout;
}

/** @throws DeltafitError `usage-invalid` where the model predicts no next token. */
export function buildDecoderGraph(
  model: Model,
  adapters: readonly DecoderAdapter[],
  weights: "shared" | "per-row" = "shared",
): Graph {
  const builder = new GraphBuilder();
  const outputs: GraphOutput[] = [];
  const { heads, size } = model.keyValue;
  const attention = (call: AttentionCall, layer: number, attend: (call: AttentionCall) => Value) => {
    if (call.kind === "cross")
      return attend({
        ...call,
        key: builder.input(decoderNames.sourceKey(layer), "float32", call.key.shape),
        value: builder.input(decoderNames.sourceValue(layer), "float32", call.value.shape),
      });
    // What comes of the source is given: the graph does not read it.
    if (call.kind === "source") return attend(call);
    const past = ["batch", heads, "past", size];
    const keyCount = call.key.shape[2] ?? 0;
    // A prefix in front of the keys comes anew with every run and is not cached.
    const prefix = subtractDimensions(keyCount, call.query.shape[2] ?? 0);
    outputs.push(
      { name: decoderNames.newKey(layer), value: builder.slice(call.key, 2, prefix, keyCount) },
      { name: decoderNames.newValue(layer), value: builder.slice(call.value, 2, prefix, keyCount) },
    );
    return attendCached(builder, call, {
      key: builder.input(decoderNames.pastKey(layer), "float32", past),
      value: builder.input(decoderNames.pastValue(layer), "float32", past),
      positions: builder.input(inputNames.positionIds, "int64", ["batch", "length"]),
      keyPositions: builder.input(decoderNames.keyPositions, "int64", [
        "batch",
        addDimensions("past", "length"),
      ]),
    });
  };
  const active = adapters.map((adapter, index) => activeAdapter(builder, adapter, index, weights));
  const context = createForwardContext({
    builder,
    adapters: active,
    training: false,
    padding: false,
    attentionBlocks: 1,
    virtualTokens: "by-id",
    hasSource: model.encoderDecoder !== undefined,
    attention,
  });
  const hidden = model.encode(context);
  const task = model.encoderDecoder ? "seq2seq-lm" : "causal-lm";
  const logits = headOutput(model, { task, labelCount: 0 }, context, context.lastTokens(hidden));
  return graphOf([{ name: decoderNames.logits, value: logits }, ...outputs]);
}

/** The inputs of one adapter: its values, its constants and the weight of what it adds. */
export function adapterFeeds(
  { method, layout, values }: DecoderAdapter & { readonly values: Float32Array },
  index: number,
  weight: number,
): Record<string, Tensor> {
  return {
    [decoderNames.adapter(index)]: float32Tensor([layout.size], values),
    [decoderNames.weight(index)]: float32Tensor([1], [weight]),
    ...constantFeeds(String(index), method),
  };
}

export function activeAdapter(
  builder: GraphBuilder,
  { method, layout }: DecoderAdapter,
  index: number,
  weights: "shared" | "per-row" = "shared",
): ActiveAdapter {
  const entries = new Map(layout.entries.map((entry) => [entry.key, entry]));
  return {
    name: String(index),
    method,
    weight: builder.input(decoderNames.weight(index), "float32", [weights === "shared" ? 1 : "batch"]),
    parameter(key) {
      const entry = entries.get(key);
      const constant = entry ? undefined : constantValue(builder, String(index), method, key);
      if (constant) return constant;
      if (!entry) throw internalError(`the adapter ${index} has no parameter "${key}".`);
      const vector = builder.input(decoderNames.adapter(index), "float32", [layout.size]);
      return builder.reshape(builder.slice(vector, 0, entry.offset, entry.offset + entry.size), entry.shape);
    },
  };
}
