/**
 * @file The memory of a training run before anything of it is loaded: estimated from the graphs that will run, held
 * against what there is, with the settings that would make it fit. Asks the machine nothing.
 */
import type { BaseShape } from "../base/base.ts";
import { isSixteenBit, productMatrices, storableMatrices } from "../base/weight-storage.ts";
import type { Compute, Storage } from "../base/weight-storage.ts";
import type { TokenizedExample } from "../data/tokenized-example.ts";
import { evaluationParts } from "../evaluation/evaluator.ts";
import type { Graph } from "../graph/graph.ts";
import { overKeptWeights } from "../graph/stored-weights.ts";
import { estimateMemory, liveThroughStep } from "../memory/estimate.ts";
import type { MemoryBytes, MemoryRequest } from "../memory/estimate.ts";
import type { LiveBytes } from "../memory/live-memory.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { masksPadding } from "../models/forward.ts";
import { buildEvaluationGraph, buildTrainingGraph } from "../tasks/graphs.ts";
import { partsOf } from "../training/objective.ts";
import { adamWDefaults, updateGraphs } from "../training/optimiser.ts";
import { largestBatch } from "./batch-settings.ts";

/** What the memory of a run depends on. */
export interface RunShape extends Pick<BaseShape, "model" | "modules" | "settings" | "tableType"> {
  /** All that is active, the nearest to the base first. */
  readonly adapters: readonly RunAdapter[];
  readonly storage: Storage;
  readonly compute: Compute;
  readonly batchSize: number;
  /** Batches whose gradients make one update. */
  readonly accumulate: number;
  /** Tokens of the longest row. */
  readonly sequenceLength: number;
  /** Supervised tokens of a batch of so many rows at most; left out, all. */
  readonly supervisedTokens?: ((batchSize: number) => number) | undefined;
  readonly packed?: boolean | undefined;
  readonly recompute: boolean;
  /** Of the rows that evaluation measures on, where there are any. */
  readonly evaluation?: Pick<RunShape, "sequenceLength" | "supervisedTokens"> | undefined;
}

export interface RunAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  readonly trainable: boolean;
}

/** Bytes of one training step at its largest. */
export function estimateRun(run: RunShape): MemoryBytes {
  return estimateMemory(requestOf(run));
}

/** What every operation of a step's forward and backward pass finds alive, in running order. */
export function liveThroughRun(run: RunShape): readonly LiveBytes[] {
  return liveThroughStep(requestOf(run));
}

function requestOf(run: RunShape): MemoryRequest {
  const { model, modules, settings, adapters, storage, batchSize, accumulate, sequenceLength: length } = run;
  const { packed, recompute } = run;
  const supervisedTokens = run.supervisedTokens?.(batchSize) ?? batchSize * length;
  const parts = partsOf(model, length, batchSize, supervisedTokens);
  const { graph, layout } = buildTrainingGraph({
    ...{ model, settings, adapters, packed, recompute, ...parts },
    padding: masksPadding(model, settings.task),
  });
  const parameters = adapters.flatMap(({ method, trainable }) => (trainable ? method.parameters : []));
  const trained = new Set(parameters.map(({ key }) => key));
  const kept = storableMatrices(modules, storage, run.tableType).filter(({ name }) => !trained.has(name));
  const forms = new Map(kept.map(({ stored, form }) => [stored, form]));
  const factors = run.compute === "int8" ? productMatrices(modules) : [];
  const productAxes = new Map(factors.map(({ stored, axes }) => [stored, axes]));
  const overKept = (given: Graph) =>
    overKeptWeights(given, (stored) => ({
      form: forms.get(stored),
      productAxes: productAxes.get(stored) ?? [],
    }));
  const evaluation = evaluationOf(run);
  return {
    ...{ modules, method: { parameters }, batchSize, accumulate, length, supervisedTokens, ...parts },
    graph: overKept(graph),
    updates: updateGraphs(adamWDefaults, layout.size),
    evaluation: evaluation && { ...evaluation, graph: overKept(evaluation.graph) },
  };
}

function evaluationOf({ evaluation, model, settings, adapters, batchSize }: RunShape) {
  if (!evaluation) return undefined;
  const { sequenceLength: length, supervisedTokens } = evaluation;
  const { graph } = buildEvaluationGraph({
    ...{ model, settings, ...evaluationParts },
    adapters: adapters.map((adapter) => ({ ...adapter, trainable: false })),
    padding: masksPadding(model, settings.task),
  });
  return { graph, batchSize, length, ...evaluationParts, supervisedTokens: supervisedTokens?.(batchSize) };
}

/** Whether layers are computed again in the backward pass: `auto` where the run would not fit otherwise. */
export type RecomputeChoice = boolean | "auto";

export interface DecidedRun {
  readonly run: RunShape;
  readonly bytes: MemoryBytes;
}

/** A run with its estimate, once it is decided whether layers are recomputed. */
export function decideRecompute(
  run: Omit<RunShape, "recompute">,
  choice: RecomputeChoice,
  availableBytes: number,
): DecidedRun {
  const estimated = (recompute: boolean): DecidedRun => {
    const decided = { ...run, recompute };
    return { run: decided, bytes: estimateRun(decided) };
  };
  if (choice !== "auto") return estimated(choice);
  const kept = estimated(false);
  return kept.bytes.total <= availableBytes ? kept : estimated(true);
}

