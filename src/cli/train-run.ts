/** @file From the flags of `deltafit train` to all that a run needs: model, data, adapter and plan. Trains nothing. */
import fs from "node:fs";
import { join } from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import type { Base } from "../base/base.ts";
import type { Dataset } from "../data/examples.ts";
import { DeltafitError } from "../errors.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { totalParameters } from "../fine-tuning/fine-tune.ts";
import { decideRecompute, runLengths, smallerRuns } from "../fine-tuning/run-memory.ts";
import type { DecidedRun, RunShape } from "../fine-tuning/run-memory.ts";
import { checkMembers } from "../fine-tuning/trained-adapters.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import { availableMemoryBytes } from "../runtime/available-memory.ts";
import type { LoraPlusSettings } from "../training/lora-plus.ts";
import type { TrainingPlan } from "../training/run.ts";
import { loadDataset } from "./data-set.ts";
import type { DataSource } from "./data-set.ts";
import { memoryExceeded } from "./memory-text.ts";
import { createAdaptersFromFlags, defaultLearningRate, methodNameOf } from "./methods.ts";
import type { MethodName } from "./method-rows.ts";
import { endTokenOf, findModel, openModel, openTokenizer } from "./model.ts";
import type { FoundModel, StorageOptions } from "./model.ts";
import { findRunAdapters, openRunAdapters } from "./run-adapters.ts";
import type { FoundRunAdapters, RunAdapters } from "./run-adapters.ts";
import { sequenceLengthOf } from "./sequence-length.ts";
import type { Terminal } from "./terminal.ts";
import type { TrainValues } from "./train-flags.ts";
import { fingerprintOf } from "./training-notes.ts";
import type { TrainingNotes } from "./training-notes.ts";

/** Everything a run is made of. */
export interface PreparedRun {
  readonly base: Base;
  readonly tokenizer: Tokenizer;
  readonly data: Dataset;
  readonly evaluationData: Dataset | undefined;
  /** Trained together, the nearest to the base first. */
  readonly adapters: readonly Adapter[];
  /** Active but not trained, under those that are. */
  readonly frozen: readonly Adapter[];
  /** Names of the methods of `adapters`. */
  readonly methods: readonly MethodName[];
  readonly plan: TrainingPlan;
  readonly loraPlus: LoraPlusSettings | undefined;
  readonly sequenceLength: number;
  readonly trainableParameters: number;
  /** Of the base, and what the adapter adds. */
  readonly totalParameters: number;
  readonly notes: TrainingNotes;
  /** What the memory of a step depends on. */
  readonly shape: RunShape;
  /** What a step takes, by its estimate. */
  readonly memory: MemoryBytes;
  readonly availableBytes: number;
  readonly recompute: boolean;
}

const usualEpochs = 3;

export async function prepareRun(values: TrainValues, terminal: Terminal): Promise<PreparedRun> {
  const { task, alpaca, trainOnPrompt, stride } = values;
  const model = await findModel(values.model, terminal, values.randomWeights);
  const found = await findRunAdapters(values, terminal);
  const first = await openModel(model, task, {
    storage: values.storage,
    compute: values.compute,
    labelCount: found.labelCount,
  });
  const tokenizer = openTokenizer(first);
  const opened = openRunAdapters(found, first, values);
  const methods = opened.trained.map(({ methodType }) => methodNameOf(methodType));
  const loraPlus = loraPlusOf(values, methods);
  const active = [...opened.frozen, ...opened.trained];
  const sequenceLength = sequenceLengthOf(values.sequenceLength, first, tokenizer, active);
  const eosTokenId = endTokenOf(tokenizer, first);
  const source = {
    task,
    alpaca,
    trainOnPrompt,
    stride,
    sequenceLength,
    eosTokenId,
    path: values.data,
    split: "train",
  } as const;
  const known = trainedLabels(first, found);
  const data = loadDataset({ ...source, ...known }, tokenizer, terminal);
  const base = await withLabelCount(first, model, data, values);
  const labels = { labelNames: data.labels?.names, labelCount: data.labels?.count };
  const evaluationData = loadEvaluationData(values.evalData, { ...source, ...labels }, tokenizer, terminal);
  const plan = planOf(values, data, methods);
  const { frozen, trained, loaded } = base === first ? opened : openRunAdapters(found, base, values);
  const { run, bytes, availableBytes } = checkMemory(base, { frozen, trained }, values, {
    ...{ data, evaluationData, sequenceLength, plan },
  });
  const tokens = tokenizer.encode(values.promptText ?? "", { addSpecialTokens: false });
  const given = { ...values, promptSource: { tokens, tokenizer: base.name } };
  const adapters =
    loaded ?? createAdaptersFromFlags(base, values.method, given, values.seed, plan.steps, frozen);
  checkMembers(adapters, frozen);
  const notes: TrainingNotes = {
    format: 1,
    task,
    labels: data.labels?.names ? [...data.labels.names] : null,
    labelCount: data.labels?.count ?? null,
    alpaca,
    tokenizer: tokenizer.fingerprint,
    chatTemplate: fingerprintOf(tokenizer.chatTemplate),
  };
  return {
    base,
    tokenizer,
    data,
    evaluationData,
    adapters,
    frozen,
    methods,
    plan,
    loraPlus,
    sequenceLength,
    notes,
    trainableParameters: adapters.reduce((sum, { layout }) => sum + layout.size, 0),
    totalParameters: totalParameters(base, [...frozen, ...adapters]),
    shape: run,
    memory: bytes,
    availableBytes,
    recompute: run.recompute,
  };
}

