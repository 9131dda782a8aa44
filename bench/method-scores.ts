/**
 * @file Trains a model with every method, and with PEFT's where it has the same one, under one budget of updates, and
 * prints the scores side by side: an encoder that tells sentiment, or a decoder that puts attributes into words.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { DeltafitError } from "../src/errors.ts";
import { checkedFlags, checkedResult, chosenByName, positiveInteger, runScript } from "./measure.ts";
import { deltafitMain, peersPython, repositoryRoot, runForJson, runToEnd } from "./peers/python.ts";
import { exampleBatches } from "./peers/example-batches.ts";
import { commonTargets, scoredMethods } from "./score-methods.ts";
import type { ScoredMethod, ScoredTask } from "./score-methods.ts";

const help = `usage: tsx bench/method-scores.ts --data FILE --eval-data FILE [flags]
  --task NAME           classification or causal-lm (default classification)
  --model FOLDER        (default: the bundled base)
  --data FILE           examples to train on
  --eval-data FILE      examples to evaluate on after the last update
  --steps N             updates (default 100)
  --batch-size N        (default 16)
  --sequence-length N   longest example in tokens (default 64)
  --only NAME,NAME      these methods
  --peers               PEFT as well, on the same batches in the same order
  --same-start          PEFT's initial adapter on both sides, for methods that start at random
  --seed N              (default 0)
  --threads N           both sides (default: each side's own choice)`;

const clip = 1;
const warmup = 0.06;
const weightDecay = 0.01;

const metricsSchema = z.looseObject({ loss: z.number(), accuracy: z.number() });
const ownSchema = z.looseObject({
  evaluations: z.array(z.looseObject({ metrics: metricsSchema })).min(1),
  trainableParameters: z.number(),
});
const peerSchema = z.looseObject({
  name: z.string(),
  metrics: metricsSchema.optional(),
  trainableParameters: z.number().optional(),
  error: z.string().optional(),
});

interface Score {
  readonly loss: number;
  readonly accuracy: number;
  readonly parameters: number;
}

function readFlags() {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  return parseArgs({
    options: {
      task: { type: "string", default: "classification" },
      model: { type: "string", default: join(repositoryRoot, "base") },
      data: text,
      "eval-data": text,
      steps: { type: "string", default: "100" },
      "batch-size": { type: "string", default: "16" },
      "sequence-length": { type: "string", default: "64" },
      only: text,
      peers: flag,
      "same-start": flag,
      seed: { type: "string", default: "0" },
      threads: text,
      help: flag,
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

const isScoredTask = (text: string): text is ScoredTask => Object.hasOwn(commonTargets, text);

function taskOf({ task }: Flags): ScoredTask {
  if (isScoredTask(task)) return task;
  throw new DeltafitError("usage-invalid", `--task: expected classification or causal-lm, found '${task}'.`);
}

function needed(name: "data" | "eval-data", flags: Flags): string {
  const value = flags[name];
  if (value !== undefined) return value;
  throw new DeltafitError("usage-invalid", `--${name} is needed.`, "--help lists the flags.");
}

/** Names of modules with commas between them, or undefined for the method's own choice. */
function targetsOf({ targets }: ScoredMethod, task: ScoredTask): string | undefined {
  if (targets === "default") return undefined;
  return (targets ?? commonTargets)[task];
}

/** Flags that name the method, or the adapter that PEFT's side started from. */
function methodFlags(method: ScoredMethod, task: ScoredTask, initial: string | undefined): readonly string[] {
  const ratio = method.loraPlusRatio === undefined ? [] : ["--lora-plus-ratio", String(method.loraPlusRatio)];
  if (initial !== undefined) return ["--initial-adapter", initial, ...ratio];
  const targets = targetsOf(method, task);
  return [...method.flags, ...ratio, ...(targets === undefined ? [] : ["--targets", targets])];
}

function ownScore(method: ScoredMethod, rate: number, flags: Flags, initial: string | undefined): Score {
  const task = taskOf(flags);
  const printed = runForJson(process.execPath, [
    ...[deltafitMain(), "train", "--json", "--quiet", "--task", task, "--model", flags.model],
    ...["--data", needed("data", flags), "--eval-data", needed("eval-data", flags), "--seed", flags.seed],
    ...["--steps", flags.steps, "--batch-size", flags["batch-size"]],
    ...["--sequence-length", flags["sequence-length"], "--learning-rate", String(rate)],
    ...["--warmup", String(warmup), "--weight-decay", String(weightDecay), "--clip", String(clip)],
    ...(flags.threads === undefined ? [] : ["--threads", flags.threads]),
    ...methodFlags(method, task, initial),
  ]);
  const { evaluations, trainableParameters } = checkedResult("deltafit", ownSchema, printed);
  const { loss, accuracy } = evaluations.at(-1)?.metrics ?? { loss: NaN, accuracy: NaN };
  return { loss, accuracy, parameters: trainableParameters };
}

