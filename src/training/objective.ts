/**
 * @file What is trained: a graph that yields a summed loss and its flat gradient, and how a batch becomes its
 * inputs. The training loop knows nothing more of models, methods or tasks.
 */
import { DeltafitError } from "../errors.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import { constantFeeds } from "../methods/constants.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { isSixteenBit } from "../base/weight-storage.ts";
import { masksPadding } from "../models/forward.ts";
import type { Model } from "../models/forward.ts";
import { moduleInputs } from "../base/own-module.ts";
import type { ModuleBase } from "../base/own-module.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import { buildTrainingGraph } from "../tasks/graphs.ts";
import { frozenInput, lossAndGradient, startPass } from "../tasks/pass.ts";
import type { TaskAdapter } from "../tasks/pass.ts";
import { feedsOf } from "../tasks/feeds.ts";
import type { Feeds, TaskBatch } from "../tasks/feeds.ts";

export interface Objective<Batch> {
  /** Outputs "loss" (a sum) and "gradient" (flat, of that sum); the input "trainable" is the flat vector. */
  readonly graph: Graph;
  readonly layout: ParameterLayout;
  /** What is trained: methods may add terms to the loss and rules to follow after an update. */
  readonly adapters?: readonly Pick<TaskAdapter, "name" | "method">[] | undefined;
  /** What the length of a batch must be a multiple of. */
  readonly lengthMultiple: number;
  readonly locate: (weight: string) => WeightLocation;
  /** The inputs of a batch, and the number of terms of its summed loss. */
  readonly feeds: (batch: Batch) => Feeds;
}

/** An adapter with its values. */
export interface AdapterWithValues extends Omit<TaskAdapter, "trainable"> {
  readonly values: Float32Array;
}

export interface LanguageObjectiveOptions {
  readonly base: Base;
  /** Trained together, in this order. */
  readonly adapters: readonly Omit<TaskAdapter, "trainable">[];
  /** Active but not trained; they come before the trained ones. */
  readonly frozen?: readonly AdapterWithValues[];
  /** Longest batch in tokens: decides how attention and loss are cut into parts. */
  readonly sequenceLength: number;
  readonly batchSize: number;
  /** Supervised tokens of a batch at most; left out, any token of `batchSize` rows may be. */
  readonly supervisedTokens?: number | undefined;
  /** Whether rows hold several sequences (`sequenceStarts`). */
  readonly packed?: boolean | undefined;
  /** Compute each layer again in the backward pass: less memory, about a third more time. */
  readonly recompute?: boolean | undefined;
}

/** From this many positions on, causal attention in blocks saves more than the extra nodes cost. */
const blockedLength = 128;
/** Largest number of logits made at once: 64 MiB of float32. */
const logitsAtOnce = 2 ** 24;

/** Into how many parts a graph cuts attention and logits for batches of a size. */
export function partsOf(
  model: Pick<Model, "causal" | "maximumPositions" | "vocabularySize">,
  sequenceLength: number,
  batchSize: number,
  supervisedTokens = sequenceLength * batchSize,
): { readonly attentionBlocks: number; readonly lossChunks: number } {
  const blocks = 4;
  const fits = Math.ceil(sequenceLength / blocks) * blocks <= model.maximumPositions;
  return {
    attentionBlocks: model.causal && sequenceLength >= blockedLength && fits ? blocks : 1,
    lossChunks: Math.max(1, Math.ceil((supervisedTokens * model.vocabularySize) / logitsAtOnce)),
  };
}

