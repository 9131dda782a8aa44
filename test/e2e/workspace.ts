/**
 * @file A clean folder with a tiny model and data in it, and the command run there as users run it: a process of its
 * own, with its exit code and both streams.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openBase, storedParameters } from "../../src/base/base.ts";
import type { Task } from "../../src/models/forward.ts";
import { writeSafetensors } from "../../src/files/safetensors-write.ts";
import { float32Tensor } from "../../src/tensor/tensor.ts";
import { expect } from "vitest";
import { temporaryFolder } from "../support/temporary-folder.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const command = path.join(repository, "dist", "cli", "main.js");

export interface Outcome {
  /** `undefined` where a signal ended the process. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly outcome: Promise<Outcome>;
  /** Resolves when stderr has shown a text. */
  readonly shown: (text: string) => Promise<void>;
  readonly signal: (name: NodeJS.Signals) => void;
}

export interface Workspace {
  readonly folder: string;
  /** The absolute path of a file in it. */
  readonly at: (...names: string[]) => string;
  readonly write: (name: string, content: string | Uint8Array) => void;
  /** Runs `deltafit` in the folder, and waits for its end. The folder's own name is shown as FOLDER. */
  readonly deltafit: (...words: string[]) => Promise<Outcome>;
  readonly start: (...words: string[]) => Running;
  /** Runs a command with `--json --quiet` that must succeed with nothing on stderr, and returns its object. */
  readonly json: (...words: string[]) => Promise<Record<string, unknown>>;
}

/** A Llama of two layers, 16 wide, for the vocabulary of the bundled base's tokenizer. */
export const tinyLlama = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 2048,
  hidden_size: 16,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 8,
  max_position_embeddings: 128,
  tie_word_embeddings: false,
  initializer_range: 0.2,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 1,
};

export function createWorkspace(): Workspace {
  const folder = temporaryFolder();
  const environment = {
    PATH: process.env["PATH"],
    HOME: folder,
    DELTAFIT_CACHE: path.join(folder, ".cache"),
    HF_HUB_OFFLINE: "1",
  };
  const at = (...names: string[]): string => path.join(folder, ...names);
  const start = (...words: string[]): Running => {
    const child = spawn(process.execPath, [command, ...words], {
      cwd: folder,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const pieces = { stdout: "", stderr: "" };
    const watchers: (() => void)[] = [];
    for (const stream of ["stdout", "stderr"] as const)
      child[stream].setEncoding("utf8").on("data", (piece: string) => {
        pieces[stream] += piece;
        for (const watcher of watchers) watcher();
      });
    const clean = (text: string): string => text.replaceAll(folder, "FOLDER");
    return {
      outcome: new Promise((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code) =>
          resolve({
            exitCode: code ?? undefined,
            stdout: clean(pieces.stdout),
            stderr: clean(pieces.stderr),
          }),
        );
      }),
      shown: (text) =>
        new Promise((resolve, reject) => {
          const look = (): void => {
            if (pieces.stderr.includes(text)) resolve();
          };
          watchers.push(look);
          child.on("close", () => reject(new Error(`ended without saying ${text}:\n${pieces.stderr}`)));
          look();
        }),
      signal: (name) => child.kill(name),
    };
  };
  const deltafit = (...words: string[]): Promise<Outcome> => start(...words).outcome;
  return {
    folder,
    at,
    write(name, content) {
      fs.mkdirSync(path.dirname(at(name)), { recursive: true });
      fs.writeFileSync(at(name), content);
    },
    deltafit,
    start,
    async json(...words) {
      const { exitCode, stdout, stderr } = await deltafit(...words, "--json", "--quiet");
      if (exitCode !== 0 || stderr !== "" || !stdout.endsWith("}\n") || stdout.trim().includes("\n"))
        throw new Error(`deltafit ${words.join(" ")}: exit code ${exitCode ?? "none"}\n${stdout}\n${stderr}`);
      return JSON.parse(stdout) as Record<string, unknown>;
    },
  };
}

/** Writes a model folder with random weights and the bundled base's tokenizer. */
export async function writeTinyModel(
  { at, write }: Workspace,
  name = "model",
  changes: Readonly<Record<string, unknown>> = {},
  task: Task = "causal-lm",
): Promise<void> {
  write(`${name}/config.json`, JSON.stringify({ ...tinyLlama, ...changes }));
  for (const file of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
    fs.copyFileSync(path.join(repository, "base", file), at(name, file));
  const earlier = process.env["DELTAFIT_CACHE"];
  process.env["DELTAFIT_CACHE"] = at(".cache");
  try {
    const base = await openBase({ path: at(name, "config.json"), task, randomWeights: 7 });
    const tensors = storedParameters(base.modules).map(({ stored, shape }) => ({
      name: stored,
      tensor: float32Tensor(shape, base.read(stored)),
    }));
    writeSafetensors(at(name, "model.safetensors"), tensors, { format: "pt" });
  } finally {
    if (earlier === undefined) delete process.env["DELTAFIT_CACHE"];
    else process.env["DELTAFIT_CACHE"] = earlier;
  }
}

const foods = ["bread", "soup", "fish", "rice"];

/** Twelve examples of prompt and completion. */
export function writePromptData({ write }: Workspace, name = "data.jsonl"): void {
  const rows = Array.from({ length: 12 }, (_, index) => {
    const food = foods[index % foods.length] ?? "";
    return {
      prompt: `food: ${food}, rating: ${index}\n`,
      completion: `They serve ${food} and it is rated ${index}.`,
    };
  });
  write(name, rows.map((row) => JSON.stringify(row)).join("\n"));
}

/** Twelve sentences that are good or bad. */
export function writeLabelledData({ write }: Workspace, name = "labelled.jsonl"): void {
  const rows = Array.from({ length: 12 }, (_, index) => {
    const label = index % 2 === 0 ? "good" : "bad";
    return { sentence: `The ${foods[index % foods.length] ?? ""} was ${label}.`, label };
  });
  write(name, rows.map((row) => JSON.stringify(row)).join("\n"));
}

/** Stand for values of which a test says nothing but their type. */
export const anyNumber: unknown = expect.any(Number);
export const anyList: unknown = expect.any(Array);
export const anyObject: unknown = expect.any(Object);

/** A folder with a tiny model in `model` and prompts with answers in `data.jsonl`. */
export async function promptWorkspace(): Promise<Workspace> {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  return workspace;
}
