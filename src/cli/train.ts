/** @file `deltafit train`: an adapter from a model and data. */
import fs from "node:fs";
import { prepareBase } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { checkpointFolder } from "../fine-tuning/checkpoint-folder.ts";
import { fineTune } from "../fine-tuning/fine-tune.ts";
import type { FineTuneResult } from "../fine-tuning/fine-tune.ts";
import type { TrainingEvent } from "../training/run.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { describeReport } from "./data-set.ts";
import { untilInterrupted } from "./interrupt.ts";
import { describeEstimate } from "./memory-text.ts";
import { peakMemoryBytes } from "./peak-memory.ts";
import { checkOutputFolder } from "./output-folder.ts";
import { profiled } from "./profiled.ts";
import type { RunningMemoryPage } from "./profiled.ts";
import type { Terminal } from "./terminal.ts";
import { trainFlags } from "./train-flags.ts";
import type { TrainValues } from "./train-flags.ts";
import { prepareRun } from "./train-run.ts";
import type { PreparedRun } from "./train-run.ts";
import { writeTrainingNotes } from "./training-notes.ts";
import { createTrainingView, describeMetrics, describeSeconds } from "./training-view.ts";

export const train = defineCommand({
  name: "train",
  summary: "fine-tune a model on data",
  example: `deltafit train --data data.jsonl --epochs 3 --out my-adapter
deltafit train --model org/name --task classification --data sst2.tsv \\
  --rank 8 --targets q_proj,v_proj --learning-rate 3e-4 --out my-adapter`,
  flags: trainFlags,
  run,
});

async function run(values: TrainValues, terminal: Terminal): Promise<CommandResult> {
  return profiled(values.profileMemory, terminal, (profile) => runProfiled(values, terminal, profile));
}

async function runProfiled(
  values: TrainValues,
  terminal: Terminal,
  profile: RunningMemoryPage | undefined,
): Promise<CommandResult> {
  const startMs = performance.now();
  const { out, resume } = values;
  if (resume) checkResumable(out);
  if (out !== undefined) checkOutputFolder(out);
  const prepared = await prepareRun(values, terminal);
  const lines = describeRun(prepared, values);
  if (values.dryRun)
    return { json: { dryRun: true, ...describeForPrograms(prepared, values) }, text: lines.join("\n") };
  for (const line of lines) terminal.note(line);
  if (out === undefined) terminal.warn("without --out the adapter is not kept");
  profile?.describe({
    title: `deltafit train: ${prepared.base.name}, ${describeMethods(prepared, values)}`,
    lines: lines.slice(0, -1),
    run: prepared.shape,
    estimate: prepared.memory,
  });
  // Not under way yet: Ctrl-C ends it at once.
  prepareBase(prepared.base);
  profile?.mark("model opened");
  const result = await trainPrepared(prepared, values, terminal, profile);
  return summaryOf(result, prepared, (performance.now() - startMs) / 1000);
}

function checkResumable(out: string | undefined): void {
  if (out === undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--resume needs --out.",
      "Name the folder of the interrupted run with --out.",
    );
  const folder = checkpointFolder(out, "last");
  if (fs.existsSync(folder)) return;
  throw new DeltafitError(
    "file-missing",
    `There is nothing to resume: expected the state of a run in ${quote(folder)}, found nothing.`,
    "Start without --resume.",
  );
}

async function trainPrepared(
  prepared: PreparedRun,
  values: TrainValues,
  terminal: Terminal,
  profile: RunningMemoryPage | undefined,
): Promise<FineTuneResult> {
  const { base, tokenizer, adapters, frozen, data, evaluationData, sequenceLength, plan, loraPlus } =
    prepared;
  const { batchSize, weightDecay, clip, seed, out, resume, threads } = values;
  const { pack, groupByLength } = values;
  const view = await createTrainingView(terminal);
  const onEvent = (event: TrainingEvent): void => {
    view.onEvent(event);
    if (event.type === "step-end") profile?.mark(`step ${event.step} done`);
    if (event.type === "evaluation-end") profile?.mark("evaluated");
  };
  const session = threads === undefined ? {} : { threads };
  const model = { base, tokenizer, adapter: adapters, frozen, session, recompute: prepared.recompute };
  const addFiles = (folder: string) => {
    writeTrainingNotes(folder, prepared.notes);
  };
  const numbers = { batchSize, pack, groupByLength, sequenceLength, plan, weightDecay, loraPlus, clip, seed };
  try {
    return await untilInterrupted(terminal, (signal) =>
      fineTune({ ...model, ...numbers, data, evaluationData, out, resume, addFiles, onEvent, signal }),
    );
  } finally {
    view.close();
  }
}

