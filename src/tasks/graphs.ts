/**
 * @file The graphs of a task: loss and gradient for training, loss and predictions for evaluation, logits for
 * inspection. Knows no data format and runs nothing.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { multiplyDimensions, subtractDimensions } from "../graph/dimension.ts";
import { internalError } from "../errors.ts";
import { gradient } from "../graph/gradient.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, GraphOutput, Value } from "../graph/graph.ts";
import type { Model } from "../models/forward.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { createForwardContext } from "../methods/forward-pass.ts";
import type { ActiveAdapter, ForwardObserver } from "../methods/forward-pass.ts";
import { layOut } from "../methods/layout.ts";
import type { LayoutEntry, ParameterLayout } from "../methods/layout.ts";
import { headOutput } from "../methods/survey.ts";
import type { TaskSettings } from "../methods/survey.ts";

/** An adapter that takes part in a graph. */
export interface TaskAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  /** Whether its parameters are trained. Others are inputs of their own. */
  readonly trainable: boolean;
}

export interface TaskGraphOptions {
  readonly model: Model;
  readonly settings: TaskSettings;
  readonly adapters: readonly TaskAdapter[];
  /** Whether padding may stand before or between tokens; padding at the end never disturbs a causal model. */
  readonly padding: boolean;
  /** Row blocks of causal attention: pays off from about 128 positions on. */
  readonly attentionBlocks: number;
  /** Parts in which the logits of supervised tokens are made, so that they never exist all at once. */
  readonly lossChunks: number;
}

/** Names of the inputs that a task's loss adds. */
export const lossInputNames = {
  /** int64 [rows]: places of the supervised rows among the tokens, one input for each chunk. */
  rows: (chunk: number) => `rows.${chunk}`,
  /** int64 [rows]: token ids to predict. */
  targets: (chunk: number) => `targets.${chunk}`,
  /** int64 [batch]: class ids. */
  classes: "class_labels",
  /** float32 [batch, 1]: regression targets. */
  values: "target_values",
} as const;

/** Name of the flat float32 vector of everything trained. */
export const trainableInput = "trainable";
/** Name of the flat float32 vector of an adapter that is not trained. */
export const frozenInput = (adapter: string): string => `adapter.${adapter}`;

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
  /** What the length of a batch must be a multiple of. */
  readonly lengthMultiple: number;
}

/** Outputs "loss" (summed over supervised tokens or rows) and "gradient" (flat, of that sum). */
export function buildTrainingGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startPass(options, true);
  const loss = lossOf(pass, options);
  const variables = pass.layout.entries.map((entry) => pass.trained(entry));
  if (variables.length === 0) throw internalError("there is nothing to train.");
  const gradients = gradient(pass.builder, loss, variables);
  const flat = gradients.map((value, index) => {
    const size = pass.layout.entries[index]?.size ?? 0;
    const zeros = () => pass.builder.expand(pass.builder.scalar(0), [size]);
    return value ? pass.builder.reshape(value, [size]) : zeros();
  });
  return pass.finish([
    { name: "loss", value: loss },
    { name: "gradient", value: pass.builder.concat(flat, 0) },
  ]);
}

/**
 * Output "loss" (summed) and, for classification and regression, "logits" [batch, labels]; for the tasks that
 * predict tokens, "correct": the number of supervised tokens whose most likely prediction is right.
 */
export function buildEvaluationGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startPass(options, false);
  const outputs: GraphOutput[] = [];
  const loss = lossOf(pass, options, outputs);
  return pass.finish([{ name: "loss", value: loss }, ...outputs]);
}

/** Output "logits" of every position [batch, length, vocabulary], or [batch, labels]; and "hidden.I" where asked for. */
export function buildLogitsGraph(options: TaskGraphOptions, hiddenStates = false): TaskGraph {
  const layers: Value[] = [];
  const pass = startPass(options, false, { layer: (_path, input) => layers.push(input) });
  const { builder, context } = pass;
  const logits = headOutput(options.model, options.settings, context, pass.hidden);
  const width = logits.shape[1] ?? 0;
  const { batch, length } = context.sequence;
  const perToken = logits.shape[0] !== batch;
  const outputs = [{ name: "logits", value: perToken ? builder.reshape(logits, [batch, length, width]) : logits }];
  if (hiddenStates)
    for (const [index, value] of [...layers, pass.hidden].entries())
      outputs.push({ name: `hidden.${index}`, value: builder.reshape(value, [batch, length, options.model.hiddenSize]) });
  return pass.finish(outputs);
}

