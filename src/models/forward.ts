/**
 * @file The coupling between architectures and everything else. A model calls a `ForwardContext` in the terms
 * of its paper; whoever implements the context decides where weights come from, how they are multiplied and
 * which methods add to them. Knows no architecture, no method and no storage.
 */
import type { Dimension } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type { GraphBuilder } from "../graph/builder.ts";

/** A linear layer: y = x W^T + b, under the module path Hugging Face gives it. */
export interface LinearSite {
  /** For example "model.layers.0.self_attn.q_proj". */
  readonly path: string;
  readonly in: number;
  readonly out: number;
  readonly bias: boolean;
  /** Axis order of the stored matrix: torch's `nn.Linear` is "out-in", GPT-2's `Conv1D` is "in-out". */
  readonly layout: "out-in" | "in-out";
  /** Name of the stored matrix where it is another module's (a tied output embedding). */
  readonly tiedWeight?: string;
  /**
   * Name of the parameter that is added in place of a bias of the layer's own for as long as its matrix is tied. A model
   * whose matrices are not tied has a bias of the layer instead.
   */
  readonly tiedBias?: string;
  /** The layer that yields the task's result: the output embedding, or the last layer of a classifier. */
  readonly isOutput: boolean;
  /** Of a layer that computes several projections at once: its outputs from the first to the last. */
  readonly slices?: readonly OutputSlice[] | undefined;
}

/** Neighbouring outputs of a fused layer that make up one projection. */
export interface OutputSlice {
  /** Among those of its layer, such as "query". */
  readonly name: string;
  /** Number of outputs. */
  readonly out: number;
}

export interface EmbeddingSite {
  readonly path: string;
  readonly rows: number;
  readonly size: number;
  /** Factor of the rows that tokens look up; virtual tokens, which look nothing up, do not get it. */
  readonly scale?: number | undefined;
  /** The row of padding: where the table is trained, looking it up gives it no gradient (torch's `padding_idx`). */
  readonly paddingRow?: number | undefined;
}

export interface NormSite {
  readonly path: string;
  readonly size: number;
  readonly epsilon: number;
  readonly kind: "layer" | "rms";
  /** What is added to the stored scale: 1 in models that store it around zero. */
  readonly offset: number;
}

/** Scores that depend on nothing but how far a key is from the query, in positions (Shaw et al. 2018). */
export interface RelativeBias {
  /** [2 * reach + 1, heads]: row reach + d is for keys d places after the query; the outermost rows for all beyond. */
  readonly byDistance: Value;
  readonly reach: number;
}

/**
 * Which sequences meet in attention: a sequence and itself, the source and itself, or queries of the sequence and
 * keys of the source.
 */
export type AttentionKind = "self" | "source" | "cross";

/** One attention call. Key and value may have fewer heads than the query (grouped-query attention). */
export interface AttentionCall {
  /** Module path of the attention block. */
  readonly path: string;
  /** "self" where left out; the calls of a source's own context are "source" without saying so. */
  readonly kind?: AttentionKind | undefined;
  /** [batch, heads, length, size] */
  readonly query: Value;
  /** [batch, key-value heads, prefix + length, size]; of a cross call the source's length. */
  readonly key: Value;
  /** As the keys. */
  readonly value: Value;
  /** Keys that methods put in front of the sequence's: every query may see them, and a window counts their places. */
  readonly prefixKeys?: number | undefined;
  /** Factor of the scores, usually 1 / sqrt(size). */
  readonly scale: number;
  /** Whether a position sees only itself and what is before it. */
  readonly causal: boolean;
  /**
   * A query sees only positions less than this many places away, itself included: backwards where attention is
   * causal, to both sides otherwise. `undefined` for all.
   */
  readonly window?: number | undefined;
  /** The scaled scores s become softCap * tanh(s / softCap), before anything is added to them. */
  readonly softCap?: number | undefined;
  /**
   * Added to the scaled scores: [1 or batch, heads, length, length]. Keys that a method puts in front of the
   * sequence get none of it.
   */
  readonly bias?: Value | undefined;
  /**
   * In place of `bias`, and not for cross calls: keys that a method puts in front of the sequence get theirs as well,
   * for the places before it.
   */
  readonly relativeBias?: RelativeBias | undefined;
  /** Dropout of the attention weights while training. */
  readonly dropout: number;
}

