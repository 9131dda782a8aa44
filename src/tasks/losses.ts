/**
 * @file The summed loss of each task from hidden states, and what evaluation wants besides. Which rows are supervised,
 * and with what, are inputs of the graph. Knows no model.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import { addDimensions, multiplyDimensions } from "../graph/dimension.ts";
import type { GraphOutput, Value } from "../graph/graph.ts";
import { headOutput } from "../methods/survey.ts";
import type { TaskSettings } from "../methods/survey.ts";
import { predictsTokens } from "../models/forward.ts";
import type { ForwardContext, Model } from "../models/forward.ts";
import type { LossPart } from "./pass.ts";

/** Names of the inputs that a task's loss adds. */
export const lossInputNames = {
  /** int64 [rows]: places of the supervised rows, one input for each chunk. */
  rows: (chunk: number) => `rows.${chunk}`,
  /** int64 [rows]: token ids, labels of tokens, or positions in the row to predict. */
  targets: (chunk: number) => `targets.${chunk}`,
  /** int64 [sequences]: class ids. */
  classes: "class_labels",
  /** int64 [sequences, labels]: 1 where a label holds. */
  held: "held_labels",
  /** float32 [sequences, 1]: regression targets. */
  values: "target_values",
} as const;

export interface LossOptions {
  readonly model: Model;
  readonly settings: TaskSettings;
  /** Parts in which the logits over the vocabulary are made. */
  readonly lossChunks: number;
  /** Virtual tokens that methods put in front of every row. */
  readonly virtualTokens: number;
}

interface LossPass {
  readonly builder: GraphBuilder;
  readonly context: ForwardContext;
  /** Hidden states [tokens, hidden] of the body. */
  readonly hidden: Value;
}

/** Into how many parts the logits of a task are cut: those over a vocabulary are large. */
export function lossChunksOf({ task }: TaskSettings, wanted: number): number {
  return predictsTokens(task) ? wanted : 1;
}

/** The summed loss, without what the model adds; what evaluation wants besides is pushed to `extra`. */
export function lossOf(pass: LossPass, options: LossOptions, extra?: GraphOutput[]): Value {
  switch (options.settings.task) {
    case "causal-lm":
    case "masked-lm":
    case "seq2seq-lm":
      return vocabularyLoss(pass, options, extra);
    case "token-classification":
      return tokenLabelLoss(pass, options, extra);
    case "question-answering":
      return spanLoss(pass, options, extra);
    case "classification":
      return classLoss(pass, options, extra);
    case "multi-label-classification":
      return heldLabelsLoss(pass, options, extra);
    case "regression":
      return squaredError(pass, options, extra);
  }
}

/**
 * The summed loss in the parts that its logits over the vocabulary are made in, and one for each loss that the model
 * adds; a single one where a task has no such logits.
 * @param pass.losses scalars that the model adds to the mean loss of the tokens it predicts.
 */
export function lossPartsOf(
  pass: LossPass & { readonly losses: readonly Value[] },
  options: LossOptions,
): LossPart[] {
  if (!predictsTokens(options.settings.task))
    return [{ input: pass.hidden, lossOf: (hidden) => lossOf({ ...pass, hidden }, options) }];
  const { builder } = pass;
  const chunks = Array.from({ length: options.lossChunks }, (_, chunk) => supervised(pass, chunk));
  const predicted = chunks.map(({ rows, targets }) => ({
    input: rows,
    lossOf: (input: Value) => builder.sumAll(tokenLosses(pass, options, input, targets).losses),
  }));
  const terms = addDimensions(...chunks.map(({ targets }) => targets.shape[0] ?? 0));
  // Whoever runs the graph divides the sum by the number of its terms, so what adds to the mean counts once for each.
  const added = pass.losses.map((loss) => ({
    input: builder.reshape(loss, [1]),
    lossOf: (input: Value) => builder.sumAll(builder.expand(input, [terms])),
  }));
  return [...predicted, ...added];
}

/** The supervised rows of the hidden states, and their targets. */
function supervised({ builder, hidden }: LossPass, chunk: number): { rows: Value; targets: Value } {
  const places = builder.input(lossInputNames.rows(chunk), "int64", [`rows${chunk}`]);
  const targets = builder.input(lossInputNames.targets(chunk), "int64", [`rows${chunk}`]);
  return { rows: builder.gather(hidden, places, true), targets };
}