function startPass(options: TaskGraphOptions, training: boolean, observe?: ForwardObserver) {
  const builder = new GraphBuilder();
  const parametersOf = ({ name, method }: TaskAdapter) => method.parameters.map((spec) => ({ adapter: name, spec }));
  const layout = layOut(options.adapters.filter(({ trainable }) => trainable).flatMap(parametersOf));
  const frozenLayouts = new Map(
    options.adapters.filter(({ trainable }) => !trainable).map((adapter) => [adapter.name, layOut(parametersOf(adapter))]),
  );
  const read = (input: string, { size }: ParameterLayout, entry: LayoutEntry) => {
    const vector = builder.input(input, "float32", [size]);
    return builder.reshape(builder.slice(vector, 0, entry.offset, entry.offset + entry.size), entry.shape);
  };
  const trained = (entry: LayoutEntry) => read(trainableInput, layout, entry);
  const active = options.adapters.map(({ name, method, trainable }): ActiveAdapter => {
    const own = trainable ? layout : (frozenLayouts.get(name) ?? layout);
    const entries = new Map(own.entries.filter(({ adapter }) => adapter === name).map((entry) => [entry.key, entry]));
    return {
      name,
      method,
      parameter(key) {
        const entry = entries.get(key);
        if (!entry) throw internalError(`the adapter "${name}" has no parameter "${key}".`);
        return trainable ? trained(entry) : read(frozenInput(name), own, entry);
      },
    };
  });
  const { padding, attentionBlocks } = options;
  const context = createForwardContext({ builder, adapters: active, training, padding, attentionBlocks, observe });
  const hidden = options.model.encode(context);
  const ownLength = attentionBlocks === 1 ? "length" : multiplyDimensions(attentionBlocks, "block");
  const virtualTokens = subtractDimensions(context.sequence.length, ownLength);
  if (typeof virtualTokens === "string") throw internalError("a method puts a symbolic number of tokens in front.");
  const finish = (outputs: readonly GraphOutput[]): TaskGraph => ({
    graph: graphOf(outputs),
    settings: options.settings,
    layout,
    frozenLayouts,
    lossChunks: options.lossChunks,
    virtualTokens,
    lengthMultiple: attentionBlocks,
  });
  return { builder, context, hidden, layout, trained, finish };
}

/** The summed loss; what evaluation wants besides is pushed to `extra`. */
function lossOf({ builder, context, hidden }: ReturnType<typeof startPass>, options: TaskGraphOptions, extra?: GraphOutput[]): Value {
  const { model, settings } = options;
  if (settings.task === "causal-lm" || settings.task === "masked-lm") {
    const parts = Array.from({ length: options.lossChunks }, (_, chunk) => {
      const rows = builder.input(lossInputNames.rows(chunk), "int64", [`rows${chunk}`]);
      const targets = builder.input(lossInputNames.targets(chunk), "int64", [`rows${chunk}`]);
      const logits = headOutput(model, settings, context, builder.gather(hidden, rows));
      const losses = builder.softmaxCrossEntropyLoss(logits, targets);
      return { loss: builder.sumAll(losses), correct: extra ? countCorrect(builder, logits, losses) : undefined };
    });
    const correct = parts.flatMap((part) => part.correct ?? []);
    if (extra) extra.push({ name: "correct", value: correct.reduce((a, b) => builder.add(a, b)) });
    return parts.map(({ loss }) => loss).reduce((a, b) => builder.add(a, b));
  }
  const logits = headOutput(model, settings, context, hidden);
  extra?.push({ name: "logits", value: logits });
  if (settings.task === "regression") {
    const difference = builder.subtract(logits, builder.input(lossInputNames.values, "float32", ["batch", 1]));
    return builder.sumAll(builder.multiply(difference, difference));
  }
  return builder.sumAll(builder.softmaxCrossEntropyLoss(logits, builder.input(lossInputNames.classes, "int64", ["batch"])));
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
