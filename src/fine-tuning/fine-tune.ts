/**
 * @file Fine-tuning from end to end: a base, an adapter and data in; a trained adapter on disk and a report out.
 * The one place where data, training, evaluation and files meet.
 */
import type { Adapter } from "../adapters/adapter.ts";
import { keepsChanges, writtenBytes } from "../adapters/condense.ts";
import { settleAdapters } from "../adapters/settle.ts";
import type { Base } from "../base/base.ts";
import { batches } from "../data/batches.ts";
import type { Batch, BatchCursor, BatchesOptions } from "../data/batches.ts";
import type { Dataset } from "../data/examples.ts";
import { internalError } from "../errors.ts";
import { Evaluator } from "../evaluation/evaluator.ts";
import type { Metrics } from "../evaluation/evaluator.ts";
import { hash, hashText } from "../graph/print.ts";
import { countParameters } from "../memory/parameter-counts.ts";
import type { Task } from "../models/forward.ts";
import { availableMemoryBytes } from "../runtime/available-memory.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { loraPlusGroups } from "../training/lora-plus.ts";
import type { LoraPlusSettings } from "../training/lora-plus.ts";
import { languageObjective } from "../training/objective.ts";
import { adamWDefaults } from "../training/optimiser.ts";
import { runTraining } from "../training/run.ts";
import type {
  Evaluation,
  PlacedBatch,
  TrainingEvent,
  TrainingPlan,
  TrainingProgress,
} from "../training/run.ts";
import { Trainer } from "../training/trainer.ts";
import { batchSettings, largestBatch, packingFor } from "./batch-settings.ts";
import type { BatchTokenizer } from "./batch-settings.ts";
import { checkpointFolder } from "./checkpoint-folder.ts";
import {
  checkMembers,
  fingerprintOf,
  joinValues,
  saveCheckpoint,
  splitValues,
  writeResult,
} from "./trained-adapters.ts";
import type { RunFiles } from "./trained-adapters.ts";
import { decideRecompute, runLengths } from "./run-memory.ts";
import type { RecomputeChoice } from "./run-memory.ts";
import { readTrainingState } from "./training-state.ts";
import type { TrainingState } from "./training-state.ts";

