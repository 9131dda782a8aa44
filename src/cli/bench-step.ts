/** @file `deltafit bench step`: speed and memory of one training step, as a user's run has it. */
import type { Base } from "../base/base.ts";
import { collate } from "../data/batches.ts";
import type { TokenizedExample } from "../data/tokenized-example.ts";
import { DeltafitError } from "../errors.ts";
import { joinValues } from "../fine-tuning/trained-adapters.ts";
import { decideRecompute } from "../fine-tuning/run-memory.ts";
import { availableMemoryBytes } from "../runtime/available-memory.ts";
import type { TaskBatch } from "../tasks/feeds.ts";
import { languageObjective } from "../training/objective.ts";
import { adamWDefaults } from "../training/optimiser.ts";
import { Trainer } from "../training/trainer.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { median } from "./median.ts";
import { profiled } from "./profiled.ts";
import type { RunningMemoryPage } from "./profiled.ts";
import { peakMemoryBytes } from "./peak-memory.ts";
import { createAdaptersFromFlags, defaultLearningRate } from "./methods.ts";
import { findModel, openModel } from "./model.ts";
import { randomTokens } from "./random-tokens.ts";
import { machineFlags, methodFlags, modelFlags, profileFlags, randomWeightsFlags } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Measurement:";

const flags = {
  ...modelFlags,
  ...randomWeightsFlags,
  task: withDefault(
    choice(["causal-lm", "seq2seq-lm", "classification"]),
    "Model:",
    "causal-lm",
    "what the loss is of",
  ),
  ...methodFlags,
  batchSize: withDefault(wholeNumber(1), group, 4, "rows of a batch"),
  sequenceLength: withDefault(
    wholeNumber(2),
    group,
    256,
    "tokens of a row, all of them supervised; of a pair as many are read",
  ),
  repeat: withDefault(wholeNumber(1), group, 5, "steps that are measured, after one that is not"),
  seed: withDefault(wholeNumber(0), group, 0, "of tokens and initial values"),
  ...machineFlags,
  ...profileFlags,
} satisfies FlagTable;

type Values = FlagValues<typeof flags>;

export const benchStep = defineCommand({
  name: "bench step",
  summary: "time of a training step: forward, backward, AdamW",
  example: "deltafit bench step --model config.json --random-weights 0 --repeat 5",
  flags,
  run,
});

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  return profiled(values.profileMemory, terminal, (profile) => measure(values, terminal, profile));
}

async function measure(
  values: Values,
  terminal: Terminal,
  profile: RunningMemoryPage | undefined,
): Promise<CommandResult> {
  const startMs = performance.now();
  const { batchSize, sequenceLength, repeat, seed, method, threads, task } = values;
  const base = await openModel(await findModel(values.model, terminal, values.randomWeights), task, values);
  if (sequenceLength > base.model.maximumPositions)
    throw new DeltafitError(
      "usage-invalid",
      `--sequence-length: expected at most ${base.model.maximumPositions}, the positions of the model, found ${sequenceLength}.`,
    );
  const adapters = createAdaptersFromFlags(base, method, values, seed, undefined);
  const trained = adapters.map((adapter) => ({ ...adapter, trainable: true }));
  const described = { ...base, adapters: trained, batchSize, accumulate: 1, sequenceLength };
  const { run: decided, bytes } = decideRecompute(described, values.recompute, availableMemoryBytes());
  profile?.describe({
    title: `deltafit bench step: ${base.model.modelType}, ${method.join(" + ")}`,
    lines: [`${batchSize} rows of ${sequenceLength} tokens, ${base.storage} weights`],
    run: decided,
    estimate: bytes,
  });
  profile?.mark("model opened");
  const objective = languageObjective({
    ...{ base, adapters, sequenceLength, batchSize },
    recompute: decided.recompute,
  });
  let runtimeMs = 0;
  const onRun = (milliseconds: number): void => {
    runtimeMs += milliseconds;
  };
  const trainer = await Trainer.create({
    objective,
    parameters: joinValues(adapters),
    optimiser: adamWDefaults,
    seed,
    session: { onRun, ...(threads === undefined ? {} : { threads }) },
  });
  const startMilliseconds = performance.now() - startMs;
  profile?.mark("first step");
  try {
    const { lengthMultiple } = objective;
    const examples = makeExamples(base, values, lengthMultiple);
    const makeBatch = () => collate(examples, { padTokenId: 0, padToMultipleOf: lengthMultiple });
    const learningRate = defaultLearningRate(method);
    const first = await timeSteps(trainer, makeBatch, 1, learningRate);
    // Counted from the process's own start.
    const firstStepMilliseconds = performance.now();
    runtimeMs = 0;
    profile?.mark("next steps");
    const steps = await timeSteps(trainer, makeBatch, repeat, learningRate);
    const wholeMs = steps.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    return summaryOf([...first, ...steps], values, {
      firstStepMilliseconds,
      hostShare: (wholeMs - runtimeMs) / wholeMs,
      graphNodes: objective.graph.nodes.length,
      startMilliseconds,
      trainableParameters: objective.layout.size,
      estimatedMemoryBytes: bytes.total,
    });
  } finally {
    await trainer.dispose();
  }
}

