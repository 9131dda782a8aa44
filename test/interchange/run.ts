/**
 * @file Exchanges adapters with Python PEFT in both directions and compares logits: what deltafit's command line
 * trains must load in PEFT, what PEFT writes must load in deltafit, and both must compute the same. Bases are tiny
 * random models in the folder DELTAFIT_REFERENCE (default: test/reference/cases).
 *
 * Ends with a line `N passed, N failed, N skipped`, and with status 1 where a check failed.
 */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { deltafitMain, peersPython, repositoryRoot, runForJson, runToEnd } from "../../bench/peers/python.ts";
import { DeltafitError } from "../../src/errors.ts";
import type { Task } from "../../src/models/forward.ts";
import { deltafitLogits, type InputBatch } from "./deltafit-side.ts";
import { type Logits, readLogits } from "./logits-file.ts";
import { writeTrainingData, writeTokenizer } from "./tiny-data.ts";

/** Two float32 programs that add in another order differ by about 1e-6 on these models. */
const tolerance = 1e-4;

/** An adapter that changes the logits by less than this would pass without being applied. */
const smallestEffect = 1e-2;

interface InterchangeCase {
  /** Where it is not the base's own. */
  readonly name?: string;
  /** Folder under `models/` of the reference cases. */
  readonly base: string;
  readonly task: Task;
  readonly targets: readonly string[];
  /** What PEFT adapts, where its names are others. */
  readonly peftTargets?: readonly string[];
  /** Folder under `methods/` whose stored logits show that the Python side works. */
  readonly reference: string;
}

const cases: readonly InterchangeCase[] = [
  { base: "llama", task: "causal-lm", targets: ["q_proj", "v_proj"], reference: "llama-lora" },
  {
    base: "llama_tied",
    task: "causal-lm",
    targets: ["k_proj", "o_proj", "down_proj"],
    reference: "llama_tied-lora_bias",
  },
  { base: "gpt2", task: "causal-lm", targets: ["c_attn"], reference: "gpt2-lora" },
  {
    name: "gpt2 by slices",
    base: "gpt2",
    task: "causal-lm",
    targets: ["c_attn.query", "c_attn.value"],
    peftTargets: ["c_attn"],
    reference: "gpt2-lora",
  },
  { base: "roberta_cls", task: "classification", targets: ["query", "value"], reference: "roberta_cls-lora" },
  { base: "bert_mlm", task: "masked-lm", targets: ["query", "value"], reference: "bert_mlm-lora" },
  {
    base: "bert_multi",
    task: "multi-label-classification",
    targets: ["query", "value"],
    reference: "bert_multi-lora",
  },
  { base: "bert_tok", task: "token-classification", targets: ["query", "value"], reference: "bert_tok-lora" },
  {
    base: "distilbert_qa",
    task: "question-answering",
    targets: ["q_lin", "v_lin"],
    reference: "distilbert_qa-lora",
  },
  { base: "llama_qa", task: "question-answering", targets: ["q_proj", "v_proj"], reference: "llama_qa-lora" },
  {
    base: "mixtral",
    task: "causal-lm",
    targets: ["q_proj", "gate", "w1", "w2", "w3"],
    // PEFT loads adapters of experts onto transformers' fused ones, but writes others.
    peftTargets: ["q_proj", "v_proj"],
    reference: "mixtral-lora-experts",
  },
];

const nameOf = ({ name, base }: InterchangeCase): string => name ?? base;

/** An interchange case with the files that this run makes for it. */
interface PreparedCase extends InterchangeCase {
  readonly folder: string;
  readonly baseFolder: string;
  readonly dataFile: string;
  readonly inputsFile: string;
  readonly referenceAdapter: string;
  readonly inputs: InputBatch;
}

const batchSchema = z.looseObject({
  forward: z.looseObject({
    input_ids: z.array(z.array(z.number())),
    attention_mask: z.array(z.array(z.number())),
    token_type_ids: z.array(z.array(z.number())).optional(),
  }),
});

function readInputs(path: string): InputBatch {
  const { forward } = batchSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  return {
    inputIds: forward.input_ids,
    attentionMask: forward.attention_mask,
    ...(forward.token_type_ids === undefined ? {} : { tokenTypeIds: forward.token_type_ids }),
  };
}

function referenceFolder(): string {
  const folder = resolve(
    repositoryRoot,
    process.env["DELTAFIT_REFERENCE"] ?? join("test", "reference", "cases"),
  );
  if (!existsSync(join(folder, "models"))) {
    throw new DeltafitError(
      "file-missing",
      `${folder} holds no reference cases: it has no folder 'models'.`,
      "Name the folder of the reference cases in DELTAFIT_REFERENCE.",
    );
  }
  return folder;
}

