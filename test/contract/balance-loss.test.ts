/** @file A loss that a model adds to its predictions': in training alone, over tokens and not padding, batch by batch. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test, vi } from "vitest";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import { collate } from "../../src/data/batches.ts";
import type { Batch } from "../../src/data/batches.ts";
import { Evaluator } from "../../src/evaluation/evaluator.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import { buildTrainingGraph } from "../../src/tasks/graphs.ts";
import { trainableInput } from "../../src/tasks/pass.ts";
import { float32Tensor } from "../../src/tensor/tensor.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { adamWDefaults, floatsOf } from "../../src/training/optimiser.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const session = { threads: 1 };

async function openTiny(coefficient: number): Promise<Base> {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const file = path.join(temporaryFolder(), "config.json");
  const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_attention_heads: 2 };
  const layers = { num_hidden_layers: 2, num_key_value_heads: 1, initializer_range: 0.4 };
  const routing = { num_local_experts: 3, output_router_logits: true, router_aux_loss_coef: coefficient };
  writeFileSync(file, JSON.stringify({ model_type: "mixtral", ...sizes, ...layers, ...routing }));
  return openBase({ path: file, name: "tiny", task: "causal-lm", randomWeights: 5 });
}

function moved(base: Base): Adapter {
  const configuration = { ...loraDefaults, rank: 2, targets: "all-linear" };
  const adapter = createAdapter<MethodType>({ base, type: "LORA", configuration, seed: 7 });
  return withValues<MethodType>(
    adapter,
    adapter.values.map((value, index) => value + Math.sin(index) / 5),
  );
}

const examples = [
  { inputIds: [3, 5, 7, 2, 11, 4], labels: [-100, 5, 7, 2, 11, 4] },
  { inputIds: [9, 1, 8], labels: [9, 1, 8] },
  { inputIds: [6, 20, 13, 17], labels: [-100, -100, -100, 17] },
];
const batchOf = (rows: typeof examples, padToMultipleOf = 1) =>
  collate(rows, { padTokenId: 0, padToMultipleOf });

async function gradientOf(base: Base, batches: readonly Batch[], recompute = false) {
  const adapter = moved(base);
  const objective = languageObjective({
    base,
    adapters: [adapter],
    sequenceLength: 8,
    batchSize: 3,
    recompute,
  });
  const settings = { objective, parameters: adapter.values, optimiser: adamWDefaults, seed: 0, session };
  const trainer = await Trainer.create(settings);
  const result = await trainer.gradient(batches);
  await trainer.dispose();
  return result;
}

function expectSame(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (const [index, value] of expected.entries())
    expect(Math.abs((actual[index] ?? NaN) - value)).toBeLessThanOrEqual(tolerance * largest);
}

test("training adds it to the mean, by its coefficient; evaluation leaves it out", async () => {
  const whole = [batchOf(examples)];
  const losses: number[] = [];
  for (const coefficient of [0, 0.5, 1]) {
    const base = await openTiny(coefficient);
    losses.push((await gradientOf(base, whole)).loss);
    const adapter = moved(base);
    const evaluator = await Evaluator.create({ base, adapters: [adapter], session });
    const { loss } = await evaluator.evaluate(whole, { [adapter.name]: adapter.values });
    await evaluator.dispose();
    expect(loss).toBeCloseTo(losses[0] ?? NaN, 5);
  }
  const [none = NaN, half = NaN, full = NaN] = losses;
  // Two of three experts for each token: 2 where they are equally busy.
  expect(full - none).toBeGreaterThan(1.9);
  expect(full - none).toBeLessThan(3);
  expect(half - none).toBeCloseTo((full - none) / 2, 5);
});

test("longer padding changes nothing", async () => {
  const base = await openTiny(0.5);
  const short = await gradientOf(base, [batchOf(examples)]);
  const long = await gradientOf(base, [batchOf(examples, 8)]);
  expect(long.loss).toBeCloseTo(short.loss, 5);
  expectSame(long.gradient, short.gradient, 1e-5);
});

test("recomputed layers give the same", async () => {
  const base = await openTiny(0.5);
  const kept = await gradientOf(base, [batchOf(examples)]);
  const recomputed = await gradientOf(base, [batchOf(examples)], true);
  expect(recomputed.loss).toBe(kept.loss);
  expectSame(recomputed.gradient, kept.gradient, 1e-6);
});

test("logits made in parts give the same", async () => {
  const base = await openTiny(0.5);
  const { model, settings } = base;
  const adapter = moved(base);
  const run = async (lossChunks: number) => {
    const adapters = [{ name: adapter.name, method: adapter.method, trainable: true }];
    const options = { model, settings, adapters, padding: true, attentionBlocks: 1, lossChunks };
    const taskGraph = buildTrainingGraph(options);
    const running = await cpu.createSession(taskGraph.graph, (weight) => base.locate(weight), session);
    const { tensors, count } = feedsOf(taskGraph, model, batchOf(examples));
    const values = float32Tensor([adapter.values.length], adapter.values);
    const outputs = await running.run({ ...tensors, [trainableInput]: values });
    await running.dispose();
    return { loss: (floatsOf(outputs, "loss")[0] ?? NaN) / count, gradient: floatsOf(outputs, "gradient") };
  };
  const whole = await gradientOf(base, [batchOf(examples)]);
  for (const chunks of [1, 3]) {
    const { loss, gradient } = await run(chunks);
    expect(loss).toBeCloseTo(whole.loss, 5);
    expectSame(gradient, whole.gradient, 1e-5);
  }
});

test("of several batches it counts as their predictions do", async () => {
  const base = await openTiny(0.5);
  const [first, second] = [batchOf(examples.slice(0, 2)), batchOf(examples.slice(2))];
  const together = await gradientOf(base, [first, second]);
  const apart = [await gradientOf(base, [first]), await gradientOf(base, [second])];
  expect(apart.map(({ count }) => count)).toEqual([7, 1]);
  const [one, two] = apart.map(({ loss }) => loss);
  expect(together.loss).toBeCloseTo((7 * (one ?? NaN) + (two ?? NaN)) / 8, 5);
  const summed = apart[0]!.gradient.map((value, index) => value + (apart[1]!.gradient[index] ?? NaN));
  expectSame(together.gradient, summed, 1e-5);
});