/** @throws DeltafitError `memory-exceeded` before anything large is made, unless the user will have it so. */
function checkMemory(
  base: Base,
  { frozen, trained }: Pick<RunAdapters, "frozen" | "trained">,
  values: TrainValues,
  given: Pick<PreparedRun, "data" | "evaluationData" | "sequenceLength" | "plan">,
): DecidedRun & { readonly availableBytes: number } {
  const { batchSize, pack, recompute, ignoreMemory } = values;
  const { data, evaluationData, sequenceLength, plan } = given;
  const lengths = runLengths(data.examples, { batchSize, sequenceLength, pack }, evaluationData?.examples);
  const availableBytes = availableMemoryBytes();
  const { accumulate } = plan;
  const adapters = [
    ...frozen.map((each) => ({ ...each, trainable: false })),
    ...trained.map((each) => ({ ...each, trainable: true })),
  ];
  const decided = decideRecompute(
    { ...base, adapters, batchSize, accumulate, ...lengths },
    recompute,
    availableBytes,
  );
  if (decided.bytes.total > availableBytes && !ignoreMemory)
    throw memoryExceeded(decided.bytes, availableBytes, smallerRuns(decided.run, availableBytes));
  return { ...decided, availableBytes };
}

/** The labels that a trained head stands for: an adapter's under the new one, else the checkpoint's. */
function trainedLabels(
  base: Base,
  { notes }: FoundRunAdapters,
): Pick<DataSource, "labelNames" | "labelCount"> {
  if (notes?.labels != null) return { labelNames: notes.labels, labelCount: notes.labels.length };
  return hasTrainedHead(base) ? { labelNames: base.labels, labelCount: base.settings.labelCount } : {};
}

/** A head that the checkpoint brings decides how many labels there are; a new one follows the data. */
function hasTrainedHead({ modules, newParameters, source }: Base): boolean {
  const isOfHead = (name: string): boolean =>
    modules.headModules.some((head) => `${name}.`.startsWith(`${head}.`));
  return source !== undefined && modules.headModules.length > 0 && !newParameters.some(isOfHead);
}

async function withLabelCount(
  base: Base,
  model: FoundModel,
  { labels }: Dataset,
  { storage, compute }: StorageOptions,
): Promise<Base> {
  if (labels === undefined || labels.count === base.settings.labelCount) return base;
  return openModel(model, base.settings.task, { labelCount: labels.count, storage, compute });
}

/** The data that --eval-data names, else what a data folder holds for it. */
function loadEvaluationData(
  evaluationPath: string | undefined,
  source: DataSource,
  tokenizer: Tokenizer,
  terminal: Terminal,
): Dataset | undefined {
  const isInFolder = evaluationPath === undefined && fs.existsSync(join(source.path, "valid.jsonl"));
  const path = isInFolder ? source.path : evaluationPath;
  return path === undefined
    ? undefined
    : loadDataset({ ...source, path, split: "valid" }, tokenizer, terminal);
}

function planOf(values: TrainValues, { report }: Dataset, methods: readonly MethodName[]): TrainingPlan {
  const { batchSize, accumulate, schedule, warmup } = values;
  if (values.steps !== undefined && values.epochs !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--steps and --epochs exclude each other.",
      "Leave one of them out.",
    );
  if (warmup >= 1 && !Number.isInteger(warmup))
    throw new DeltafitError(
      "usage-invalid",
      `--warmup: expected a whole number of updates or a share below 1, found ${warmup}.`,
    );
  const batchCount = Math.ceil(report.examples / batchSize);
  const steps =
    values.steps ?? Math.max(1, Math.ceil((batchCount * (values.epochs ?? usualEpochs)) / accumulate));
  return {
    steps,
    accumulate,
    learningRate: values.learningRate ?? defaultLearningRate(methods),
    schedule,
    warmup: warmup < 1 ? Math.ceil(steps * warmup) : warmup,
    evaluateEvery: values.evalEvery,
    saveEvery: values.saveEvery,
  };
}

/**
 * Rates of LoRA+; adapted embeddings keep the rate of A.
 * @throws DeltafitError `usage-invalid` where no LoRA is trained.
 */
function loraPlusOf(
  { loraPlusRatio: ratio }: Pick<TrainValues, "loraPlusRatio">,
  methods: readonly MethodName[],
): LoraPlusSettings | undefined {
  if (ratio === undefined) return undefined;
  if (methods.includes("lora")) return { ratio, embeddingRatio: 1 };
  throw new DeltafitError(
    "usage-invalid",
    `--lora-plus-ratio: no lora is trained, found ${methods.join(", ")}.`,
    "Leave it out.",
  );
}