/** A copy of the base with a tokenizer, and training data for it; the reference folder itself stays as it is. */
function prepare(one: InterchangeCase, reference: string, workFolder: string): PreparedCase {
  const folder = join(workFolder, nameOf(one));
  const baseFolder = join(folder, "base");
  mkdirSync(baseFolder, { recursive: true });
  for (const name of ["config.json", "model.safetensors", "generation_config.json"]) {
    const source = join(reference, "models", one.base, name);
    if (existsSync(source)) cpSync(source, join(baseFolder, name));
  }
  const inputsFile = join(reference, "models", one.base, "inputs.json");
  const vocabularySize = writeTokenizer(baseFolder);
  return {
    ...one,
    folder,
    baseFolder,
    dataFile: writeTrainingData(folder, one.task, vocabularySize),
    inputsFile,
    referenceAdapter: join(reference, "methods", one.reference),
    inputs: readInputs(inputsFile),
  };
}

const peftWritten = (one: PreparedCase) => join(one.folder, "written-by-peft");
const deltafitWritten = (one: PreparedCase) => join(one.folder, "written-by-deltafit");
const logitsOf = (adapter: string) => `${adapter}.logits.safetensors`;
const referenceLogits = (one: PreparedCase) => join(one.folder, "reference.logits.safetensors");

/** Runs a script of this folder over many jobs in one process; failed jobs are told on stderr and leave no output. */
function runPython(python: string, script: string, workFolder: string, jobs: readonly object[]): void {
  const jobsFile = join(workFolder, `${script}.jobs.json`);
  writeFileSync(jobsFile, JSON.stringify(jobs));
  runToEnd(python, [join(repositoryRoot, "test", "interchange", script), "--jobs", jobsFile]);
}

function peftWrites(python: string, workFolder: string, prepared: readonly PreparedCase[]): void {
  const jobs = prepared.map((one, index) => ({
    base: one.baseFolder,
    task: one.task,
    settings: { r: 4, lora_alpha: 8, target_modules: one.peftTargets ?? one.targets },
    seed: index,
    out: peftWritten(one),
  }));
  runPython(python, "write_adapter.py", workFolder, jobs);
}

function peftReads(python: string, workFolder: string, prepared: readonly PreparedCase[]): void {
  const jobs = prepared.flatMap((one) => {
    const job = { base: one.baseFolder, task: one.task, inputs: one.inputsFile };
    const adapters = [peftWritten(one), deltafitWritten(one)].filter((adapter) => existsSync(adapter));
    const reference = {
      ...job,
      inputs: join(one.referenceAdapter, "inputs.json"),
      adapter: join(one.referenceAdapter, "adapter"),
      out: referenceLogits(one),
    };
    return [
      ...adapters.map((adapter) => ({ ...job, adapter, out: logitsOf(adapter) })),
      ...(existsSync(reference.adapter) ? [reference] : []),
    ];
  });
  runPython(python, "read_adapter.py", workFolder, jobs);
}

/** Trains an adapter with deltafit's command line, as a user would. */
function deltafitTrains(one: PreparedCase): void {
  runForJson(process.execPath, [
    ...[deltafitMain(), "train", "--model", one.baseFolder, "--data", one.dataFile, "--task", one.task],
    ...["--method", "lora", "--rank", "4", "--targets", one.targets.join(","), "--seed", "0"],
    ...["--steps", "5", "--batch-size", "2", "--sequence-length", "16", "--learning-rate", "1e-2"],
    ...["--out", deltafitWritten(one), "--json"],
  ]);
}

/** Largest difference over the positions that hold a token, NaN if any is: padding rows can be anything. */
function largestDifference(expected: Logits, found: Float32Array, mask: InputBatch["attentionMask"]): number {
  const shape = expected.shape.join(" x ");
  assert.equal(
    found.length,
    expected.data.length,
    `Expected ${shape} logits, found ${String(found.length)} numbers.`,
  );
  const perToken = expected.shape.length === 3;
  const width = expected.shape.at(-1) ?? 1;
  const flatMask = mask.flat();
  let largest = 0;
  for (const [index, value] of expected.data.entries()) {
    if (perToken && flatMask[Math.floor(index / width)] === 0) continue;
    const difference = Math.abs(value - (found[index] ?? NaN));
    if (Number.isNaN(difference)) return NaN;
    largest = Math.max(largest, difference);
  }
  return largest;
}

