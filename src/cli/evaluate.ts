/** @file `deltafit evaluate`: metrics of a model with adapters on data. */
import fs from "node:fs";
import { join } from "node:path";
import { DeltafitError } from "../errors.ts";
import { Evaluator } from "../evaluation/evaluator.ts";
import type { Metrics } from "../evaluation/evaluator.ts";
import { batchSettings } from "../fine-tuning/batch-settings.ts";
import { evaluationBatches } from "../fine-tuning/fine-tune.ts";
import type { Task } from "../models/forward.ts";
import { adapterWeightFlags, weightedAdapters } from "./adapter-weights.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { dataFlags, describeReport, loadDataset, strideFlags } from "./data-set.ts";
import { choice, names, optional, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { endTokenOf, openAdaptedModel, openTokenizer, warnOfOtherTokenizer } from "./model.ts";
import { sequenceLengthOf } from "./sequence-length.ts";
import {
  adapterFlags,
  memoryFlags,
  modelFlags,
  taskNames,
  storageFlags,
  threadFlags,
} from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";
import { describeSeconds } from "./training-view.ts";

const flags = {
  ...modelFlags,
  ...adapterFlags,
  ...adapterWeightFlags,
  task: optional(
    choice(taskNames),
    "Model:",
    "what the model is asked to do",
    "the adapter's task, else the one in which the model writes text",
  ),
  ...dataFlags,
  batchSize: withDefault(wholeNumber(1), "Data:", 8, "rows of a batch"),
  sequenceLength: optional(wholeNumber(1), "Data:", "longest row in tokens", "512, or what the model can"),
  metrics: optional(names(), "Output:", "only these", "all of the task"),
  ...strideFlags,
  ...storageFlags,
  ...memoryFlags,
  ...threadFlags,
} satisfies FlagTable;

export const evaluate = defineCommand({
  name: "evaluate",
  summary: "measure a model with adapters on data",
  example: "deltafit evaluate --adapter my-adapter --data test.jsonl",
  flags,
  run,
});

const metricsOfTask: Readonly<Record<Task, readonly string[]>> = {
  "causal-lm": ["loss", "perplexity", "accuracy"],
  "masked-lm": ["loss", "perplexity", "accuracy"],
  "seq2seq-lm": ["loss", "perplexity", "accuracy"],
  classification: ["loss", "accuracy", "f1", "matthews"],
  "multi-label-classification": ["loss", "accuracy", "f1Micro", "f1Macro"],
  "token-classification": ["loss", "accuracy", "precision", "recall", "f1"],
  "question-answering": ["loss", "exactMatch", "f1"],
  regression: ["loss", "pearson", "spearman"],
};

async function run(values: FlagValues<typeof flags>, terminal: Terminal): Promise<CommandResult> {
  const startMs = performance.now();
  const { base, groups, notes } = await openAdaptedModel(values, terminal);
  const adapters = weightedAdapters(groups, base);
  const { task } = base.settings;
  checkMetrics(values.metrics, task);
  const tokenizer = openTokenizer(base);
  warnOfOtherTokenizer(tokenizer, notes, terminal);
  const data = loadDataset(
    {
      path: values.data,
      split: fs.existsSync(join(values.data, "test.jsonl")) ? "test" : "valid",
      task,
      alpaca: notes?.alpaca ?? values.alpaca,
      sequenceLength: sequenceLengthOf(values.sequenceLength, base, tokenizer, adapters),
      trainOnPrompt: false,
      stride: values.stride,
      eosTokenId: endTokenOf(tokenizer, base),
      labelNames: notes?.labels ?? base.labels,
      labelCount: base.settings.labelCount,
    },
    tokenizer,
    terminal,
  );
  for (const line of describeReport("data", data.report)) terminal.note(line);
  const session = values.threads === undefined ? {} : { session: { threads: values.threads } };
  const evaluator = await Evaluator.create({ base, adapters, labelNames: data.labels?.names, ...session });
  try {
    const order = { batchSize: values.batchSize, seed: maskSeed };
    const settings = { ...batchSettings(base, tokenizer, order), shuffle: false, epochs: 1 };
    const rows = evaluationBatches(data.examples, settings);
    const parameters = Object.fromEntries(adapters.map(({ name, values: own }) => [name, own] as const));
    const metrics = chosen(await evaluator.evaluate(rows, parameters), values.metrics);
    const seconds = (performance.now() - startMs) / 1000;
    const { examples } = data.report;
    return { json: { metrics, examples, seconds, task }, text: describe(metrics, examples, seconds) };
  } finally {
    await evaluator.dispose();
  }
}

function checkMetrics(wanted: readonly string[] | undefined, task: Task): void {
  const stranger = wanted?.find((name) => !metricsOfTask[task].includes(name));
  if (stranger === undefined) return;
  const message = `--metrics: expected ${metricsOfTask[task].join(", ")} for the task ${task}, found ${JSON.stringify(stranger)}.`;
  throw new DeltafitError("usage-invalid", message);
}

function chosen(metrics: Metrics, wanted: readonly string[] | undefined): Metrics {
  return Object.fromEntries(Object.entries(metrics).filter(([name]) => wanted?.includes(name) ?? true));
}

/** Seed of the masks of masked language modelling: every evaluation masks the same tokens. */
const maskSeed = 0;

function describe(metrics: Metrics, examples: number, seconds: number): string {
  const lines = Object.entries(metrics).map(([name, value]) => `${name.padEnd(12)}${value.toPrecision(6)}`);
  return [...lines, `${"examples".padEnd(12)}${examples} in ${describeSeconds(seconds)}`].join("\n");
}
