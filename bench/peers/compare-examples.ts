/**
 * @file Measures fine-tuning on real examples of many lengths beside the usual loop of PyTorch + PEFT, which pads each
 * batch to its longest example: the same batches on every side, in a random order, prompts without labels. Each side
 * runs in a process of its own, one after the other, alternating. It measures and does not judge.
 *
 *     tsx bench/peers/compare-examples.ts --data FILE --tokenizer FOLDER --rounds 3 --steps 5 [--json]
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { batchOrder } from "../../src/data/batches.ts";
import type { TokenLabelledExample } from "../../src/data/tokenized-example.ts";
import { loadTokenizer, parseRows, readRowFile, tokenizeData } from "../../src/index.ts";
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
import { withoutDropout } from "./model-dropout.ts";
import { peersPython, repositoryRoot, runForJson } from "./python.ts";

const help = `usage: tsx bench/peers/compare-examples.ts --data FILE --tokenizer FOLDER [flags]
  --data FILE           examples that deltafit reads, with prompts and answers
  --tokenizer FOLDER    a folder with tokenizer.json
  --shape NAME          a file of bench/shapes without .json (default smollm2-135m)
  --compute C           deltafit's products: float32 or int8 (default float32)
  --dtypes A,B          PEFT's bases: float32, bfloat16 (default bfloat16,float32)
  --rounds N            processes of each side (default 3)
  --steps N             timed steps a process, after one that is not (default 5)
  --batch-size N        (default 8)
  --sequence-length N   longest example in tokens (default 512)
  --rank N              of LoRA on q_proj and v_proj (default 8)
  --no-pack             deltafit pads as well
  --threads N           both sides (default: each side's own choice)
  --json                one JSON object instead of the table`;

const sideResult = z.looseObject({
  stepMilliseconds: z.array(z.number()).min(1),
  processorMilliseconds: z.number(),
  losses: z.array(z.number()),
  supervisedTokens: z.number(),
  trainableParameters: z.number(),
  peakMemoryBytes: z.number(),
  padding: z.number().optional(),
  versions: z.record(z.string(), z.string()).optional(),
});
type SideResult = z.infer<typeof sideResult>;

function readFlags() {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  return parseArgs({
    options: {
      data: text,
      tokenizer: text,
      shape: { type: "string", default: "smollm2-135m" },
      compute: { type: "string", default: "float32" },
      dtypes: { type: "string", default: "bfloat16,float32" },
      rounds: { type: "string", default: "3" },
      steps: { type: "string", default: "5" },
      "batch-size": { type: "string", default: "8" },
      "sequence-length": { type: "string", default: "512" },
      rank: { type: "string", default: "8" },
      "no-pack": flag,
      threads: text,
      json: flag,
      help: flag,
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

function needed(name: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new DeltafitError("usage-invalid", `--${name} is needed.`, "--help lists the flags.");
}

/** Examples of the data, prompts without labels, and the vocabulary's size. */
function readExamples(flags: Flags) {
  const tokenizer = loadTokenizer(needed("tokenizer", flags.tokenizer));
  const { rows } = readRowFile(needed("data", flags.data), { split: "train" });
  const data = tokenizeData(parseRows(rows, "causal-lm", { alpaca: "stanford" }), "causal-lm", tokenizer, {
    sequenceLength: positiveInteger("sequence-length", flags["sequence-length"]),
    trainOnPrompt: false,
    // The last id of GPT-2's vocabulary and its relatives ends a text, where the folder does not say.
    eosTokenId: tokenizer.eosTokenId ?? tokenizer.vocabularySize - 1,
  });
  const examples = data.examples.filter((example): example is TokenLabelledExample => "labels" in example);
  return { examples, vocabularySize: tokenizer.vocabularySize };
}

/** The files that both sides read: the shape with the tokenizer's vocabulary, examples, and batches. */
function writeInputs(flags: Flags, folder: string) {
  const { examples, vocabularySize } = readExamples(flags);
  const batchSize = positiveInteger("batch-size", flags["batch-size"]);
  const steps = positiveInteger("steps", flags.steps) + 1;
  const rank = positiveInteger("rank", flags.rank);
  const sequenceLength = positiveInteger("sequence-length", flags["sequence-length"]);
  const threads = flags.threads === undefined ? null : positiveInteger("threads", flags.threads);
  const shape = z
    .record(z.string(), z.unknown())
    .parse(readJson(join(repositoryRoot, "bench", "shapes", `${flags.shape}.json`)));
  const path = (name: string) => join(folder, name);
  const config = path("config.json");
  const write = (name: string, value: unknown): void => {
    writeFileSync(path(name), JSON.stringify(value));
  };
  write("config.json", { ...withoutDropout(shape), vocab_size: vocabularySize });
  const common = { config, batchSize, steps, sequenceLength, rank, targets: ["q_proj", "v_proj"], threads };
  const pick = ({ inputIds, labels }: TokenLabelledExample) => ({ inputIds, labels });
  write("settings.json", {
    ...common,
    compute: flags.compute,
    pack: !flags["no-pack"],
    examples: examples.map(pick),
  });
  const order = batchOrder(examples.length, { batchSize, epoch: 0, seed: 0 }).slice(0, steps);
  const batches = order.map((batch) => batch.flatMap((index) => examples[index] ?? []).map(pick));
  write("batches.json", { batches });
  return { settings: path("settings.json"), batches: path("batches.json"), config, batchSize };
}