function requireClose(what: string, difference: number): void {
  const limit = `at most ${String(tolerance)} allowed`;
  assert.ok(difference <= tolerance, `${what}: logits differ by ${String(difference)}, ${limit}.`);
}

/** PEFT's logits for an adapter; refuses those that no adapter has changed. */
function peftLogits(path: string, mask: InputBatch["attentionMask"]): Logits {
  assert.ok(existsSync(path), "PEFT gave no logits for this adapter; see its messages above.");
  const logits = readLogits(path, "logits");
  const effect = largestDifference(logits, readLogits(path, "base_logits").data, mask);
  assert.ok(
    effect >= smallestEffect,
    `The adapter changes the logits by ${String(effect)} only: nothing is shown.`,
  );
  return logits;
}

async function compareWithPeft(one: PreparedCase, adapter: string): Promise<void> {
  const mask = one.inputs.attentionMask;
  const expected = peftLogits(logitsOf(adapter), mask);
  const found = await deltafitLogits(one.baseFolder, adapter, one.task, one.inputs);
  requireClose("deltafit against PEFT", largestDifference(expected, found, mask));
}

function compareWithReference(one: PreparedCase): void {
  const { attentionMask } = readInputs(join(one.referenceAdapter, "inputs.json"));
  const stored = readLogits(join(one.referenceAdapter, "expected.safetensors"), "logits");
  const found = peftLogits(referenceLogits(one), attentionMask);
  requireClose("PEFT against the stored logits", largestDifference(stored, found.data, attentionMask));
}

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

async function check(tally: Tally, name: string, body: () => void | Promise<void>): Promise<void> {
  try {
    await body();
    tally.passed += 1;
    process.stdout.write(`passed  ${name}\n`);
  } catch (error) {
    tally.failed += 1;
    process.stdout.write(
      `failed  ${name}\n        ${error instanceof Error ? error.message : String(error)}\n`,
    );
  }
}

async function checkCase(
  tally: Tally,
  one: PreparedCase,
  trainingErrors: ReadonlyMap<string, unknown>,
): Promise<void> {
  if (existsSync(one.referenceAdapter)) {
    await check(tally, `${nameOf(one)}: PEFT gives the stored logits of ${one.reference}`, () =>
      compareWithReference(one),
    );
  } else {
    tally.skipped += 1;
    process.stdout.write(`skipped ${nameOf(one)}: ${one.referenceAdapter} does not exist\n`);
  }
  await check(tally, `${nameOf(one)}: PEFT loads what deltafit trained`, () => {
    if (trainingErrors.has(nameOf(one))) throw trainingErrors.get(nameOf(one));
    return compareWithPeft(one, deltafitWritten(one));
  });
  await check(tally, `${nameOf(one)}: deltafit loads what PEFT wrote`, () =>
    compareWithPeft(one, peftWritten(one)),
  );
}

async function main(): Promise<void> {
  const python = peersPython();
  const reference = referenceFolder();
  const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  const present = cases.filter((one) => existsSync(join(reference, "models", one.base)));
  for (const absent of cases.filter((one) => !present.includes(one))) {
    tally.skipped += 3;
    process.stdout.write(
      `skipped ${nameOf(absent)}: ${join(reference, "models", absent.base)} does not exist\n`,
    );
  }
  const workFolder = mkdtempSync(join(tmpdir(), "deltafit-interchange-"));
  const prepared = present.map((one) => prepare(one, reference, workFolder));
  const trainingErrors = new Map<string, unknown>();
  for (const one of prepared) {
    try {
      deltafitTrains(one);
    } catch (error) {
      trainingErrors.set(nameOf(one), error);
    }
  }
  peftWrites(python, workFolder, prepared);
  peftReads(python, workFolder, prepared);
  for (const one of prepared) await checkCase(tally, one, trainingErrors);
  if (tally.failed === 0) rmSync(workFolder, { recursive: true });
  else process.stdout.write(`The files of this run are kept in ${workFolder}\n`);
  const { passed, failed, skipped } = tally;
  process.stdout.write(`${String(passed)} passed, ${String(failed)} failed, ${String(skipped)} skipped\n`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

try {
  await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  if (DeltafitError.isInstance(error) && error.hint !== undefined)
    process.stderr.write(`hint: ${error.hint}\n`);
  process.exitCode = DeltafitError.isInstance(error) ? error.exitCode : 1;
}
