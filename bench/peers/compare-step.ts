/**
 * @file Measures one training step of deltafit beside the same step of PyTorch + PEFT: each side in a process
 * of its own, one after the other, alternating. It measures and does not judge: it ends with 0 unless a side fails.
 *
 *     tsx bench/peers/compare-step.ts --shape smollm2-135m --rounds 3 --repeat 5 [--json]
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { DeltafitError } from "../../src/errors.ts";
import {
  checkedFlags,
  checkedResult,
  describeMachine,
  describeVersions,
  machine,
  ownVersions,
  pairedRatio,
  positiveInteger,
  readJson,
  runScript,
  spread,
} from "../measure.ts";
import type { Spread } from "../measure.ts";
import { configWithoutDropout } from "./model-dropout.ts";
import { deltafitMain, peersPython, repositoryRoot, runForJson } from "./python.ts";

const help = `usage: tsx bench/peers/compare-step.ts [flags]
  --shape NAME               a file of bench/shapes without .json (default smollm2-135m)
  --rounds N                 pairs of processes (default 3)
  --repeat N                 timed steps a process (default 5)
  --rank N, --targets A,B    LoRA (default 8; q_proj,v_proj, or what fits the shape)
  --batch-size N             (default 4)
  --sequence-length N        (default 256)
  --task TASK                causal-lm or classification (default: causal-lm; classification for encoders)
  --threads N                both sides (default: each side's own choice)
  --storage S, --compute C   deltafit's weights and products (default float32, deltafit's own choice)
  --recompute                deltafit recomputes each layer in the backward pass
  --dtype D                  PEFT's base: float32 or bfloat16 (default float32)
  --peft-storage S           PEFT's base in bitsandbytes' four bits, multiplied in --dtype: nf4, nf4-double, fp4, fp4-double
  --compile                  PEFT under torch.compile
  --gradient-checkpointing   PEFT recomputes each layer in the backward pass
  --model-dropout            both sides keep the config's dropout (default: neither has any)
  --json                     one JSON object instead of the table`;

/** What fits a `model_type` where the common `q_proj,v_proj` and causal-lm do not. */
const defaultsByModelType: Readonly<Record<string, { readonly targets: string; readonly task: string }>> = {
  gpt2: { targets: "c_attn", task: "causal-lm" },
  roberta: { targets: "query,value", task: "classification" },
};

const stepResult = z.looseObject({
  tokensPerSecond: z.number().positive(),
  stepMilliseconds: z.looseObject({ median: z.number(), min: z.number(), all: z.array(z.number()) }),
  peakMemoryBytes: z.number().positive(),
  startMilliseconds: z.number().optional(),
  losses: z.array(z.number()).optional(),
  versions: z.record(z.string(), z.string()).optional(),
});
type StepResult = z.infer<typeof stepResult>;

interface Settings {
  readonly shape: string;
  readonly rounds: number;
  readonly repeat: number;
  readonly deltafitArguments: readonly string[];
  readonly peftArguments: readonly string[];
  readonly json: boolean;
}