function compare(flags: Flags, folder: string) {
  const { settings, batches, config, batchSize } = writeInputs(flags, folder);
  const python = peersPython();
  const rounds = positiveInteger("rounds", flags.rounds);
  const here = (name: string) => join(repositoryRoot, "bench", "peers", name);
  const measure = (side: string, command: string, words: readonly string[]): SideResult =>
    checkedResult(side, sideResult, runForJson(command, words));
  const dtypes = flags.dtypes.split(",");
  const deltafit: SideResult[] = [];
  const peft = new Map(dtypes.map((dtype) => [dtype, [] as SideResult[]]));
  for (let round = 1; round <= rounds; round += 1) {
    process.stderr.write(`round ${String(round)} of ${String(rounds)}\n`);
    deltafit.push(
      measure("deltafit", process.execPath, ["--import", "tsx", here("deltafit-examples.ts"), settings]),
    );
    for (const [dtype, results] of peft) {
      const own = ["--config", config, "--batches", batches, "--dtype", dtype, "--rank", flags.rank];
      const threads = flags.threads === undefined ? [] : ["--threads", flags.threads];
      results.push(measure(`PEFT ${dtype}`, python, [here("peft_examples.py"), ...own, ...threads]));
    }
  }
  const all = [deltafit, ...peft.values()].flat();
  const counts = new Set(all.map(({ supervisedTokens }) => supervisedTokens));
  if (counts.size !== 1)
    throw new DeltafitError("runtime-failed", "The sides did not train on the same tokens.");
  const ours = summaryOf(deltafit, batchSize);
  return {
    date: new Date().toISOString(),
    machine: machine(),
    versions: { ...ownVersions(), ...all.find(({ versions }) => versions)?.versions },
    settings: { ...flags },
    deltafit: ours,
    peft: Object.fromEntries(
      [...peft].map(([dtype, results]) => {
        const theirs = summaryOf(results, batchSize);
        const ratios = {
          examplesPerSecond: pairedRatio(ours.examplesPerSecond, theirs.examplesPerSecond),
          examplesPerProcessorSecond: pairedRatio(
            ours.examplesPerProcessorSecond,
            theirs.examplesPerProcessorSecond,
          ),
          peakMemoryBytes: pairedRatio(ours.peakMemoryBytes, theirs.peakMemoryBytes),
        };
        return [dtype, { ...theirs, padding: results[0]?.padding, ratios }];
      }),
    ),
  };
}

function summaryOf(results: readonly SideResult[], batchSize: number) {
  const perSecond = ({ stepMilliseconds }: SideResult) =>
    (1000 * batchSize * stepMilliseconds.length) / stepMilliseconds.reduce((sum, one) => sum + one, 0);
  return {
    examplesPerSecond: spread(results.map(perSecond)),
    examplesPerProcessorSecond: spread(
      results.map(
        ({ stepMilliseconds, processorMilliseconds }) =>
          (1000 * batchSize * stepMilliseconds.length) / processorMilliseconds,
      ),
    ),
    peakMemoryBytes: spread(results.map(({ peakMemoryBytes }) => peakMemoryBytes)),
    runs: results,
  };
}

function table({ date, machine: facts, versions, deltafit, peft }: ReturnType<typeof compare>): string {
  const line = (name: string, side: ReturnType<typeof summaryOf>) =>
    [
      name.padEnd(16),
      side.examplesPerSecond.median.toFixed(2).padStart(14),
      side.examplesPerProcessorSecond.median.toFixed(2).padStart(24),
      (side.peakMemoryBytes.median / 1e6).toFixed(0).padStart(14),
    ].join("");
  const pairs = ({ median, all }: Spread) =>
    `${median.toFixed(2)} (${all.map((one) => one.toFixed(2)).join(" ")})`;
  return [
    `${date}  ${describeMachine(facts)}`,
    describeVersions(versions),
    "",
    `${"median".padEnd(16)}${"examples/s".padStart(14)}${"a processor second".padStart(24)}${"memory, MB".padStart(14)}`,
    line("deltafit", deltafit),
    ...Object.entries(peft).map(([dtype, side]) => line(`PEFT ${dtype}`, side)),
    "",
    ...Object.entries(peft).flatMap(([dtype, { ratios }]) => [
      `deltafit / PEFT ${dtype}, median and pair by pair:`,
      `  examples/s ${pairs(ratios.examplesPerSecond)}`,
      `  examples a processor second ${pairs(ratios.examplesPerProcessorSecond)}`,
    ]),
  ].join("\n");
}

function main(): void {
  const flags = checkedFlags(readFlags);
  if (flags.help) {
    process.stdout.write(`${help}\n`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "deltafit-bench-"));
  try {
    const comparison = compare(flags, folder);
    process.stdout.write(`${flags.json ? JSON.stringify(comparison) : table(comparison)}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

runScript(main);
