/**
 * @file Measures deltafit alone: one training step of several shapes, what of it is spent outside the runtime, and the
 * time from the start of a process to the end of its first step. Each figure comes from a process of its own.
 *
 *     npm run bench -- [--only NAME,NAME] [--repeat N] [--json]
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import {
  checkedFlags,
  checkedResult,
  chosenByName,
  describeMachine,
  describeVersions,
  machine,
  ownVersions,
  positiveInteger,
  runScript,
} from "./measure.ts";
import { deltafitMain, runForJson } from "./peers/python.ts";

const help = `usage: npm run bench -- [flags]
  --only NAME,NAME   only these of: NAMES
  --repeat N         timed steps a process, after one that is not (default 3)
  --threads N        (default: one for each physical core)
  --json             one JSON object instead of the table`;

interface Workload {
  readonly name: string;
  /** A file of bench/shapes, or "" for the bundled base. */
  readonly shape: string;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly flags: readonly string[];
}

const classification = ["--task", "classification", "--targets", "query,value"];
const workloads: readonly Workload[] = [
  {
    name: "bundled base",
    shape: "",
    batchSize: 8,
    sequenceLength: 128,
    flags: ["--targets", "q_proj,v_proj"],
  },
  { name: "minilm", shape: "minilm", batchSize: 32, sequenceLength: 32, flags: classification },
  { name: "smollm2-135m", shape: "smollm2-135m", batchSize: 4, sequenceLength: 256, flags: [] },
  { name: "gpt2", shape: "gpt2", batchSize: 4, sequenceLength: 256, flags: ["--targets", "c_attn"] },
  { name: "roberta-base", shape: "roberta-base", batchSize: 16, sequenceLength: 128, flags: classification },
];

const stepResult = z.looseObject({
  tokensPerSecond: z.number(),
  stepMilliseconds: z.looseObject({ median: z.number() }),
  peakMemoryBytes: z.number(),
  hostShare: z.number(),
  firstStepMilliseconds: z.number(),
});

function readFlags() {
  return parseArgs({
    options: {
      only: { type: "string" },
      repeat: { type: "string", default: "3" },
      threads: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

function measure(workload: Workload, flags: Flags) {
  const { name, shape, batchSize, sequenceLength } = workload;
  process.stderr.write(`${name}\n`);
  const model = shape === "" ? [] : ["--model", `bench/shapes/${shape}.json`, "--random-weights", "0"];
  const size = ["--batch-size", String(batchSize), "--sequence-length", String(sequenceLength)];
  const repeat = ["--repeat", String(positiveInteger("repeat", flags.repeat))];
  const threads = flags.threads === undefined ? [] : ["--threads", flags.threads];
  const words = ["bench", "step", ...model, ...workload.flags, ...size, ...repeat, ...threads, "--json"];
  const printed = runForJson(process.execPath, [deltafitMain(), ...words]);
  return { name, batchSize, sequenceLength, ...checkedResult(name, stepResult, printed) };
}

function bench(flags: Flags) {
  const results = chosenByName(workloads, flags.only).map((workload) => measure(workload, flags));
  return { date: new Date().toISOString(), machine: machine(), versions: ownVersions(), results };
}

function table({ date, machine: facts, versions, results }: ReturnType<typeof bench>): string {
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(14) : cell.padStart(11))).join("");
  return [
    `${date}  ${describeMachine(facts)}`,
    describeVersions(versions),
    "",
    line(["", "batch", "step, ms", "tokens/s", "memory, MB", "own share", "start, s"]),
    ...results.map((result) =>
      line([
        result.name,
        `${String(result.batchSize)} x ${String(result.sequenceLength)}`,
        result.stepMilliseconds.median.toFixed(0),
        result.tokensPerSecond.toFixed(0),
        (result.peakMemoryBytes / 1e6).toFixed(0),
        `${(100 * result.hostShare).toFixed(1)} %`,
        (result.firstStepMilliseconds / 1000).toFixed(2),
      ]),
    ),
  ].join("\n");
}

function main(): void {
  const flags = checkedFlags(readFlags);
  if (flags.help) {
    const names = workloads.map(({ name }) => name).join(", ");
    process.stdout.write(`${help.replace("NAMES", names)}\n`);
    return;
  }
  const result = bench(flags);
  process.stdout.write(`${flags.json ? JSON.stringify(result) : table(result)}\n`);
}

runScript(main);
