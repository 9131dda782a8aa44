/**
 * @file The graphs of a task: loss and gradient for training, loss and predictions for evaluation, logits for
 * inspection. Knows no data format and runs nothing.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { multiplyDimensions, subtractDimensions } from "../graph/dimension.ts";
import { internalError } from "../errors.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, GraphOutput, Value } from "../graph/graph.ts";
import type { Model } from "../models/forward.ts";
import type { ForwardObserver } from "../methods/forward-pass.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import { headOutput } from "../methods/survey.ts";
import type { TaskSettings } from "../methods/survey.ts";
import { lossAndGradient, startPass } from "./pass.ts";
import { takenPositions } from "../methods/forward-pass.ts";
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
  /** Parts in which the logits of supervised tokens are made, so that they never exist all at once. */
  readonly lossChunks: number;
}

/** Names of the inputs that a task's loss adds. */
export const lossInputNames = {
  /** int64 [rows]: places of the supervised rows among the tokens, one input for each chunk. */
  rows: (chunk: number) => `rows.${chunk}`,
  /** int64 [rows]: token ids to predict. */
  targets: (chunk: number) => `targets.${chunk}`,
  /** int64 [sequences]: class ids. */
  classes: "class_labels",
  /** float32 [sequences, 1]: regression targets. */
  values: "target_values",
} as const;

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
  readonly takenPositions: number;
  /** What the length of a batch must be a multiple of. */
  readonly lengthMultiple: number;
}

/** Outputs "loss" (summed over supervised tokens or rows) and "gradient" (flat, of that sum). */
export function buildTrainingGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startTask(options, true);
  return pass.finish(lossAndGradient(pass, lossOf(pass, options)));
}

/**
 * Output "loss" (summed) and, for classification and regression, "logits" [sequences, labels]; for the tasks that
 * predict tokens, "correct": the number of supervised tokens whose most likely prediction is right.
 */
export function buildEvaluationGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startTask(options, false);
  const outputs: GraphOutput[] = [];
  const loss = lossOf(pass, options, outputs);
  return pass.finish([{ name: "loss", value: loss }, ...outputs]);
}

/** Output "logits" of every position [batch, length, vocabulary], or [sequences, labels]; and "hidden.I" where asked for. */
export function buildLogitsGraph(options: TaskGraphOptions, hiddenStates = false): TaskGraph {
  const layers: Value[] = [];
  const pass = startTask(options, false, { layer: (_path, input) => layers.push(input) });
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

interface TaskPass extends Pass {
  /** Hidden states [tokens, hidden] of the body. */
  readonly hidden: Value;
  readonly finish: (outputs: readonly GraphOutput[]) => TaskGraph;
}

function startTask(options: TaskGraphOptions, training: boolean, observe?: ForwardObserver): TaskPass {
  const { attentionBlocks } = options;
  const pass = startPass({ ...options, training, observe });
  const hidden = options.model.encode(pass.context);
  const ownLength = attentionBlocks === 1 ? "length" : multiplyDimensions(attentionBlocks, "block");
  const virtualTokens = subtractDimensions(pass.context.sequence.length, ownLength);
  if (typeof virtualTokens === "string")
    throw internalError("a method puts a symbolic number of tokens in front.");
  const finish = (outputs: readonly GraphOutput[]): TaskGraph => ({
    graph: graphOf(outputs),
    settings: options.settings,
    layout: pass.layout,
    frozenLayouts: pass.frozenLayouts,
    lossChunks: options.lossChunks,
    virtualTokens,
    takenPositions: takenPositions(options.adapters),
    lengthMultiple: attentionBlocks,
  });
  return { ...pass, hidden, finish };
}

/** The summed loss; what evaluation wants besides is pushed to `extra`. */
function lossOf(
  { builder, context, hidden }: TaskPass,
  options: TaskGraphOptions,
  extra?: GraphOutput[],
): Value {
  const { model, settings } = options;
  if (settings.task === "causal-lm" || settings.task === "masked-lm") {
    const parts = Array.from({ length: options.lossChunks }, (_, chunk) => {
      const rows = builder.input(lossInputNames.rows(chunk), "int64", [`rows${chunk}`]);
      const targets = builder.input(lossInputNames.targets(chunk), "int64", [`rows${chunk}`]);
      const logits = headOutput(model, settings, context, builder.gather(hidden, rows, true));
      const losses = builder.softmaxCrossEntropyLoss(logits, targets);
      return {
        loss: builder.sumAll(losses),
        correct: extra ? countCorrect(builder, logits, losses) : undefined,
      };
    });
    const correct = parts.flatMap((part) => part.correct ?? []);
    if (extra) extra.push({ name: "correct", value: correct.reduce((a, b) => builder.add(a, b)) });
    return parts.map(({ loss }) => loss).reduce((a, b) => builder.add(a, b));
  }
  const logits = headOutput(model, settings, context, hidden);
  extra?.push({ name: "logits", value: logits });
  if (settings.task === "regression") {
    const difference = builder.subtract(
      logits,
      builder.input(lossInputNames.values, "float32", [context.sequence.sequences, 1]),
    );
    return builder.sumAll(builder.multiply(difference, difference));
  }
  return builder.sumAll(
    builder.softmaxCrossEntropyLoss(
      logits,
      builder.input(lossInputNames.classes, "int64", [context.sequence.sequences]),
    ),
  );
}

/** How many targets have the largest logit: those whose loss is the log-sum-exp less the maximum. */
function countCorrect(builder: GraphBuilder, logits: Value, losses: Value): Value {
  const rows = logits.shape[0] ?? 0;
  const maximum = builder.reshape(builder.reduceMax(logits, [1]), [rows, 1]);
  const exponentials = builder.exponential(builder.subtract(logits, maximum));
  const smallest = builder.reshape(builder.logarithm(builder.reduceSum(exponentials, [1])), [rows]);
  const tolerance = builder.scalar(1e-5);
  const right = builder.lessOrEqual(losses, builder.add(smallest, tolerance));
  return builder.sumAll(builder.cast(right, "float32"));
}