/** A sub-layer's end: how its output joins the residual stream. */
export interface SublayerCall {
  /** Module path of the sub-layer. */
  readonly path: string;
  readonly kind: "attention" | "cross-attention" | "feed-forward";
  /** The residual stream before the sub-layer: [tokens, hidden]. */
  readonly residual: Value;
  /** What the sub-layer computed: [tokens, hidden]. */
  readonly output: Value;
  /** The norm after the addition, in post-norm models. */
  readonly norm?: ((sum: Value) => Value) | undefined;
}

/** The one description of the sequence that every position-dependent input derives from. */
export interface SequenceLayout {
  /** Rows. */
  readonly batch: Dimension;
  /** Sequences: as many as rows, unless rows hold several. */
  readonly sequences: Dimension;
  /** Positions of each row, whatever a method put in front included. */
  readonly length: Dimension;
  /** batch * length: hidden states are matrices [tokens, hidden]. */
  readonly tokens: Dimension;
  /** Position ids: int64 [batch, length]. */
  readonly positions: Value;
  /**
   * Where rows hold several sequences: the place in the row at which each position's sequence starts, int64 [batch,
   * length]. Padding at a row's end is a sequence of its own. No position may depend on one of another sequence.
   */
  readonly sequenceStarts?: Value | undefined;
}

/** What an architecture's forward pass is written against. */
export interface ForwardContext {
  readonly builder: GraphBuilder;
  readonly sequence: SequenceLayout;
  /**
   * The context over the source, the sequence that an encoder-decoder model reads before it writes its own. Modules
   * may belong to both contexts.
   */
  readonly source: ForwardContext;

  /** x [rows, in] -> [rows, out]. */
  linear(
    path: string,
    x: Value,
    site: Partial<Omit<LinearSite, "path">> & Pick<LinearSite, "in" | "out">,
  ): Value;
  /** Embeddings of the tokens: [tokens, size]. The lookup into which methods may put virtual tokens. */
  tokenEmbedding(site: EmbeddingSite): Value;
  /** Embeddings of the sequence's positions shifted by `offset`: [tokens, size]. */
  positionEmbedding(site: EmbeddingSite, offset?: number): Value;
  /** Embeddings of the segments of a sentence pair: [tokens, size]. */
  tokenTypeEmbedding(site: EmbeddingSite): Value;
  /** Normalises the rows of x, with a scale and, unless told otherwise, a bias. */
  layerNorm(path: string, x: Value, size: number, epsilon: number, bias?: boolean): Value;
  /** Normalises the last axis of x, of extent `size`, by its root mean square. */
  rmsNorm(path: string, x: Value, size: number, epsilon: number, offset?: number): Value;
  /** A bare parameter of the model, by its full name. */
  parameter(name: string, shape: readonly number[]): Value;
  /** [batch, heads, length, size] results as hidden states [tokens, heads * size]. */
  attention(call: AttentionCall): Value;
  /** residual + output, normalised where the model is post-norm. */
  sublayer(call: SublayerCall): Value;
  /** One layer of the model: where recomputation may cut. */
  layer(path: string, x: Value, body: (x: Value) => Value): Value;
  /** Dropout while training. */
  dropout(x: Value, ratio: number): Value;
  /** The rows of x [tokens, hidden] at each sequence's first position: [sequences, hidden]. */
  firstTokens(x: Value): Value;
  /** The rows of x [tokens, hidden] at each sequence's last token: [sequences, hidden]. */
  lastTokens(x: Value): Value;
  /** The mean of the rows of x [tokens, hidden] over each sequence's tokens, padding left out: [sequences, hidden]. */
  meanTokens(x: Value): Value;
  /** x [tokens, hidden] with zeros in the rows of padding. */
  zeroPadding(x: Value): Value;
  /**
   * Adds a scalar to the mean loss of the tokens that a model is trained to predict. Other tasks, evaluation and modules
   * of one's own, which return their loss, leave it out.
   */
  addLoss(loss: Value): void;
}

/** What a model is trained or evaluated for. */
export type Task =
  | "causal-lm"
  | "masked-lm"
  | "seq2seq-lm"
  | "classification"
  | "multi-label-classification"
  | "regression"
  | "token-classification"
  | "question-answering";

/** The tasks that predict tokens. */
export type TokenTask = "causal-lm" | "masked-lm" | "seq2seq-lm";

