/**
 * @file The graphs of a task: loss and gradient for training, loss and predictions for evaluation, logits for
 * inspection. Knows no data format and runs nothing.
 */
import { multiplyDimensions, subtractDimensions } from "../graph/dimension.ts";
import { internalError } from "../errors.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, GraphOutput, Value } from "../graph/graph.ts";
import type { Model } from "../models/forward.ts";
import type { ForwardObserver } from "../methods/forward-pass.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { headOutput } from "../methods/survey.ts";
import type { TaskSettings } from "../methods/survey.ts";
import { lossAndGradientInTurn, startPass } from "./pass.ts";
import { takenPositions } from "../methods/forward-pass.ts";
import type { TakenPositions } from "../methods/forward-pass.ts";
import { lossChunksOf, lossOf, lossPartsOf } from "./losses.ts";
import type { LossOptions } from "./losses.ts";
import type { Pass, TaskAdapter } from "./pass.ts";

export interface TaskGraphOptions {
  readonly model: Model;
  readonly settings: TaskSettings;
  readonly adapters: readonly TaskAdapter[];
  /** As of a pass. */
  readonly padding: boolean;
  /** As of a pass. */
  readonly packed?: boolean | undefined;
  /** As of a pass. */
  readonly attentionBlocks: number;
  /** As of a pass. */
  readonly recompute?: boolean | undefined;
  /** Parts in which logits over the vocabulary are made, so that they never exist all at once. */
  readonly lossChunks: number;
}

/** A graph with what a caller must know to feed it. */
export interface TaskGraph {
  readonly graph: Graph;
  readonly settings: TaskSettings;
  /** The trained parameters in their flat vector. */
  readonly layout: ParameterLayout;
  /** Layout of each adapter that is not trained. */
  readonly frozenLayouts: ReadonlyMap<string, ParameterLayout>;
  readonly lossChunks: number;
  /** Positions that methods put in front of every row. */
  readonly virtualTokens: number;
  /** Positions in front of the tokens' own that methods take, virtual tokens included. */
  readonly takenPositions: TakenPositions;
  /** What the length of a batch must be a multiple of. */
  readonly lengthMultiple: number;
}

/** Outputs "loss" (summed over supervised tokens or rows) and "gradient" (flat, of that sum). */
export function buildTrainingGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startTask(options, true);
  return pass.finish(lossAndGradientInTurn(pass, lossPartsOf(pass, pass.loss)));
}

/**
 * Output "loss" (summed, without what the model adds in training) and "logits": [sequences, labels] of what labels
 * whole sequences, [supervised tokens, labels] of what labels tokens, [batch, length, 2] of what finds answers. The tasks that predict tokens have "correct" instead: the number of
 * supervised tokens whose most likely prediction is right.
 */
export function buildEvaluationGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startTask(options, false);
  const outputs: GraphOutput[] = [];
  const loss = lossOf(pass, pass.loss, outputs);
  return pass.finish([{ name: "loss", value: loss }, ...outputs]);
}

/** Output "logits" of every position [batch, length, vocabulary], or [sequences, labels]; and "hidden.I" where asked for. */
export function buildLogitsGraph(options: TaskGraphOptions, hiddenStates = false): TaskGraph {
  const layers: Value[] = [];
  const pass = startTask(options, false, {
    layer(_path, input, _output, isSource) {
      if (!isSource) layers.push(input);
    },
  });
  const { builder, context } = pass;
  const logits = headOutput(options.model, options.settings, context, pass.hidden);
  const width = logits.shape[1] ?? 0;
  const { batch, length } = context.sequence;
  const perToken = logits.shape[0] !== context.sequence.sequences;
  const outputs = [
    { name: "logits", value: perToken ? builder.reshape(logits, [batch, length, width]) : logits },
  ];
  if (hiddenStates)
    for (const [index, value] of [...layers, pass.hidden].entries())
      outputs.push({
        name: `hidden.${index}`,
        value: builder.reshape(value, [batch, length, value.shape[1] ?? 0]),
      });
  return pass.finish(outputs);
}

/** How the hidden states of a row become one vector: their mean without padding, or the first or last token's. */
export type Pooling = "mean" | "first" | "last";

/** Output "embeddings" [sequences, hidden], from the body alone. */
export function buildEmbeddingGraph(options: TaskGraphOptions, pooling: Pooling): TaskGraph {
  const pass = startTask(options, false);
  const { context, hidden } = pass;
  const pooled = {
    mean: () => context.meanTokens(hidden),
    first: () => context.firstTokens(hidden),
    last: () => context.lastTokens(hidden),
  };
  return pass.finish([{ name: "embeddings", value: pooled[pooling]() }]);
}

interface TaskPass extends Pass {
  /** Hidden states [tokens, hidden] of the body. */
  readonly hidden: Value;
  readonly loss: LossOptions;
  readonly finish: (outputs: readonly GraphOutput[]) => TaskGraph;
}

function startTask(options: TaskGraphOptions, training: boolean, observe?: ForwardObserver): TaskPass {
  const { attentionBlocks } = options;
  const hasSource = options.model.encoderDecoder !== undefined;
  const pass = startPass({ ...options, training, observe, hasSource });
  const hidden = options.model.encode(pass.context);
  const ownLength = attentionBlocks === 1 ? "length" : multiplyDimensions(attentionBlocks, "block");
  const virtualTokens = subtractDimensions(pass.context.sequence.length, ownLength);
  if (typeof virtualTokens === "string")
    throw internalError("a method puts a symbolic number of tokens in front.");
  const { model, settings } = options;
  const lossChunks = lossChunksOf(settings, options.lossChunks);
  const loss: LossOptions = { model, settings, lossChunks, virtualTokens };
  const finish = (outputs: readonly GraphOutput[]): TaskGraph => ({
    graph: graphOf(outputs),
    settings,
    layout: pass.layout,
    frozenLayouts: pass.frozenLayouts,
    lossChunks,
    virtualTokens,
    takenPositions: takenPositions(options.adapters, hasSource),
    lengthMultiple: attentionBlocks,
  });
  return { ...pass, hidden, loss, finish };
}