function readFlags() {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  return parseArgs({
    options: {
      shape: { type: "string", default: "smollm2-135m" },
      rounds: { type: "string", default: "3" },
      repeat: { type: "string", default: "5" },
      rank: { type: "string", default: "8" },
      targets: text,
      "batch-size": { type: "string", default: "4" },
      "sequence-length": { type: "string", default: "256" },
      task: text,
      threads: text,
      storage: { type: "string", default: "float32" },
      compute: text,
      recompute: flag,
      dtype: { type: "string", default: "float32" },
      "peft-storage": text,
      compile: flag,
      "gradient-checkpointing": flag,
      "model-dropout": flag,
      json: { type: "boolean", default: false },
      help: flag,
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

/** Path of a shape's config.json, relative to the repository's root, where both sides run. */
function shapePath(shape: string): string {
  const folder = join("bench", "shapes");
  const path = join(folder, `${shape}.json`);
  if (!existsSync(join(repositoryRoot, path))) {
    const names = readdirSync(join(repositoryRoot, folder)).map((name) => name.replace(/\.json$/, ""));
    throw new DeltafitError(
      "usage-invalid",
      `--shape: '${shape}' is none of ${names.join(", ")}.`,
      "Name one of these.",
    );
  }
  return path;
}

function settingsFrom(flags: Flags): Settings {
  const path = shapePath(flags.shape);
  const { model_type: modelType } = z
    .looseObject({ model_type: z.string() })
    .parse(readJson(join(repositoryRoot, path)));
  const ownPath = flags["model-dropout"] === true ? path : configWithoutDropout(join(repositoryRoot, path));
  const fitting = defaultsByModelType[modelType] ?? { targets: "q_proj,v_proj", task: "causal-lm" };
  const task = flags.task ?? fitting.task;
  const shared = [
    ...["--rank", flags.rank, "--targets", flags.targets ?? fitting.targets],
    ...["--batch-size", flags["batch-size"], "--sequence-length", flags["sequence-length"]],
    ...["--repeat", flags.repeat],
    ...(flags.threads === undefined ? [] : ["--threads", flags.threads]),
  ];
  return {
    shape: flags.shape,
    rounds: positiveInteger("rounds", flags.rounds),
    repeat: positiveInteger("repeat", flags.repeat),
    deltafitArguments: [
      ...["bench", "step", "--model", ownPath, "--random-weights", "0", "--method", "lora", ...shared],
      ...(task === "causal-lm" ? [] : ["--task", task]),
      ...["--storage", flags.storage],
      ...(flags.compute === undefined ? [] : ["--compute", flags.compute]),
      ...(flags.recompute === true ? ["--recompute"] : []),
      "--json",
    ],
    peftArguments: [
      ...["--config", path, "--task", task, ...shared, "--dtype", flags.dtype],
      ...(flags["peft-storage"] === undefined ? [] : ["--storage", flags["peft-storage"]]),
      ...(flags.compile === true ? ["--compile"] : []),
      ...(flags["gradient-checkpointing"] === true ? ["--gradient-checkpointing"] : []),
      ...(flags["model-dropout"] === true ? ["--model-dropout"] : []),
    ],
    json: flags.json,
  };
}

function measure(side: string, command: string, commandArguments: readonly string[]): StepResult {
  return checkedResult(side, stepResult, runForJson(command, commandArguments));
}

function summary(results: readonly StepResult[]) {
  const starts = results.flatMap((result) => result.startMilliseconds ?? []);
  return {
    tokensPerSecond: spread(results.map((result) => result.tokensPerSecond)),
    stepMilliseconds: spread(results.map((result) => result.stepMilliseconds.median)),
    peakMemoryBytes: spread(results.map((result) => result.peakMemoryBytes)),
    ...(starts.length === results.length ? { startMilliseconds: spread(starts) } : {}),
    runs: results,
  };
}

function compare(settings: Settings) {
  const main = deltafitMain();
  const python = peersPython();
  const script = join(repositoryRoot, "bench", "peers", "peft_step.py");
  const deltafitResults: StepResult[] = [];
  const peftResults: StepResult[] = [];
  for (let round = 1; round <= settings.rounds; round += 1) {
    process.stderr.write(`round ${String(round)} of ${String(settings.rounds)}\n`);
    deltafitResults.push(measure("deltafit", process.execPath, [main, ...settings.deltafitArguments]));
    peftResults.push(measure("PEFT", python, [script, ...settings.peftArguments]));
  }
  const deltafit = summary(deltafitResults);
  const peft = summary(peftResults);
  return {
    date: new Date().toISOString(),
    machine: machine(),
    versions: { ...ownVersions(), ...peftResults[0]?.versions },
    shape: settings.shape,
    deltafitArguments: settings.deltafitArguments,
    peftArguments: settings.peftArguments,
    deltafit,
    peft,
    ratios: {
      tokensPerSecond: pairedRatio(deltafit.tokensPerSecond, peft.tokensPerSecond),
      stepMilliseconds: pairedRatio(deltafit.stepMilliseconds, peft.stepMilliseconds),
      peakMemoryBytes: pairedRatio(deltafit.peakMemoryBytes, peft.peakMemoryBytes),
    },
  };
}
type Comparison = ReturnType<typeof compare>;

function row(name: string, deltafit: Spread, peft: Spread, ratio: Spread, divisor = 1): string {
  const value = (measured: Spread) => (measured.median / divisor).toFixed(0).padStart(12);
  const pairs = ratio.all.map((one) => one.toFixed(2)).join(" ");
  return `${name.padEnd(16)}${value(deltafit)}${value(peft)}${ratio.median.toFixed(2).padStart(16)}   ${pairs}`;
}

function table(comparison: Comparison): string {
  const { deltafit, peft, ratios } = comparison;
  return [
    `${comparison.date}  ${describeMachine(comparison.machine)}`,
    describeVersions(comparison.versions),
    `deltafit ${comparison.deltafitArguments.join(" ")}`,
    `peft_step.py ${comparison.peftArguments.join(" ")}`,
    "",
    `${"median".padEnd(16)}${"deltafit".padStart(12)}${"PEFT".padStart(12)}${"deltafit/PEFT".padStart(16)}   pair by pair`,
    row("tokens/s", deltafit.tokensPerSecond, peft.tokensPerSecond, ratios.tokensPerSecond),
    row("step, ms", deltafit.stepMilliseconds, peft.stepMilliseconds, ratios.stepMilliseconds),
    row("peak memory, MB", deltafit.peakMemoryBytes, peft.peakMemoryBytes, ratios.peakMemoryBytes, 1e6),
  ].join("\n");
}

function main(): void {
  const flags = checkedFlags(readFlags);
  if (flags.help === true) {
    process.stdout.write(`${help}\n`);
    return;
  }
  const settings = settingsFrom(flags);
  const comparison = compare(settings);
  process.stdout.write(`${settings.json ? JSON.stringify(comparison) : table(comparison)}\n`);
}

runScript(main);
