/**
 * @file Holds the memory estimate against what runs take: for each of several runs, what `deltafit memory` says before
 * it and the largest resident set of a process that makes the steps. One process after the other.
 *
 *     tsx bench/estimate-memory.ts [--only NAME,NAME] [--json]
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
  runScript,
} from "./measure.ts";
import { deltafitMain, runForJson } from "./peers/python.ts";

const help = `usage: tsx bench/estimate-memory.ts [flags]
  --only NAME,NAME   only these of: NAMES
  --json             one JSON object instead of the table`;

interface MeasuredRun {
  readonly name: string;
  /** A file of bench/shapes, or "" for the bundled base. */
  readonly shape: string;
  readonly size: readonly [batchSize: number, sequenceLength: number];
  readonly flags: readonly string[];
}

const classification = ["--task", "classification"];
const runs: readonly MeasuredRun[] = [
  { name: "base-lora", shape: "", size: [16, 128], flags: ["--targets", "all-linear"] },
  { name: "base-full", shape: "", size: [8, 128], flags: ["--method", "full"] },
  {
    name: "minilm-lora",
    shape: "minilm",
    size: [32, 64],
    flags: [...classification, "--targets", "query,value"],
  },
  { name: "smollm2-lora", shape: "smollm2-135m", size: [4, 256], flags: ["--targets", "q_proj,v_proj"] },
  {
    name: "smollm2-lora-recompute",
    shape: "smollm2-135m",
    size: [4, 256],
    flags: ["--targets", "q_proj,v_proj", "--recompute"],
  },
  { name: "smollm2-prefix", shape: "smollm2-135m", size: [1, 512], flags: ["--method", "prefix-tuning"] },
  {
    name: "gpt2-dora",
    shape: "gpt2",
    size: [4, 128],
    flags: ["--targets", "c_attn,c_fc", "--magnitude"],
  },
  { name: "gpt2-full", shape: "gpt2", size: [1, 128], flags: ["--method", "full"] },
  {
    name: "roberta-bitfit",
    shape: "roberta-base",
    size: [16, 64],
    flags: [...classification, "--method", "bitfit"],
  },
  {
    name: "qwen2.5-lora-recompute",
    shape: "qwen2.5-0.5b",
    size: [1, 256],
    flags: ["--targets", "all-linear", "--recompute"],
  },
  {
    name: "smollm2-int8-products",
    shape: "smollm2-135m",
    size: [4, 256],
    flags: ["--targets", "q_proj,v_proj", "--compute", "int8"],
  },
  {
    name: "gpt2-lora-dropout",
    shape: "gpt2",
    size: [4, 128],
    flags: ["--targets", "c_attn", "--dropout", "0.1"],
  },
  {
    name: "minilm-full",
    shape: "minilm",
    size: [32, 64],
    flags: [...classification, "--method", "full"],
  },
  {
    name: "smollm2-nf4",
    shape: "smollm2-135m",
    size: [4, 256],
    flags: ["--targets", "all-linear", "--storage", "nf4"],
  },
  {
    name: "qwen2.5-nf4-recompute",
    shape: "qwen2.5-0.5b",
    size: [1, 256],
    flags: ["--targets", "all-linear", "--storage", "nf4", "--recompute"],
  },
];

const stepResult = z.looseObject({ peakMemoryBytes: z.number() });
const memoryResult = z.looseObject({ bytes: z.record(z.string(), z.number()) });

function readFlags() {
  return parseArgs({
    options: {
      only: { type: "string" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

function deltafit(name: string, words: readonly string[]): unknown {
  process.stderr.write(`${name}: deltafit ${words.join(" ")}\n`);
  return runForJson(process.execPath, [deltafitMain(), ...words, "--json"]);
}

function measure({ name, shape, size, flags }: MeasuredRun) {
  const model = shape === "" ? [] : ["--model", `bench/shapes/${shape}.json`];
  const weights = shape === "" ? [] : ["--random-weights", "0"];
  const sizes = ["--batch-size", String(size[0]), "--sequence-length", String(size[1])];
  const estimated = checkedResult(
    name,
    memoryResult,
    deltafit(name, ["memory", ...model, ...sizes, ...flags]),
  );
  const step = ["bench", "step", ...model, ...weights, ...flags];
  // Whoever makes the random weights holds some of them: that is no part of a run.
  deltafit(`${name}, weights`, [...step, "--batch-size", "1", "--sequence-length", "8", "--repeat", "1"]);
  const measured = checkedResult(name, stepResult, deltafit(name, [...step, ...sizes, "--repeat", "3"]));
  return { name, size, estimated: estimated.bytes, measured: measured.peakMemoryBytes };
}

function bench(flags: Flags) {
  const results = chosenByName(runs, flags.only).map(measure);
  return { date: new Date().toISOString(), machine: machine(), versions: ownVersions(), results };
}

function table({ date, machine: facts, versions, results }: ReturnType<typeof bench>): string {
  const megabytes = (bytes = NaN) => (bytes / 1e6).toFixed(0);
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => (column === 0 ? cell.padEnd(24) : cell.padStart(10))).join("");
  return [
    date,
    describeMachine(facts),
    describeVersions(versions),
    "",
    line(["MB", "rows", "tokens", "estimate", "measured", "ratio"]),
    ...results.map(({ name, size, estimated, measured }) =>
      line([
        name,
        ...size.map(String),
        megabytes(estimated["total"]),
        megabytes(measured),
        ((estimated["total"] ?? NaN) / measured).toFixed(3),
      ]),
    ),
  ].join("\n");
}

runScript(() => {
  const flags = checkedFlags(readFlags);
  if (flags.help) {
    console.log(help.replace("NAMES", runs.map(({ name }) => name).join(", ")));
    return;
  }
  const result = bench(flags);
  console.log(flags.json ? JSON.stringify(result) : table(result));
});
