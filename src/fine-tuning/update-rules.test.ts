/** @file Training with a method that adds to the loss and changes its parameters after updates. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import { createAdapter } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { loadAdapter, saveAdapter } from "../adapters/folder.ts";
import type { Base } from "../base/base.ts";
import type { Dataset } from "../data/examples.ts";
import { adaloraDefaults } from "../methods/adalora.ts";
import type { AdaloraConfiguration } from "../methods/adalora.ts";
import { oftDefaults } from "../methods/oft.ts";
import { fineTune } from "./fine-tune.ts";
import type { FineTuneOptions } from "./fine-tune.ts";

const scratch = scratchFolder();
let base: Base;
beforeAll(async () => {
  base = await tinyBase(scratch.path);
});
afterAll(() => {
  scratch.dispose();
});

const examples = Array.from({ length: 12 }, (_, row) => {
  const inputIds = Array.from({ length: 6 }, (_value, at) => (row * 5 + at * (row + 1)) % 12);
  return { inputIds, labels: inputIds };
});
const data: Dataset = {
  examples,
  report: {
    format: { name: "text", used: ["text"], ignored: [], decision: "text" },
    examples: 12,
    tokens: 72,
    supervisedTokens: 72,
    truncated: 0,
    longest: 6,
    dropped: [],
  },
  labels: undefined,
};

const configuration: AdaloraConfiguration = {
  ...adaloraDefaults,
  targets: ["q_proj", "v_proj"],
  rank: 2,
  initialRank: 4,
  totalSteps: 10,
  initialSteps: 2,
  finalSteps: 2,
};
const adaptive = (settings: Partial<AdaloraConfiguration> = {}): Adapter =>
  createAdapter({ base, type: "ADALORA", configuration: { ...configuration, ...settings }, seed: 1 });

function run(adapter: Adapter, options: Partial<FineTuneOptions> = {}) {
  return fineTune({
    base,
    adapter,
    data,
    tokenizer: { padTokenId: 0, eosTokenId: 1, maskTokenId: undefined, vocabularySize: 12 },
    batchSize: 4,
    sequenceLength: 8,
    plan: { steps: 10, accumulate: 1, learningRate: 1e-2, schedule: "linear", warmup: 2 },
    seed: 3,
    session: { threads: 1 },
    ...options,
  });
}

test("keeps the budget of ranks, and files hold those that are left", async () => {
  const out = join(scratch.path, "budget");
  const { adapter } = await run(adaptive(), { out });
  if (adapter.methodType !== "ADALORA") throw new Error(adapter.methodType);
  const ranks = Object.values(adapter.configuration.ranks ?? {});
  expect(ranks.map((left) => left.length)).toEqual([4, 4, 4, 4]);
  expect(ranks.flat().filter(Boolean)).toHaveLength(8);
  const loaded = loadAdapter(out, base);
  expect(loaded.configuration).toEqual(adapter.configuration);
  expect(loaded.values).toEqual(adapter.values);
});

test("an interrupted run resumes to the bytes of one that never stopped", async () => {
  const whole = await run(adaptive());
  const out = join(scratch.path, "parts");
  const stop = new AbortController();
  const interrupted = () =>
    run(adaptive(), {
      out,
      signal: stop.signal,
      onEvent(event) {
        if (event.type === "step-end" && event.step === 6) stop.abort();
      },
    });
  expect(await rejectionOf(interrupted)).toEqual({
    code: "interrupted",
    message: "Interrupted after step 6 of 10.",
    hint: "Go on with --resume.",
  });
  const resumed = await run(adaptive(), { out, resume: true });
  expect(resumed.losses).toEqual(whole.losses);
  expect(resumed.adapter.configuration).toEqual(whole.adapter.configuration);
  expect(resumed.adapter.values).toEqual(whole.adapter.values);
});

test("a run with another schedule of ranks does not go on from it", async () => {
  const out = join(scratch.path, "other");
  await run(adaptive(), { out });
  const failure = await rejectionOf(() => run(adaptive({ finalSteps: 3 }), { out, resume: true }));
  expect(failure.message).toMatch(/: method was "[0-9a-f]+" and is now "[0-9a-f]+"\.$/);
});

test("the term of the loss is added once for an update, whatever it is made from", async () => {
  const plan = { steps: 1, learningRate: 1e-2, schedule: "constant", warmup: 0 } as const;
  const heavy = () => adaptive({ orthogonality: 50 });
  const whole = await run(heavy(), { batchSize: 12, plan: { ...plan, accumulate: 1 } });
  const parts = await run(heavy(), { batchSize: 2, plan: { ...plan, accumulate: 6 } });
  const plain = await run(adaptive({ orthogonality: 0 }), {
    batchSize: 12,
    plan: { ...plan, accumulate: 1 },
  });
  // A A^T is nearly zero at the start: the distance from I is about 2, the root of the rank.
  expect(whole.losses[0]! - plain.losses[0]!).toBeCloseTo(100, 0);
  expect(parts.losses[0]! - whole.losses[0]!).toBeCloseTo(0, 4);
  for (const [at, value] of parts.adapter.values.entries())
    expect(value).toBeCloseTo(whole.adapter.values[at]!, 5);
});

test("modules without any rank left are saved, loaded and trained as such", async () => {
  const adapter = adaptive({
    ranks: {
      "model.layers.0.self_attn.q_proj": [false, false, false, false],
      "model.layers.1.self_attn.v_proj": [true, false, false, true],
    },
  });
  const folder = join(scratch.path, "none");
  await saveAdapter(folder, adapter, base);
  const loaded = loadAdapter(folder, base);
  expect(loaded.layout.entries.map(({ shape }) => shape.join())).toEqual([
    ...["0,8", "0,1", "8,0"],
    ...["4,8", "4,1", "4,4"],
    ...["4,8", "4,1", "8,4"],
    ...["2,8", "2,1", "4,2"],
  ]);
  expect(loaded.values).toEqual(adapter.values);
  const trained = await run(loaded);
  expect(trained.losses.at(-1)).toBeLessThan(trained.losses[0]!);
  expect(trained.adapter.configuration).toEqual(loaded.configuration);
});

test("constrained rotations stay within their norm", async () => {
  const adapter = createAdapter({
    base,
    type: "OFT",
    configuration: {
      ...oftDefaults,
      targets: ["q_proj"],
      blockSize: 4,
      constrained: true,
      constraint: 1e-2,
      initialWeights: false,
    },
    seed: 1,
  });
  const { adapter: trained } = await run(adapter);
  const limit = 1e-2 / Math.sqrt(2);
  // Blocks of four elements have six values in their triangle, each of which stands in the matrix twice.
  for (let start = 0; start < trained.values.length; start += 6) {
    const own = trained.values.subarray(start, start + 6);
    expect(Math.sqrt(2 * own.reduce((sum, value) => sum + value ** 2, 0))).toBeLessThanOrEqual(
      limit * 1.0001,
    );
    expect(own.some((value) => value !== 0)).toBe(true);
  }
});