function describeMethods({ methods }: PreparedRun, { frozen, initialAdapter }: TrainValues): string {
  const start = initialAdapter === undefined ? "" : ` from ${initialAdapter}`;
  return `${methods.join(" + ")}${start}${frozen === undefined ? "" : ` on ${frozen.join(" + ")}`}`;
}

const percent = (share: number): string => `${(100 * share).toFixed(3)} %`;

function describeRun(prepared: PreparedRun, values: TrainValues): string[] {
  const { base, data, evaluationData, plan, trainableParameters, totalParameters, sequenceLength } = prepared;
  const share = percent(trainableParameters / totalParameters);
  const batch = `${values.batchSize} ${values.pack ? "packed examples" : "rows"}${plan.accumulate === 1 ? "" : ` x ${plan.accumulate}`}`;
  return [
    `model: ${base.name} (${base.model.modelType}), task ${base.settings.task}`,
    `method: ${describeMethods(prepared, values)}, training ${trainableParameters} of ${totalParameters} parameters (${share})`,
    ...describeReport("data", data.report),
    ...(evaluationData ? describeReport("evaluation data", evaluationData.report) : []),
    ...(data.labels ? [`labels: ${describeLabels(data.labels)}`] : []),
    `plan: ${plan.steps} steps of ${batch}, up to ${sequenceLength} tokens a row`,
    `  learning rate ${plan.learningRate}, ${plan.schedule}, warm-up ${plan.warmup} steps`,
    ...describeEstimate(prepared.memory, prepared.availableBytes),
    ...(values.recompute === "auto" ? [`  layers are ${prepared.recompute ? "" : "not "}recomputed`] : []),
  ];
}

function describeLabels({
  count,
  names,
}: {
  readonly count: number;
  readonly names: readonly string[] | undefined;
}): string {
  return names === undefined
    ? `${count}`
    : `${count} (${names.slice(0, 8).join(", ")}${names.length > 8 ? ", ..." : ""})`;
}

function describeForPrograms(prepared: PreparedRun, values: TrainValues): Record<string, unknown> {
  const { base, data, evaluationData, plan, trainableParameters, totalParameters, sequenceLength } = prepared;
  return {
    model: base.name,
    task: base.settings.task,
    method: prepared.methods.join("+"),
    trainableParameters,
    totalParameters,
    steps: plan.steps,
    batchSize: values.batchSize,
    sequenceLength,
    data: data.report,
    evaluationData: evaluationData?.report ?? null,
    labels: data.labels?.names ?? null,
    recompute: prepared.recompute,
    estimatedMemory: prepared.memory,
    availableBytes: prepared.availableBytes,
  };
}

function summaryOf(
  result: FineTuneResult,
  { data, memory: estimatedMemory }: PreparedRun,
  seconds: number,
): CommandResult {
  const { steps, losses, evaluations, trainableParameters, totalParameters, tokens, supervisedTokens } =
    result;
  const { tokensPerSecond, adapterBytes, folder } = result;
  const counts = { trainableParameters, totalParameters, tokens, supervisedTokens, tokensPerSecond };
  const memory = { peakMemoryBytes: peakMemoryBytes(), estimatedMemory, adapterBytes };
  const last = evaluations.at(-1);
  const [from, to] = [losses[0] ?? NaN, losses.at(-1) ?? NaN];
  return {
    json: {
      steps,
      losses,
      evaluations,
      ...counts,
      ...memory,
      adapter: folder ?? null,
      seconds,
      data: data.report,
    },
    text: [
      `trained ${steps} steps in ${describeSeconds(seconds)}: loss ${from.toFixed(4)} at the start, ${to.toFixed(4)} at the end`,
      `${tokensPerSecond.toFixed(0)} tokens/s, at most ${(memory.peakMemoryBytes / 1e6).toFixed(0)} MB of memory`,
      ...(last ? [`evaluation: ${describeMetrics(last.metrics)}`] : []),
      ...(folder === undefined
        ? []
        : [`written to ${folder} (${(adapterBytes / 1e3).toFixed(0)} kB of weights)`]),
    ].join("\n"),
  };
}