/** Training a language model with methods. */
export function languageObjective(options: LanguageObjectiveOptions): Objective<TaskBatch> {
  const { adapters, frozen = [], sequenceLength, batchSize, recompute = false } = options;
  const base = withBaseChanges(options.base, [...frozen, ...adapters]);
  const { model, settings } = base;
  const { packed, supervisedTokens } = options;
  if (packed === true) checkPackable(base, [...frozen, ...adapters]);
  refuseTrainingRounded(base, adapters);
  const taskGraph = buildTrainingGraph({
    model,
    settings,
    adapters: [
      ...frozen.map((adapter) => ({ ...adapter, trainable: false })),
      ...adapters.map((adapter) => ({ ...adapter, trainable: true })),
    ],
    padding: masksPadding(model, settings.task),
    packed,
    recompute,
    ...partsOf(model, sequenceLength, batchSize, supervisedTokens),
  });
  const frozenFeeds: Record<string, Tensor> = Object.fromEntries([
    ...frozen.map(({ name, values }) => [frozenInput(name), float32Tensor([values.length], values)] as const),
    ...Object.entries(constantsOf([...frozen, ...adapters])),
  ]);
  return {
    graph: taskGraph.graph,
    layout: taskGraph.layout,
    adapters,
    lengthMultiple: taskGraph.lengthMultiple,
    locate: (weight) => base.locate(weight),
    feeds(batch) {
      const { tensors, count } = feedsOf(taskGraph, model, batch);
      return { tensors: { ...tensors, ...frozenFeeds }, count };
    },
  };
}

/**
/**
 * @throws DeltafitError `method-unsupported` for methods whose virtual tokens stand in front of whole rows;
 * `usage-invalid` for an encoder-decoder and for the task whose loss compares all positions of a row.
 */
function checkPackable(
  { model, settings }: Pick<Base, "model" | "settings">,
  adapters: readonly Omit<TaskAdapter, "trainable">[],
): void {
  if (model.encoderDecoder)
    throw new DeltafitError(
      "usage-invalid",
      `The architecture ${model.modelType} reads one text and writes another, so a row cannot hold several examples.`,
      "Train without packing; grouping by length saves most of the padding as well.",
    );
  if (settings.task === "question-answering")
    throw new DeltafitError(
      "usage-invalid",
      "The positions of a row compete for an answer's ends, so a row cannot hold several questions.",
      "Train without packing; grouping by length saves most of the padding as well.",
    );
  const adapter = adapters.find(({ method }) => (method.virtualTokens ?? 0) > 0);
  if (!adapter) return;
  throw new DeltafitError(
    "method-unsupported",
    `The adapter ${JSON.stringify(adapter.name)} puts virtual tokens in front of every row, so a row cannot hold several examples.`,
    "Train without packing; grouping by length saves most of the padding as well.",
  );
}

/** What is trained moves in steps far smaller than what a rounded matrix can hold. */
function refuseTrainingRounded(base: Base, adapters: LanguageObjectiveOptions["adapters"]): void {
  for (const { method } of adapters)
    for (const { key } of method.parameters) {
      const parameter = base.modules.parameters.get(key);
      if (!parameter || base.newParameters.includes(key)) continue;
      const { form } = base.locate(parameter.stored);
      if (!form || isSixteenBit(form.kind)) continue;
      throw new DeltafitError(
        "usage-invalid",
        `The matrix ${key} would be trained, but the base keeps it as ${base.storage}.`,
        "Keep the base as float32, or train an adapter beside the matrix.",
      );
    }
}

/** The inputs of the constants of all adapters. */
function constantsOf(adapters: readonly Omit<TaskAdapter, "trainable">[]): Record<string, Tensor> {
  return Object.fromEntries(
    adapters.flatMap(({ name, method }) => Object.entries(constantFeeds(name, method))),
  );
}

/** A batch of an own module: its inputs, and the number of rows that its summed loss is divided by. */
export interface ModuleBatch {
  readonly tensors: Record<string, Tensor>;
  readonly count: number;
}

/** Training a module of the user's own with methods. */
export function moduleObjective<InputName extends string>(
  base: ModuleBase<InputName>,
  adapters: readonly Omit<TaskAdapter, "trainable">[],
): Objective<ModuleBatch> {
  const trained = adapters.map((adapter) => ({ ...adapter, trainable: true }));
  const pass = startPass({ adapters: trained, padding: false, attentionBlocks: 1, training: true });
  const { loss } = base.module.forward(pass.context, moduleInputs(pass.builder, base.module));
  const constants = constantsOf(adapters);
  const changed = withBaseChanges(base, adapters);
  return {
    graph: graphOf(lossAndGradient(pass, loss)),
    layout: pass.layout,
    adapters,
    lengthMultiple: 1,
    locate: (weight) => changed.locate(weight),
    feeds: ({ tensors, count }) => ({ tensors: { ...tensors, ...constants }, count }),
  };
}