/** What PEFT's side is told of a method, or undefined where PEFT does not have it. */
function peerRun(method: ScoredMethod, rate: number, { task: taskName, steps }: Flags, initial?: string) {
  const { name, peft, peftOfTask, loraPlusRatio } = method;
  if (peft === undefined || !isScoredTask(taskName)) return undefined;
  const targets = targetsOf(method, taskName);
  return {
    name,
    learningRate: rate,
    configuration: {
      ...peft,
      ...(targets !== undefined && {
        target_modules: targets === "all-linear" ? targets : targets.split(","),
      }),
      ...peftOfTask?.[taskName],
      // AdaLoRA's schedule ends with the run.
      ...(peft["peft_type"] === "ADALORA" && { total_step: positiveInteger("steps", steps) }),
    },
    ...(loraPlusRatio !== undefined && { loraPlusRatio }),
    ...(initial !== undefined && { initial }),
  };
}

/**
 * PEFT's scores by the name of the method; a text says why there is none. All methods run in one process.
 * @param initialOf Where the adapter that a method starts from goes, if anywhere.
 */
function peerScores(
  methods: readonly ScoredMethod[],
  flags: Flags,
  initialOf: (method: ScoredMethod) => string | undefined,
): ReadonlyMap<string, Score | string> {
  const task = taskOf(flags);
  const runs = methods.flatMap(
    (method) => peerRun(method, rateOf(method, task) ?? NaN, flags, initialOf(method)) ?? [],
  );
  const folder = mkdtempSync(join(tmpdir(), "deltafit-bench-"));
  try {
    const settings = join(folder, "settings.json");
    const data = exampleBatches({
      task,
      model: flags.model,
      data: needed("data", flags),
      evaluationData: needed("eval-data", flags),
      steps: positiveInteger("steps", flags.steps),
      batchSize: positiveInteger("batch-size", flags["batch-size"]),
      sequenceLength: positiveInteger("sequence-length", flags["sequence-length"]),
      seed: Number(flags.seed),
    });
    const threads = flags.threads === undefined ? null : positiveInteger("threads", flags.threads);
    const numbers = { threads, seed: Number(flags.seed), warmup, weightDecay, clip };
    writeFileSync(settings, JSON.stringify({ model: flags.model, ...numbers, ...data, runs }));
    const script = join(repositoryRoot, "bench", "peers", "peft_scores.py");
    const { status, stdout } = runToEnd(peersPython(), [script, "--settings", settings]);
    if (status !== 0)
      throw new DeltafitError(
        "runtime-failed",
        `Expected status 0, found ${String(status)}, from ${script}.`,
      );
    return new Map(stdout.split("\n").flatMap((line) => (line === "" ? [] : [peerScore(line)])));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A line that PEFT's side printed: a method's name, and its score or the reason why there is none. */
function peerScore(line: string): readonly [string, Score | string] {
  const result = checkedResult("PEFT", peerSchema, JSON.parse(line));
  if (result.metrics === undefined) return [result.name, result.error ?? "nothing"];
  return [result.name, { ...result.metrics, parameters: result.trainableParameters ?? NaN }];
}

const rateOf = ({ learningRate }: ScoredMethod, task: ScoredTask): number | undefined => learningRate[task];

function describeScore(score: Score | string | undefined, task: ScoredTask): string {
  if (score === undefined) return "-";
  if (typeof score === "string") return score;
  const right = `${(100 * score.accuracy).toFixed(1)} %`;
  return task === "classification"
    ? `${right}, ${score.loss.toFixed(3)}`
    : `${Math.exp(score.loss).toFixed(2)}, ${right}`;
}

function main(): void {
  const flags = checkedFlags(readFlags);
  if (flags.help) {
    process.stdout.write(`${help}\n`);
    return;
  }
  if (flags["same-start"] && !flags.peers)
    throw new DeltafitError(
      "usage-invalid",
      "--same-start needs --peers.",
      "PEFT makes the adapters to start from.",
    );
  const task = taskOf(flags);
  const methods = chosenByName(scoredMethods, flags.only).filter(
    (method) => rateOf(method, task) !== undefined,
  );
  const folder = mkdtempSync(join(tmpdir(), "deltafit-bench-"));
  try {
    printScores(methods, flags, folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param folder For the adapters that PEFT's side starts from. */
function printScores(methods: readonly ScoredMethod[], flags: Flags, folder: string): void {
  const task = taskOf(flags);
  const initialOf = (method: ScoredMethod): string | undefined =>
    flags["same-start"] && method.peft !== undefined
      ? join(folder, String(methods.indexOf(method)))
      : undefined;
  const peers = flags.peers ? peerScores(methods, flags, initialOf) : undefined;
  const measure = task === "classification" ? "accuracy, loss" : "perplexity, tokens right";
  process.stdout.write(
    `| method | learning rate | parameters | deltafit: ${measure} | PEFT |\n| --- | --- | --- | --- | --- |\n`,
  );
  for (const method of methods) {
    const rate = rateOf(method, task) ?? NaN;
    const own = ownScore(method, rate, flags, initialOf(method));
    const theirs = peers?.get(method.name);
    const counts = [own, theirs].flatMap((score) => (typeof score === "object" ? [score.parameters] : []));
    const parameters = [...new Set(counts)].join(" / ");
    const cells = [method.name, rate, parameters, describeScore(own, task), describeScore(theirs, task)];
    process.stdout.write(`| ${cells.join(" | ")} |\n`);
  }
}

runScript(main);