export function predictsTokens(task: Task): task is TokenTask {
  return task === "causal-lm" || task === "masked-lm" || task === "seq2seq-lm";
}

/**
 * Whether rows that are padded at their end need a mask. Tokens of a causal model never look there, but padding looks back,
 * which shows where it counts: in a loss of the model's own, and where all positions of a row compete for an answer's ends.
 */
export function masksPadding(
  { causal, countsTokens = false }: Pick<Model, "causal" | "countsTokens">,
  task: Task,
): boolean {
  return !causal || countsTokens || task === "question-answering";
}

export interface EncoderDecoder {
  /** The token that every sequence of its own begins with, which is never predicted. */
  readonly startTokenId: number;
}

/** A model of one architecture with its sizes fixed: what everything outside this room works with. */
export interface Model {
  /** `model_type` of config.json. */
  readonly modelType: string;
  /**
   * Module that holds the body in a checkpoint with a head, such as "model" or "bert"; "" where the body has no module
   * of its own.
   */
  readonly bodyPath: string;
  /** Modules that hold the body in checkpoints with heads of other tasks, where those are others. */
  readonly otherBodyPaths?: readonly string[] | undefined;
  /** The model under the module names that transformers gives it for a task; left out where all are the same. */
  readonly forTask?: ((task: Task) => Model) | undefined;
  /** Where the body has no module of its own: first path segments of the head's modules. */
  readonly headModules?: readonly string[] | undefined;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layerCount: number;
  /** Infinity where positions have no bound. */
  readonly maximumPositions: number;
  readonly causal: boolean;
  /** Of a model that reads a source and writes a sequence of its own, which is causal. */
  readonly encoderDecoder?: EncoderDecoder | undefined;
  /** Whether a loss of the model's own counts tokens: padding at a row's end must then be told apart as well. */
  readonly countsTokens?: boolean | undefined;
  /** Standard deviation of new weights, from `initializer_range`. */
  readonly initialDeviation: number;
  readonly padTokenId: number | undefined;
  /** Shape of one layer's key-value cache: what generation keeps. */
  readonly keyValue: { readonly heads: number; readonly size: number };
  /** Whether segments of a pair are told apart by `token_type_ids`. */
  readonly tokenTypes: boolean;
  /** Position ids of one row, from its ids and mask: default 0, 1, 2 ... */
  readonly positionIds?: (inputIds: readonly number[], attentionMask: readonly number[]) => number[];
  /** Parameters that checkpoints contain but no task needs, by suffix: recomputed tables, unused poolers. */
  readonly ignoredTensors: readonly RegExp[];
  /** What config.json must say besides `tie_word_embeddings: false` where merging ends the sharing of embeddings. */
  readonly untiedConfiguration?: Readonly<Record<string, unknown>> | undefined;
  /** The body: hidden states [tokens, hidden] after the last norm. */
  encode(context: ForwardContext): Value;
  /** Logits [rows, vocabulary] of hidden states [rows, hidden], for the tasks that predict tokens. */
  tokenLogits?(context: ForwardContext, hidden: Value, task: TokenTask): Value;
  /** Logits [sequences, labels] of hidden states [tokens, hidden]. */
  sequenceLogits?(context: ForwardContext, hidden: Value, labelCount: number): Value;
  /** Logits [rows, labels] of hidden states [rows, hidden], where every token has a label. */
  labelLogits?(context: ForwardContext, hidden: Value, labelCount: number): Value;
  /** Logits [rows, 2] of hidden states [rows, hidden]: that an answer starts at a token, and that it ends there. */
  spanLogits?(context: ForwardContext, hidden: Value): Value;
}

/** An architecture: reads its configuration and yields models. */
export interface Architecture {
  readonly modelType: string;
  /**
   * Sizes that transformers' configuration class assumes where a configuration leaves them out. A checkpoint's own
   * config.json names them all, so `create` wants them; they complete the description of a model without weights.
   */
  readonly classDefaults?: Readonly<Record<string, number>>;
  /**
   * `configuration` is the parsed config.json; throws `config-invalid` naming the key.
   * @param isStored whether the checkpoint, where there is one, has a tensor: for what configurations leave open.
   */
  create(configuration: Readonly<Record<string, unknown>>, isStored?: (tensor: string) => boolean): Model;
}
