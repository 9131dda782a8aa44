/**
 * @file The heads of models: predicting masked tokens, classifying a sequence or its tokens, and finding an answer.
 * Module names are given by who calls.
 */
import type { Value } from "../../graph/graph.ts";
import type { ActivationName } from "../configuration.ts";
import type { ForwardContext, Model } from "../forward.ts";
import { activate } from "./activation.ts";

/** A dense layer, an activation and a norm: what BERT calls the transform of its head. */
export interface TransformSettings {
  /** Module of the dense layer. */
  readonly dense: string;
  readonly norm: string;
  readonly in: number;
  readonly out: number;
  readonly activation: ActivationName;
  readonly epsilon: number;
  /** Whether the dense layer has a bias; by default it has. */
  readonly bias?: boolean;
  /** Whether the norm has a bias; by default it has. */
  readonly normBias?: boolean;
}

/** x [rows, in] -> [rows, out]. */
export function transform(context: ForwardContext, x: Value, settings: TransformSettings): Value {
  const { in: from, out, bias = true, normBias = true } = settings;
  const dense = context.linear(settings.dense, x, { in: from, out, bias });
  const activated = activate(context.builder, settings.activation, dense);
  return context.layerNorm(settings.norm, activated, out, settings.epsilon, normBias);
}

export interface TokenOutputSettings {
  /** Module of the output embedding. */
  readonly path: string;
  readonly in: number;
  readonly vocabulary: number;
  /** The input embedding's matrix where the two are tied. */
  readonly tiedWeight?: string | undefined;
  /**
   * The bias: the module's own (true), none (false), or the head's, by its full name. The head's bias is tied like the
   * matrix: where the matrix is not, the module's own takes its place.
   */
  readonly bias: boolean | string;
}

/** Logits [rows, vocabulary] of x [rows, in]. */
export function tokenOutput(context: ForwardContext, x: Value, settings: TokenOutputSettings): Value {
  const { bias, vocabulary, tiedWeight } = settings;
  const headBias = typeof bias === "string" && tiedWeight !== undefined ? bias : undefined;
  const logits = context.linear(settings.path, x, {
    in: settings.in,
    out: vocabulary,
    bias: headBias === undefined && bias !== false,
    isOutput: true,
    ...(tiedWeight === undefined ? {} : { tiedWeight }),
    ...(headBias === undefined ? {} : { tiedBias: headBias }),
  });
  return headBias === undefined
    ? logits
    : context.builder.add(logits, context.parameter(headBias, [vocabulary]));
}

/** Module names of a head for masked tokens. */
export interface PredictionsModules extends Pick<TransformSettings, "dense" | "norm"> {
  /** Module of the output embedding. */
  readonly output: string;
  /** As of the token output. */
  readonly bias: TokenOutputSettings["bias"];
}

/** The names that BERT gave them, under `path`. */
export const bertPredictions = (path: string): PredictionsModules => ({
  dense: `${path}.transform.dense`,
  norm: `${path}.transform.LayerNorm`,
  output: `${path}.decoder`,
  bias: `${path}.bias`,
});

export interface PredictionsHeadSettings extends PredictionsModules {
  readonly in: number;
  /** Width of the output embedding. */
  readonly embedding: number;
  readonly vocabulary: number;
  readonly activation: ActivationName;
  readonly epsilon: number;
  readonly tiedWeight: string | undefined;
}

/** The head for masked tokens that BERT made common: the transform, then the output embedding. */
export function predictionsHead(
  context: ForwardContext,
  x: Value,
  { in: from, embedding, output, vocabulary, tiedWeight, bias, ...settings }: PredictionsHeadSettings,
): Value {
  const { dense, norm, activation, epsilon } = settings;
  const transformed = transform(context, x, { dense, norm, in: from, out: embedding, activation, epsilon });
  return tokenOutput(context, transformed, { path: output, in: embedding, vocabulary, tiedWeight, bias });
}

export interface SequenceHeadSettings {
  /** Module of the dense layer between body and output. */
  readonly dense: string;
  readonly output: string;
  readonly hidden: number;
  readonly activation: ActivationName;
  /** Dropout of the dense layer's input. */
  readonly inputDropout: number;
  /** Dropout of the output layer's input. */
  readonly outputDropout: number;
}

/** Logits [batch, labels] of x [batch, hidden]: dense, activation, output, with dropout before each layer. */
export function sequenceHead(
  context: ForwardContext,
  x: Value,
  labelCount: number,
  { dense, output, hidden, activation, inputDropout, outputDropout }: SequenceHeadSettings,
): Value {
  const dropped = context.dropout(x, inputDropout);
  const pooled = context.linear(dense, dropped, { in: hidden, out: hidden, bias: true });
  const activated = context.dropout(activate(context.builder, activation, pooled), outputDropout);
  return context.linear(output, activated, { in: hidden, out: labelCount, bias: true, isOutput: true });
}

export interface TokenHeadSettings {
  /** Module of the output layer. */
  readonly path: string;
  readonly hidden: number;
  /** Dropout of its input. */
  readonly dropout: number;
}

/** Logits [rows, outputs] of x [rows, hidden]: one layer for each token by itself. */
export function tokenHead(
  context: ForwardContext,
  x: Value,
  outputs: number,
  { path, hidden, dropout }: TokenHeadSettings,
): Value {
  const dropped = context.dropout(x, dropout);
  return context.linear(path, dropped, { in: hidden, out: outputs, bias: true, isOutput: true });
}

export interface TokenHeadsSettings {
  readonly hidden: number;
  /** Dropout before the labels. */
  readonly labelDropout: number;
  /** Dropout before the ends of an answer; by default none. */
  readonly spanDropout?: number;
}

/** The heads for tokens under the names that transformers gives them. */
export function tokenHeads({
  hidden,
  labelDropout,
  spanDropout = 0,
}: TokenHeadsSettings): Required<Pick<Model, "labelLogits" | "spanLogits">> {
  const labels = { path: "classifier", hidden, dropout: labelDropout };
  const spans = { path: "qa_outputs", hidden, dropout: spanDropout };
  return {
    labelLogits: (context, x, labelCount) => tokenHead(context, x, labelCount, labels),
    spanLogits: (context, x) => tokenHead(context, x, 2, spans),
  };
}
