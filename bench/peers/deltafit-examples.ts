/**
 * @file deltafit's side of `compare-examples`: fine-tunes on the examples of a file as a user's program would, and
 * prints the time of each step. A process of its own, so that both sides start alike.
 *
 *     tsx bench/peers/deltafit-examples.ts SETTINGS.json
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { createAdapter, fineTune, loraDefaults, openBase } from "../../src/index.ts";

const settingsSchema = z.strictObject({
  config: z.string(),
  examples: z.array(z.strictObject({ inputIds: z.array(z.int()), labels: z.array(z.int()) })),
  batchSize: z.int(),
  steps: z.int(),
  sequenceLength: z.int(),
  rank: z.int(),
  targets: z.array(z.string()),
  pack: z.boolean(),
  compute: z.enum(["float32", "int8"]),
  threads: z.int().nullable(),
});

const [path = ""] = process.argv.slice(2);
const settings = settingsSchema.parse(JSON.parse(readFileSync(path, "utf8")));
const { config, examples, batchSize, steps, sequenceLength, rank, targets, pack, compute, threads } =
  settings;
const base = await openBase({ path: config, name: "shape", task: "causal-lm", randomWeights: 0, compute });
const configuration = { ...loraDefaults, rank, alpha: 2 * rank, targets };
const stepMilliseconds: number[] = [];
let startMs = 0;
let processorStart = process.cpuUsage();
const tokens = examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0);
const longest = Math.max(...examples.map(({ inputIds }) => inputIds.length));
const counts = { examples: examples.length, tokens, supervisedTokens: 0, truncated: 0, longest };
const { losses, supervisedTokens, trainableParameters } = await fineTune({
  base,
  tokenizer: {
    padTokenId: 0,
    eosTokenId: 0,
    maskTokenId: undefined,
    vocabularySize: base.model.vocabularySize,
  },
  adapter: createAdapter({ base, type: "LORA", configuration, seed: 0 }),
  data: {
    examples,
    report: { format: { name: "text", used: [], ignored: [], decision: "" }, dropped: [], ...counts },
    labels: undefined,
  },
  plan: { steps, accumulate: 1, learningRate: 1e-4, schedule: "constant", warmup: 0 },
  batchSize,
  sequenceLength,
  pack,
  seed: 0,
  ...(threads === null ? {} : { session: { threads } }),
  onEvent(event) {
    if (event.type !== "step-end") return;
    const nowMs = performance.now();
    // The first step warms up; the time between two ends holds all that a step costs the loop.
    if (event.step > 1) stepMilliseconds.push(nowMs - startMs);
    else processorStart = process.cpuUsage();
    startMs = nowMs;
  },
});
const { user, system } = process.cpuUsage(processorStart);
const processorMilliseconds = (user + system) / 1000;
const peakMemoryBytes = process.resourceUsage().maxRSS * 1024;
process.stdout.write(
  `${JSON.stringify({ stepMilliseconds, processorMilliseconds, losses, supervisedTokens, trainableParameters, peakMemoryBytes })}\n`,
);
