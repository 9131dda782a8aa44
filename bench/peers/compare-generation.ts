/**
 * @file Measures reading a prompt and generating from it, of deltafit beside llama.cpp (node-llama-cpp) on random weights
 * of the same shape: each side in a process of its own, one after the other, alternating. It measures and does not judge.
 *
 *     tsx bench/peers/compare-generation.ts --shape smollm2-135m --rounds 3 [--json]
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { median } from "../../src/cli/median.ts";
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
import { peersPython, repositoryRoot, runForJson, runToEnd } from "./python.ts";

const help = `usage: tsx bench/peers/compare-generation.ts [flags]
  --shape NAME          a llama shape of bench/shapes without .json (default smollm2-135m)
  --rounds N            pairs of processes (default 3)
  --repeat N            timed rounds a process (default 3)
  --prompt-tokens N     (default 448)
  --new-tokens N        (default 64)
  --threads N           both sides (default 2)
  --storage S           deltafit's weights (default int4); llama.cpp has Q4_0
  --compute C           deltafit's products (default int8, as llama.cpp's are)
  --json                one JSON object instead of the table
DELTAFIT_PEERS_LLAMA names the folder in which node-llama-cpp is installed; the model for it is written by the Python of
DELTAFIT_PEERS_PYTHON, which needs the package gguf.`;

const sideResult = z.looseObject({
  prefillMilliseconds: z.array(z.number().positive()).min(1),
  stepMilliseconds: z.array(z.number().positive()).min(1),
  versions: z.record(z.string(), z.string()).optional(),
});
type SideResult = z.infer<typeof sideResult>;

function readFlags() {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  const flag = { type: "boolean", default: false } as const;
  return parseArgs({
    options: {
      shape: text("smollm2-135m"),
      rounds: text("3"),
      repeat: text("3"),
      "prompt-tokens": text("448"),
      "new-tokens": text("64"),
      threads: text("2"),
      storage: text("int4"),
      compute: text("int8"),
      json: flag,
      help: flag,
    },
  }).values;
}
type Flags = ReturnType<typeof readFlags>;

/** The folder with node-llama-cpp. @throws DeltafitError `file-missing`. */
function llamaFolder(): string {
  const folder = process.env["DELTAFIT_PEERS_LLAMA"] ?? "";
  if (folder !== "" && existsSync(join(folder, "node_modules", "node-llama-cpp"))) return folder;
  throw new DeltafitError(
    "file-missing",
    "The other side is not installed: DELTAFIT_PEERS_LLAMA names no folder with node-llama-cpp.",
    "In an empty folder: npm install node-llama-cpp@3.22. Then name it in DELTAFIT_PEERS_LLAMA.",
  );
}

/** Prompt and new tokens a second, the median of a process's rounds. */
function rates({ prefillMilliseconds, stepMilliseconds }: SideResult, promptTokens: number) {
  return {
    prefill: (1000 * promptTokens) / median(prefillMilliseconds),
    decode: 1000 / median(stepMilliseconds),
  };
}

function compare(flags: Flags) {
  const config = join("bench", "shapes", `${flags.shape}.json`);
  const peers = join(repositoryRoot, "bench", "peers");
  const folder = llamaFolder();
  const promptTokens = positiveInteger("prompt-tokens", flags["prompt-tokens"]);
  const shared = {
    promptTokens,
    newTokens: positiveInteger("new-tokens", flags["new-tokens"]),
    rounds: positiveInteger("repeat", flags.repeat),
    threads: positiveInteger("threads", flags.threads),
  };
  const own = JSON.stringify({ ...shared, storage: flags.storage, compute: flags.compute });
  const tsx = join(repositoryRoot, "node_modules", "tsx", "dist", "cli.mjs");
  const scratch = mkdtempSync(join(tmpdir(), "deltafit-gguf-"));
  try {
    const model = join(scratch, "model.gguf");
    const written = runToEnd(peersPython(), [join(peers, "random_gguf.py"), config, model]);
    if (written.status !== 0)
      throw new DeltafitError("runtime-failed", "random_gguf.py failed.", "It needs the package gguf.");
    const ours: SideResult[] = [];
    const theirs: SideResult[] = [];
    const rounds = positiveInteger("rounds", flags.rounds);
    for (let round = 1; round <= rounds; round += 1) {
      process.stderr.write(`round ${String(round)} of ${String(rounds)}\n`);
      const node = (script: readonly string[]) => runForJson(process.execPath, script);
      ours.push(
        checkedResult(
          "deltafit",
          sideResult,
          node([tsx, join(peers, "deltafit-generation.ts"), config, own]),
        ),
      );
      const their = [join(peers, "llama_generation.mjs"), folder, model, JSON.stringify(shared)];
      theirs.push(checkedResult("llama.cpp", sideResult, node(their)));
    }
    const summary = (kind: "prefill" | "decode") => {
      const of = (results: readonly SideResult[]) =>
        spread(results.map((result) => rates(result, promptTokens)[kind]));
      const [deltafit, llama] = [of(ours), of(theirs)];
      return { deltafit, llama, ratio: pairedRatio(deltafit, llama) };
    };
    return {
      date: new Date().toISOString(),
      machine: machine(),
      versions: { ...ownVersions(), ...theirs[0]?.versions },
      settings: { ...flags },
      prefill: summary("prefill"),
      decode: summary("decode"),
      runs: { deltafit: ours, llama: theirs },
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
type Comparison = ReturnType<typeof compare>;

function table(comparison: Comparison): string {
  const row = (name: "prefill" | "decode") => {
    const { deltafit, llama, ratio } = comparison[name];
    const pairs = ratio.all.map((one) => one.toFixed(2)).join(" ");
    const values = [deltafit, llama].map((side) => side.median.toFixed(1).padStart(12)).join("");
    return `${`${name}, tokens/s`.padEnd(20)}${values}${ratio.median.toFixed(2).padStart(20)}   ${pairs}`;
  };
  const heads = ["deltafit", "llama.cpp"].map((side) => side.padStart(12)).join("");
  return [
    `${comparison.date}  ${describeMachine(comparison.machine)}`,
    describeVersions(comparison.versions),
    "",
    `${"median".padEnd(20)}${heads}${"deltafit/llama.cpp".padStart(20)}   pair by pair`,
    row("prefill"),
    row("decode"),
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