/** The longest row of a run and the supervised tokens of its batches, from its data and the rows it evaluates on. */
export function runLengths(
  examples: readonly TokenizedExample[],
  { batchSize, sequenceLength, pack = false }: RunBatches,
  evaluationExamples?: readonly TokenizedExample[],
): Pick<RunShape, "sequenceLength" | "supervisedTokens" | "packed" | "evaluation"> {
  const largest = largestBatch(examples, batchSize);
  return {
    evaluation: evaluationExamples && runLengths(evaluationExamples, { batchSize, sequenceLength }),
    sequenceLength: pack ? sequenceLength : Math.min(largest.length, sequenceLength),
    supervisedTokens: (rows) => largestBatch(examples, rows).supervisedTokens,
    packed: pack,
  };
}

export interface RunBatches {
  readonly batchSize: number;
  /** Longest row in tokens. */
  readonly sequenceLength: number;
  readonly pack?: boolean | undefined;
}

/** Settings that make a run smaller, by their names on the command line. */
export interface SmallerSettings {
  readonly recompute?: true;
  readonly batchSize?: number;
  readonly accumulate?: number;
  readonly storage?: Storage;
  readonly sequenceLength?: number;
}

export interface SmallerRun {
  readonly settings: SmallerSettings;
  readonly totalBytes: number;
}

/** Most ways that are named. */
const mostWays = 3;
const shortestLength = 32;
/** Storages that a user would go to, by what they lose. */
const smallerStorages: readonly Storage[] = ["int8", "nf4", "nf4-double"];

/**
 * Ways in which a run would fit, each of them estimated: the layers recomputed, fewer rows at a time with as many for
 * an update, both, frozen matrices in fewer bits, these with all of it, and at last shorter rows. The least change of each
 * kind, none where nothing helps.
 */
export function smallerRuns(run: RunShape, availableBytes: number): readonly SmallerRun[] {
  const fewerRows = halvings(run.batchSize, 1).map((batchSize) => ({
    batchSize,
    accumulate: run.accumulate * Math.ceil(run.batchSize / batchSize),
  }));
  const shorterRows = halvings(run.sequenceLength, shortestLength).map((sequenceLength) => ({
    sequenceLength,
  }));
  const storages = storagesBelow(run).map((storage) => ({ storage }));
  const least = { ...(run.recompute ? {} : { recompute: true as const }), ...fewerRows.at(-1) };
  const smallest = { ...least, ...storages.at(-1) };
  const kinds: readonly (readonly SmallerSettings[])[] = [
    ...(run.recompute ? [] : [[{ recompute: true as const }]]),
    fewerRows,
    ...(run.recompute ? [] : [fewerRows.map((rows) => ({ recompute: true as const, ...rows }))]),
    storages,
    storages.map((storage) => ({ ...least, ...storage })),
    run.recompute ? shorterRows : [],
    shorterRows.map((shorter) => ({ ...least, ...shorter })),
    shorterRows.map((shorter) => ({ ...smallest, ...shorter })),
  ];
  const ways: SmallerRun[] = [];
  for (const kind of kinds) {
    const way = kind
      .map((settings) => ({ settings, totalBytes: estimateRun(changed(run, settings)).total }))
      .find(({ totalBytes }) => totalBytes <= availableBytes);
    if (way && ways.length < mostWays) ways.push(way);
    // What needs several changes is only worth naming where one change does not do.
    if (way && kind.length > 1) break;
  }
  return ways;
}

/** The run with other settings; rows that it evaluates on become shorter as well. */
function changed(run: RunShape, settings: SmallerSettings): RunShape {
  const { evaluation } = run;
  const { sequenceLength = Infinity } = settings;
  const shorter = evaluation && {
    ...evaluation,
    sequenceLength: Math.min(evaluation.sequenceLength, sequenceLength),
  };
  return { ...run, ...settings, evaluation: shorter };
}

/** Storages in fewer bits than a run's that the run can do with. */
function storagesBelow({ storage, modules, tableType, adapters }: RunShape): readonly Storage[] {
  const below = smallerStorages.indexOf(storage);
  if (below >= 0) return smallerStorages.slice(below + 1);
  if (storage !== "float32" && !isSixteenBit(storage)) return [];
  const trained = new Set(
    adapters
      .filter(({ trainable }) => trainable)
      .flatMap(({ method }) => method.parameters.map(({ key }) => modules.parameters.get(key)?.stored)),
  );
  // A matrix in fewer bits cannot itself be trained.
  return smallerStorages.filter((smaller) =>
    storableMatrices(modules, smaller, tableType).every(({ stored }) => !trained.has(stored)),
  );
}

function halvings(from: number, least: number): number[] {
  const values: number[] = [];
  for (let value = Math.floor(from / 2); value >= least; value = Math.floor(value / 2)) values.push(value);
  return values;
}