function vocabularyLoss(pass: LossPass, options: LossOptions, extra?: GraphOutput[]): Value {
  const { builder } = pass;
  const sum = (values: readonly Value[]) => values.reduce((a, b) => builder.add(a, b));
  const parts = Array.from({ length: options.lossChunks }, (_, chunk) => {
    const { rows, targets } = supervised(pass, chunk);
    const { logits, losses } = tokenLosses(pass, options, rows, targets);
    return {
      loss: builder.sumAll(losses),
      correct: extra ? countCorrect(builder, logits, losses) : undefined,
    };
  });
  extra?.push({ name: "correct", value: sum(parts.flatMap((part) => part.correct ?? [])) });
  return sum(parts.map(({ loss }) => loss));
}

/** The loss of each row of hidden states. */
function tokenLosses(
  { builder, context }: LossPass,
  { model, settings }: LossOptions,
  rows: Value,
  targets: Value,
): { readonly logits: Value; readonly losses: Value } {
  const logits = headOutput(model, settings, context, rows);
  return { logits, losses: builder.softmaxCrossEntropyLoss(logits, targets) };
}

function tokenLabelLoss(pass: LossPass, { model, settings }: LossOptions, extra?: GraphOutput[]): Value {
  const { rows, targets } = supervised(pass, 0);
  const logits = headOutput(model, settings, pass.context, rows);
  extra?.push({ name: "logits", value: logits });
  return pass.builder.sumAll(pass.builder.softmaxCrossEntropyLoss(logits, targets));
}

/**
 * Two classifications over the positions of a row, of an answer's start and of its end: row 2 b of the logits is the
 * start in row b of the batch, row 2 b + 1 its end.
 */
function spanLoss(
  pass: LossPass,
  { model, settings, virtualTokens }: LossOptions,
  extra?: GraphOutput[],
): Value {
  const { builder, context, hidden } = pass;
  const { batch, length } = context.sequence;
  const whole = builder.reshape(headOutput(model, settings, context, hidden), [batch, length, 2]);
  // An answer lies in the row's own tokens.
  const logits = virtualTokens === 0 ? whole : builder.slice(whole, 1, virtualTokens, length);
  extra?.push({ name: "logits", value: logits });
  const own = logits.shape[1] ?? 0;
  const ends = builder.reshape(builder.transpose(logits, [0, 2, 1]), [multiplyDimensions(2, batch), own]);
  const { rows, targets } = supervised({ ...pass, hidden: ends }, 0);
  return builder.sumAll(builder.softmaxCrossEntropyLoss(rows, targets));
}

function classLoss(
  { builder, context, hidden }: LossPass,
  { model, settings }: LossOptions,
  extra?: GraphOutput[],
): Value {
  const logits = headOutput(model, settings, context, hidden);
  extra?.push({ name: "logits", value: logits });
  return builder.sumAll(
    builder.softmaxCrossEntropyLoss(
      logits,
      builder.input(lossInputNames.classes, "int64", [context.sequence.sequences]),
    ),
  );
}

/** Whether each label holds is a choice of its own: sigmoid(x) is the second class of softmax([0, x]). */
function heldLabelsLoss(
  { builder, context, hidden }: LossPass,
  { model, settings }: LossOptions,
  extra?: GraphOutput[],
): Value {
  const logits = headOutput(model, settings, context, hidden);
  extra?.push({ name: "logits", value: logits });
  const choices = multiplyDimensions(context.sequence.sequences, settings.labelCount);
  const held = builder.input(lossInputNames.held, "int64", [context.sequence.sequences, settings.labelCount]);
  const zeros = builder.expand(builder.scalar(0), [choices, 1]);
  const pairs = builder.concat([zeros, builder.reshape(logits, [choices, 1])], 1);
  return builder.sumAll(builder.softmaxCrossEntropyLoss(pairs, builder.reshape(held, [choices])));
}

function squaredError(
  { builder, context, hidden }: LossPass,
  { model, settings }: LossOptions,
  extra?: GraphOutput[],
): Value {
  const logits = headOutput(model, settings, context, hidden);
  extra?.push({ name: "logits", value: logits });
  const targets = builder.input(lossInputNames.values, "float32", [context.sequence.sequences, 1]);
  const difference = builder.subtract(logits, targets);
  return builder.sumAll(builder.multiply(difference, difference));
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
