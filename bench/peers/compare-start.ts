/**
 * @file Measures the way from starting a process to the end of its first training step, on a model in a folder that
 * both sides have used before: imports, opening the weights, adapter, optimiser, step. Each side in a process of its
 * own, one after the other, alternating. It measures and does not judge.
 *
 *     tsx bench/peers/compare-start.ts --model FOLDER --rounds 5 [--json]
 */
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
  runScript,
  spread,
} from "../measure.ts";
import { deltafitMain, peersPython, repositoryRoot, runForJson } from "./python.ts";

const help = `usage: tsx bench/peers/compare-start.ts --model FOLDER [flags]
  --model FOLDER        in Hugging Face layout, with weights
  --rounds N            pairs of processes, after one that is not counted (default 5)
  --task TASK           causal-lm or classification (default causal-lm)
  --targets A,B         of LoRA (default q_proj,v_proj)
  --batch-size N        of the step (default 1)
  --sequence-length N   of the step (default 64)
  --dtype D             PEFT's base: float32 or bfloat16 (default float32)
  --json                one JSON object instead of the table`;

const ourResult = z.looseObject({ firstStepMilliseconds: z.number(), startMilliseconds: z.number() });
const theirResult = z.looseObject({
  importMilliseconds: z.number(),
  startMilliseconds: z.number(),
  warmUpMilliseconds: z.array(z.number()).min(1),
  versions: z.record(z.string(), z.string()),
});

function readFlags() {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  return parseArgs({
    options: {
      model: text,
      rounds: { type: "string", default: "5" },
      task: { type: "string", default: "causal-lm" },
      targets: { type: "string", default: "q_proj,v_proj" },
      "batch-size": { type: "string", default: "1" },
      "sequence-length": { type: "string", default: "64" },
      dtype: { type: "string", default: "float32" },
      json: flag,
      help: flag,
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

function compare(flags: Flags) {
  const { model, task, targets, dtype } = flags;
  if (model === undefined)
    throw new DeltafitError("usage-invalid", "--model is needed.", "--help lists the flags.");
  const step = ["--batch-size", flags["batch-size"], "--sequence-length", flags["sequence-length"]];
  const shared = ["--model", model, "--task", task, "--targets", targets, ...step, "--repeat", "1"];
  const main = deltafitMain();
  const python = peersPython();
  const script = join(repositoryRoot, "bench", "peers", "peft_step.py");
  const ours = () =>
    checkedResult(
      "deltafit",
      ourResult,
      runForJson(process.execPath, [main, "bench", "step", ...shared, "--json"]),
    );
  const theirs = () =>
    checkedResult("PEFT", theirResult, runForJson(python, [script, ...shared, "--dtype", dtype]));
  // Prepares deltafit's weights, and brings both sides' files into the system's cache.
  ours();
  theirs();
  const deltafit: z.output<typeof ourResult>[] = [];
  const peft: z.output<typeof theirResult>[] = [];
  const rounds = positiveInteger("rounds", flags.rounds);
  for (let round = 1; round <= rounds; round += 1) {
    process.stderr.write(`round ${String(round)} of ${String(rounds)}\n`);
    deltafit.push(ours());
    peft.push(theirs());
  }
  const ourFirst = spread(deltafit.map(({ firstStepMilliseconds }) => firstStepMilliseconds));
  const theirFirst = spread(
    peft.map(
      ({ importMilliseconds, startMilliseconds, warmUpMilliseconds }) =>
        importMilliseconds + startMilliseconds + (warmUpMilliseconds[0] ?? NaN),
    ),
  );
  return {
    date: new Date().toISOString(),
    machine: machine(),
    versions: { ...ownVersions(), ...peft[0]?.versions },
    settings: { ...flags },
    deltafit: { firstStepMilliseconds: ourFirst, runs: deltafit },
    peft: { firstStepMilliseconds: theirFirst, runs: peft },
    ratios: { firstStepMilliseconds: pairedRatio(theirFirst, ourFirst) },
  };
}

function table({
  date,
  machine: facts,
  versions,
  deltafit,
  peft,
  ratios,
}: ReturnType<typeof compare>): string {
  const { median, all } = ratios.firstStepMilliseconds;
  const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(2)} s`;
  return [
    `${date}  ${describeMachine(facts)}`,
    describeVersions(versions),
    "",
    "From the start of the process to the end of its first step, medians:",
    `deltafit ${seconds(deltafit.firstStepMilliseconds.median)}, PEFT ${seconds(peft.firstStepMilliseconds.median)}`,
    `deltafit is ${median.toFixed(2)} times as fast; pair by pair ${all.map((one) => one.toFixed(2)).join(" ")}`,
  ].join("\n");
}

function main(): void {
  const flags = checkedFlags(readFlags);
  if (flags.help) {
    process.stdout.write(`${help}\n`);
    return;
  }
  const comparison = compare(flags);
  process.stdout.write(`${flags.json ? JSON.stringify(comparison) : table(comparison)}\n`);
}

runScript(main);