interface TimedStep {
  readonly milliseconds: number;
  readonly loss: number;
}

async function timeSteps(
  trainer: Trainer<TaskBatch>,
  makeBatch: () => TaskBatch,
  count: number,
  learningRate: number,
): Promise<TimedStep[]> {
  const steps: TimedStep[] = [];
  while (steps.length < count) {
    const startMs = performance.now();
    const { loss } = await trainer.step([makeBatch()], learningRate);
    steps.push({ milliseconds: performance.now() - startMs, loss });
  }
  return steps;
}

function makeExamples(
  { model, settings }: Base,
  { batchSize, sequenceLength, seed }: Values,
  multiple: number,
): TokenizedExample[] {
  if (sequenceLength % multiple !== 0)
    throw new DeltafitError(
      "usage-invalid",
      `--sequence-length: expected a multiple of ${multiple} from 128 on, found ${sequenceLength}.`,
    );
  const ids = randomTokens(batchSize * sequenceLength, model.vocabularySize, seed);
  return Array.from({ length: batchSize }, (_, row) => {
    const inputIds = ids.slice(row * sequenceLength, (row + 1) * sequenceLength);
    if (settings.task === "seq2seq-lm") return { inputIds, targets: inputIds };
    return settings.task === "causal-lm"
      ? { inputIds, labels: inputIds }
      : { inputIds, label: row % settings.labelCount };
  });
}

function summaryOf(
  steps: readonly TimedStep[],
  { batchSize, sequenceLength, repeat }: Values,
  facts: Readonly<Record<string, number>>,
): CommandResult {
  const all = steps.slice(-repeat).map(({ milliseconds }) => milliseconds);
  const middle = median(all);
  const tokensPerSecond = (batchSize * sequenceLength) / (middle / 1000);
  const stepMilliseconds = { median: middle, min: Math.min(...all), all };
  const memory = peakMemoryBytes();
  return {
    json: {
      tokensPerSecond,
      stepMilliseconds,
      peakMemoryBytes: memory,
      ...facts,
      losses: steps.map(({ loss }) => loss),
    },
    text: [
      `${tokensPerSecond.toFixed(0)} tokens/s: ${middle.toFixed(1)} ms a step of ${batchSize} x ${sequenceLength} tokens (median of ${repeat})`,
      `${(100 * (facts["hostShare"] ?? 0)).toFixed(1)} % of it outside the runtime; first step done ${((facts["firstStepMilliseconds"] ?? 0) / 1000).toFixed(2)} s after the process started`,
      `at most ${(memory / 1e6).toFixed(0)} MB of memory, ${facts["graphNodes"] ?? 0} nodes in the graph`,
    ].join("\n"),
  };
}