export interface FineTuneOptions {
  readonly base: Base;
  readonly tokenizer: BatchTokenizer;
  /**
   * The adapter to train, with its initial values; or several that are trained together, the nearest to the base first.
   */
  readonly adapter: Adapter | readonly Adapter[];
  /** Adapters that are active but not trained, under those that are. They are written with them. */
  readonly frozen?: readonly Adapter[] | undefined;
  readonly data: Dataset;
  readonly evaluationData?: Dataset | undefined;
  readonly batchSize: number;
  /** Longest row in tokens. */
  readonly sequenceLength: number;
  /** Put several examples into a row, none seeing another: the same numbers from fewer positions. */
  readonly pack?: boolean | undefined;
  /** Put examples of similar length into a batch, which saves padding; their order is less random. */
  readonly groupByLength?: boolean | undefined;
  readonly plan: TrainingPlan;
  /**
   * Compute each layer again in the backward pass: less memory, about a third more time. `auto` where the run is
   * estimated not to fit otherwise.
   */
  readonly recompute?: RecomputeChoice | undefined;
  readonly weightDecay?: number | undefined;
  /** Rates of their own for LoRA's two matrices. */
  readonly loraPlus?: LoraPlusSettings | undefined;
  /** Largest norm of the gradient; 0 for no limit. */
  readonly clip?: number | undefined;
  /** Seed of the order of the data, of dropout and of masking. */
  readonly seed: number;
  /** Folder for the adapter; nothing is written without it. */
  readonly out?: string | undefined;
  /** Writes further files beside the adapter, in `out` and in its checkpoints. */
  readonly addFiles?: ((folder: string) => void) | undefined;
  /** Go on from the state that an interrupted run left in `out`. */
  readonly resume?: boolean | undefined;
  readonly onEvent?: ((event: TrainingEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly session?: SessionOptions | undefined;
}

export interface FineTuneResult {
  /** The trained adapter as it was after the last step; of several the first. */
  readonly adapter: Adapter;
  /** All that were trained, in their order. */
  readonly adapters: readonly Adapter[];
  readonly steps: number;
  /** Mean loss of each step before its update. */
  readonly losses: readonly number[];
  readonly evaluations: readonly Evaluation[];
  readonly trainableParameters: number;
  /** Parameters of the base, and what the adapter adds. */
  readonly totalParameters: number;
  readonly tokens: number;
  readonly supervisedTokens: number;
  readonly tokensPerSecond: number;
  /** Size of the trained adapters' tensors as they are stored. */
  readonly adapterBytes: number;
  /** Where the adapter, or the whole model of a method without adapters, was written. */
  readonly folder: string | undefined;
}

/**
 * Trains an adapter and writes it. An adapter that stood in the folder stays until the new one is complete.
 * @throws DeltafitError `interrupted`, `not-finite`, `usage-invalid`, `data-invalid`, `write-failed`.
 */
export async function fineTune(options: FineTuneOptions): Promise<FineTuneResult> {
  const { base, frozen = [], plan, seed, out, resume = false, session } = options;
  const { pack = false, batchSize, sequenceLength } = options;
  const adapters = trainedAdapters(options);
  checkMembers(adapters, frozen);
  const largest = largestBatch(options.data.examples, batchSize);
  const objective = languageObjective({
    ...options,
    adapters,
    frozen,
    packed: pack,
    sequenceLength: pack ? sequenceLength : Math.min(largest.length, sequenceLength),
    supervisedTokens: largest.supervisedTokens,
    recompute: isRecomputed(options, adapters),
  });
  const settings = settingsOf(options, hash(objective.graph));
  const state =
    resume && out !== undefined ? readTrainingState(checkpointFolder(out, "last"), settings) : undefined;
  const progress = state?.progress ?? newProgress();
  const trainer = await Trainer.create({
    objective,
    parameters: state?.parameters ?? joinValues(adapters),
    state: state?.optimiser,
    ruleState: state?.ruleState,
    groups: options.loraPlus && loraPlusGroups(options.loraPlus, base.modules),
    seed,
    optimiser: {
      ...adamWDefaults,
      weightDecay: options.weightDecay ?? adamWDefaults.weightDecay,
      clip: options.clip === 0 ? undefined : (options.clip ?? adamWDefaults.clip),
    },
    ...(session ? { session } : {}),
  });
  const evaluator = options.evaluationData
    ? await Evaluator.create({
        base,
        adapters: [...frozen, ...adapters],
        labelNames: options.evaluationData.labels?.names,
        session,
      })
    : undefined;
  try {
    const current = () => splitValues(adapters, trainer.parameters);
    const kept = () => settleAdapters(current(), base, trainer.ruleState);
    const files: RunFiles = { base, frozen, addFiles: options.addFiles };
    await runTraining({
      trainer,
      plan,
      progress,
      batches: placedBatches(options, objective.lengthMultiple, progress.cursor),
      evaluate: evaluator && (() => evaluate(options, evaluator, current())),
      isBetter: (metrics, best) => isBetter(base.settings.task, metrics, best),
      save:
        out === undefined
          ? undefined
          : (kind) => {
              const training = {
                parameters: trainer.parameters,
                optimiser: trainer.state,
                ruleState: trainer.ruleState,
                progress,
                settings,
              };
              return saveCheckpoint(checkpointFolder(out, kind), files, kept(), training);
            },
      onEvent: options.onEvent,
      signal: options.signal,
    });
    if (out !== undefined) await writeResult(out, files, kept(), progress.best !== undefined);
    return resultOf(options, kept(), progress);
  } finally {
    await trainer.dispose();
    await evaluator?.dispose();
  }
}

function isRecomputed(options: FineTuneOptions, adapters: readonly Adapter[]): boolean {
  const { base, frozen = [], recompute = false, batchSize, plan, data } = options;
  if (recompute !== "auto") return recompute;
  const active = [
    ...frozen.map(({ name, method }) => ({ name, method, trainable: false })),
    ...adapters.map(({ name, method }) => ({ name, method, trainable: true })),
  ];
  const run = {
    ...base,
    adapters: active,
    batchSize,
    accumulate: plan.accumulate,
    ...runLengths(data.examples, options, options.evaluationData?.examples),
  };
  return decideRecompute(run, recompute, availableMemoryBytes()).run.recompute;
}

function trainedAdapters({ adapter }: FineTuneOptions): readonly Adapter[] {
  return "methodType" in adapter ? [adapter] : adapter;
}

function newProgress(): TrainingProgress<BatchCursor> {
  return {
    step: 0,
    cursor: { epoch: 0, index: 0 },
    losses: [],
    evaluations: [],
    tokens: 0,
    supervisedTokens: 0,
    stepSeconds: 0,
    best: undefined,
  };
}

/** What the numbers of a run depend on: a state of other settings is not resumed. */
function settingsOf(options: FineTuneOptions, graph: string): TrainingState["settings"] {
  const { base, plan, batchSize, seed, data } = options;
  const { steps, accumulate, learningRate, schedule, warmup } = plan;
  const { examples, tokens } = data.report;
  const numbers = { steps, accumulate, learningRate, schedule, warmup, batchSize, seed, examples, tokens };
  const { weightDecay, clip, loraPlus, groupByLength = false, frozen = [] } = options;
  return {
    ...numbers,
    groupByLength,
    weightDecay: weightDecay ?? null,
    clip: clip ?? null,
    ...loraPlus,
    ...(frozen.length > 0 && { frozen: fingerprintOf(frozen) }),
    // What methods do besides the graph follows from their configurations.
    method: hashText(JSON.stringify(trainedAdapters(options).map(({ configuration }) => configuration))),
    graph,
    storage: base.storage,
    compute: base.compute,
  };
}

function batchesOptions(options: FineTuneOptions, multiple: number): BatchesOptions {
  return { ...batchSettings(options.base, options.tokenizer, options), padToMultipleOf: multiple };
}

function trainingBatches(options: FineTuneOptions, multiple: number): BatchesOptions {
  const { base, pack = false, groupByLength = false, sequenceLength } = options;
  return {
    ...batchesOptions(options, multiple),
    groupByLength,
    pack: pack ? packingFor(base, sequenceLength) : undefined,
  };
}

function* placedBatches(
  options: FineTuneOptions,
  multiple: number,
  from: BatchCursor,
): Generator<PlacedBatch<Batch, BatchCursor>> {
  for (const { batch, cursor } of batches(options.data.examples, trainingBatches(options, multiple), from))
    yield { batch, cursor, tokens: batch.tokens };
}

async function evaluate(
  options: FineTuneOptions,
  evaluator: Evaluator,
  adapters: readonly Adapter[],
): Promise<Metrics> {
  const { evaluationData, frozen = [] } = options;
  const settings = { ...batchesOptions(options, 1), shuffle: false, epochs: 1 };
  const values = Object.fromEntries([...frozen, ...adapters].map(({ name, values: own }) => [name, own]));
  return evaluator.evaluate(evaluationBatches(evaluationData?.examples ?? [], settings), values);
}

/** Batches of rows in an order by length, which saves padding and changes no metric. */
export function* evaluationBatches(
  examples: Dataset["examples"],
  settings: BatchesOptions,
): Generator<Batch> {
  const sorted = [...examples].sort((a, b) => a.inputIds.length - b.inputIds.length);
  for (const { batch } of batches(sorted, settings)) yield batch;
}

/** The metric that says which of two evaluations is better; the loss where there is none, or between equals. */
const leadingMetric: Readonly<Partial<Record<Task, string>>> = {
  classification: "accuracy",
  "multi-label-classification": "f1Micro",
  "token-classification": "f1",
  "question-answering": "f1",
};

function isBetter(task: Task, metrics: Metrics, best: Metrics): boolean {
  const { loss = Infinity } = metrics;
  const { loss: bestLoss = Infinity } = best;
  const leading = leadingMetric[task] ?? "";
  const [score, bestScore] = [metrics[leading] ?? 0, best[leading] ?? 0];
  return score !== bestScore ? score > bestScore : loss < bestLoss;
}

/** @param adapters what is left of the trained ones. */
function resultOf(
  options: FineTuneOptions,
  adapters: readonly Adapter[],
  progress: TrainingProgress<BatchCursor>,
): FineTuneResult {
  const [adapter] = adapters;
  if (adapter === undefined) throw internalError("a run has trained nothing.");
  const { base, frozen = [], out } = options;
  const trained = trainedAdapters(options);
  const size = (all: readonly Adapter[]) => all.reduce((sum, { layout }) => sum + layout.size, 0);
  return {
    adapter,
    adapters,
    steps: progress.step,
    losses: progress.losses,
    evaluations: progress.evaluations,
    trainableParameters: size(trained),
    totalParameters: totalParameters(base, [...frozen, ...trained]),
    tokens: progress.tokens,
    supervisedTokens: progress.supervisedTokens,
    tokensPerSecond: progress.tokens / Math.max(progress.stepSeconds, 1e-9),
    adapterBytes: adapters.reduce((sum, each) => sum + writtenBytes(each, base, keepsChanges(each, base)), 0),
    folder: out,
  };
}

/** Parameters of a base, and what adapters add to them. */
export function totalParameters(base: Pick<Base, "modules">, adapters: readonly Adapter[]): number {
  const parameters = adapters.flatMap(({ method }) => method.parameters);
  return countParameters(base.modules, { parameters }).totalParameters;
}
