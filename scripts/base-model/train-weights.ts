/**
 * @file Command: trains the bundled base from scratch by deltafit's own full training, on the generated corpus.
 *
 *   npm run base:train            (about 25 minutes on two cores)
 *
 * Writes base/model.safetensors (float16) and base/training.json (settings and loss curve).
 */
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAdapter } from "../../src/adapters/adapter.ts";
import { writeMergedModel } from "../../src/adapters/merged-model.ts";
import { openBase } from "../../src/base/base.ts";
import type { Dataset } from "../../src/data/examples.ts";
import { ignoredLabel } from "../../src/data/tokenized-example.ts";
import type { TokenizedExample } from "../../src/data/tokenized-example.ts";
import { loadTokenizer } from "../../src/files/tokenizer.ts";
import { fineTune } from "../../src/fine-tuning/fine-tune.ts";
import { generateDocuments } from "./corpus.ts";

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: "base" },
    documents: { type: "string", default: "124000" },
    epochs: { type: "string", default: "1" },
    "learning-rate": { type: "string", default: "3e-3" },
    threads: { type: "string", default: "0" },
    seed: { type: "string", default: "1" },
    /** Folder of the run's state: an interrupted run goes on from there. */
    state: { type: "string" },
  },
});
const { folder } = values;
const seed = Number(values.seed);
const sequenceLength = 256;
const batchSize = 32;
/** Held-out documents come from a seed far from every other. */
const heldOutSeed = seed + 1_000_003;
const heldOutDocuments = 1_200;

const tokenizer = loadTokenizer(folder);
const end = tokenizer.eosTokenId ?? 0;

/** Documents one after the other, cut into rows of equal length: no token is padding. */
function packed(texts: Iterable<string>, skip: ReadonlySet<string>, seen?: Set<string>): Dataset {
  const rows: TokenizedExample[] = [];
  let pending: number[] = [];
  let tokens = 0;
  for (const text of texts) {
    if (skip.has(text) || seen?.has(text)) continue;
    seen?.add(text);
    pending.push(...tokenizer.encode(text, { addSpecialTokens: false }), end);
    for (; pending.length >= sequenceLength; pending = pending.slice(sequenceLength)) {
      const inputIds = pending.slice(0, sequenceLength);
      rows.push({ inputIds, labels: inputIds.map((id, position) => (position === 0 ? ignoredLabel : id)) });
      tokens += sequenceLength;
    }
  }
  const format = { name: "text" as const, used: [], ignored: [], decision: "packed documents" };
  const report = {
    format,
    examples: rows.length,
    tokens,
    supervisedTokens: tokens - rows.length,
    truncated: 0,
    longest: sequenceLength,
    dropped: [],
  };
  return { examples: rows, report, labels: undefined };
}

const heldOutTexts = new Set(generateDocuments(heldOutSeed, heldOutDocuments));
const evaluationData = packed(heldOutTexts, new Set());
const data = packed(generateDocuments(seed, Number(values.documents)), heldOutTexts, new Set());
const steps = Math.ceil((data.examples.length * Number(values.epochs)) / batchSize);
process.stderr.write(`${data.report.tokens} tokens, ${steps} steps\n`);

const base = await openBase({ path: folder, task: "causal-lm", randomWeights: seed });
const adapter = createAdapter({ base, type: "FULL", configuration: {}, seed });
const plan = {
  steps,
  accumulate: 1,
  learningRate: Number(values["learning-rate"]),
  schedule: "cosine" as const,
  warmup: 60,
  evaluateEvery: 100,
  saveEvery: 100,
};
const weightDecay = 0.1;
const started = performance.now();
const result = await fineTune({
  base,
  tokenizer,
  adapter,
  data,
  evaluationData,
  batchSize,
  sequenceLength,
  plan,
  weightDecay,
  clip: 1,
  seed,
  out: values.state,
  resume: true,
  session: { threads: Number(values.threads) },
  onEvent(event) {
    if (event.type === "step-end" && event.step % 20 === 0)
      process.stderr.write(
        `step ${event.step}/${event.steps} loss ${event.loss.toFixed(4)} ${event.tokensPerSecond.toFixed(0)} tokens/s, ${Math.round(event.secondsLeft)} s left\n`,
      );
    if (event.type === "evaluation-end")
      process.stderr.write(`held-out ${JSON.stringify(event.evaluation)}\n`);
  },
});

const scratch = mkdtempSync(join(tmpdir(), "deltafit-base-"));
try {
  await writeMergedModel(base, [result.adapter], join(scratch, "model"), { dtype: "float16" });
  copyFileSync(join(scratch, "model", "model.safetensors"), join(folder, "model.safetensors"));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const everyTenth = result.losses.flatMap((loss, step) =>
  step % 10 === 0 ? [[step, Number(loss.toFixed(4))]] : [],
);
const report = {
  command: "npm run base:train",
  settings: {
    documents: Number(values.documents),
    epochs: Number(values.epochs),
    sequenceLength,
    batchSize,
    ...plan,
    weightDecay,
    clip: 1,
    seed,
    heldOutSeed,
    heldOutDocuments,
  },
  tokens: result.tokens,
  parameters: result.trainableParameters,
  minutes: Number(((performance.now() - started) / 60_000).toFixed(1)),
  evaluations: result.evaluations,
  losses: everyTenth,
};
writeFileSync(join(folder, "training.json"), `${JSON.stringify(report)}\n`);
