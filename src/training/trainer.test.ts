import { expect, test, vi } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createAdapter } from "../adapters/adapter.ts";
import { openModule } from "../base/own-module.ts";
import type { ModuleBase } from "../base/own-module.ts";
import { loraDefaults } from "../methods/lora.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import { moduleObjective } from "./objective.ts";
import type { ModuleBatch } from "./objective.ts";
import { adamWDefaults } from "./optimiser.ts";
import { runTraining } from "./run.ts";
import type { PlacedBatch, TrainingEvent, TrainingPlan, TrainingProgress } from "./run.ts";
import { Trainer } from "./trainer.ts";

/** One linear layer y = x W^T and a squared error: everything about its training is known in closed form. */
function line(dropout = 0.5): ModuleBase<"x" | "y"> {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  return openModule(
    {
      inputs: { x: { dtype: "float32", shape: ["batch", 2] }, y: { dtype: "float32", shape: ["batch", 1] } },
      forward(context, { x, y }) {
        const output = context.linear("layer", context.dropout(x, dropout), { in: 2, out: 1 });
        const difference = context.builder.subtract(output, y);
        return { loss: context.builder.sumAll(context.builder.multiply(difference, difference)), output };
      },
    },
    { "layer.weight": Float32Array.of(1, -1) },
  );
}

const batchOf = (points: readonly (readonly [number, number, number])[]): ModuleBatch => ({
  tensors: {
    x: float32Tensor(
      [points.length, 2],
      points.flatMap(([a, b]) => [a, b]),
    ),
    y: float32Tensor(
      [points.length, 1],
      points.map(([, , y]) => y),
    ),
  },
  count: points.length,
});

const points = [
  [1, 2, 3],
  [0.5, -1, 2],
  [-2, 0.3, 0.1],
  [0.7, 0.7, -1],
] as const;

async function trainerOf(seed = 0, dropout = 0.5) {
  const base = line(dropout);
  const adapter = createAdapter({ base, type: "FULL", configuration: {}, seed: 0 });
  return Trainer.create({
    objective: moduleObjective(base, [adapter]),
    parameters: adapter.values,
    optimiser: adamWDefaults,
    seed,
  });
}

const plan: TrainingPlan = { steps: 6, accumulate: 1, learningRate: 0.1, schedule: "linear", warmup: 1 };

function newProgress(): TrainingProgress<number> {
  return {
    step: 0,
    cursor: 0,
    losses: [],
    evaluations: [],
    tokens: 0,
    supervisedTokens: 0,
    stepSeconds: 0,
    best: undefined,
  };
}

function* batchesFrom(start: number): Generator<PlacedBatch<ModuleBatch, number>> {
  for (let index = start; ; index++) {
    const point = points[index % points.length] ?? points[0];
    yield { batch: batchOf([point]), cursor: index + 1, tokens: 1 };
  }
}

test("gradients of uneven batches are summed and divided once, by the number of all rows", async () => {
  const trainer = await trainerOf(0, 0);
  const whole = await trainer.gradient([batchOf(points)]);
  const [first, ...rest] = points;
  const parts = await trainer.gradient([batchOf([first]), batchOf(rest)]);
  expect(parts.count).toBe(4);
  expect(parts.loss).toBeCloseTo(whole.loss, 6);
  // d/dW of sum (W x - y)^2 = 2 sum (W x - y) x, with W = (1, -1)
  const expected = [0, 1].map((axis) =>
    points.reduce((sum, [a, b, y]) => sum + 2 * (a - b - y) * [a, b][axis]!, 0),
  );
  for (const { gradient } of [whole, parts])
    for (const [axis, value] of expected.entries()) expect(gradient[axis]).toBeCloseTo(value, 4);
  await trainer.dispose();
});

test("the same seed gives the same dropout and losses, another seed others", async () => {
  const run = async (seed: number) => {
    const trainer = await trainerOf(seed);
    const losses: number[] = [];
    for (let step = 0; step < 4; step++) losses.push((await trainer.step([batchOf(points)], 0.05)).loss);
    await trainer.dispose();
    return losses;
  };
  const once = await run(1);
  expect(await run(1)).toEqual(once);
  expect(await run(2)).not.toEqual(once);
});

test("a run resumed from its progress gives the numbers of one that never stopped", async () => {
  const uninterrupted = await trainerOf();
  const progress = newProgress();
  await runTraining({ trainer: uninterrupted, plan, batches: batchesFrom(0), progress });

  const first = await trainerOf();
  const half = newProgress();
  const controller = new AbortController();
  const stopped = runTraining({
    trainer: first,
    plan,
    batches: batchesFrom(0),
    progress: half,
    signal: controller.signal,
    save: () => Promise.resolve(),
    onEvent: (event) => {
      if (event.type === "step-end" && event.step === 3) controller.abort();
    },
  });
  expect(await rejectionOf(() => stopped)).toMatchInlineSnapshot(`
    {
      "code": "interrupted",
      "hint": "Go on with --resume.",
      "message": "Interrupted after step 3 of 6.",
    }
  `);

  const base = line();
  const adapter = createAdapter({ base, type: "FULL", configuration: {}, seed: 0 });
  const second = await Trainer.create({
    objective: moduleObjective(base, [adapter]),
    parameters: first.parameters,
    state: first.state,
    optimiser: adamWDefaults,
    seed: 0,
  });
  await runTraining({ trainer: second, plan, batches: batchesFrom(half.cursor), progress: half });
  expect(half.losses).toEqual(progress.losses);
  expect(second.parameters).toEqual(uninterrupted.parameters);
  for (const trainer of [uninterrupted, first, second]) await trainer.dispose();
});

test("a loss that is not a number stops before anything changes, after saving the last good state", async () => {
  const trainer = await trainerOf();
  const before = Float32Array.from(trainer.parameters);
  const saved: string[] = [];
  const bad: PlacedBatch<ModuleBatch, number> = { batch: batchOf([[NaN, 1, 1]]), cursor: 1, tokens: 1 };
  const failure = await rejectionOf(() =>
    runTraining({
      trainer,
      plan,
      batches: [bad][Symbol.iterator](),
      progress: newProgress(),
      save: (kind) => {
        saved.push(kind);
        return Promise.resolve();
      },
    }),
  );
  expect(failure).toMatchInlineSnapshot(`
    {
      "code": "not-finite",
      "hint": "Lower the learning rate, clip gradients, or check the data of this step; the last good adapter is kept.",
      "message": "Step 0: the loss is NaN.",
    }
  `);
  expect(saved).toEqual(["last"]);
  expect(trainer.parameters).toEqual(before);
  expect(trainer.state.step).toBe(0);
  await trainer.dispose();
});

test("evaluates and saves when it is due and at the end, and keeps the best", async () => {
  const trainer = await trainerOf();
  const events: TrainingEvent[] = [];
  const losses = [3, 1, 2];
  await runTraining({
    trainer,
    plan: { ...plan, steps: 5, evaluateEvery: 2, saveEvery: 4 },
    batches: batchesFrom(0),
    progress: newProgress(),
    evaluate: () => Promise.resolve({ loss: losses.shift() ?? NaN }),
    isBetter: (metrics, best) => (metrics["loss"] ?? 0) < (best["loss"] ?? 0),
    save: () => Promise.resolve(),
    onEvent: (event) => events.push(event),
  });
  const shown = events.flatMap((event) => {
    if (event.type === "evaluation-end")
      return [`evaluation ${event.evaluation.step} ${event.isBest ? "best" : "worse"}`];
    return event.type === "checkpoint-saved" ? [`saved ${event.kind} ${event.step}`] : [];
  });
  expect(shown).toEqual([
    "evaluation 2 best",
    "saved best 2",
    "evaluation 4 best",
    "saved best 4",
    "saved last 4",
    "evaluation 5 worse",
    "saved last 5",
  ]);
  await trainer.dispose();
});

test("a module's weights are checked by name and size", () => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const module = {
    inputs: { x: { dtype: "float32", shape: ["batch", 2] } },
    forward: (context, { x }) => ({
      loss: context.builder.sumAll(context.linear("layer", x, { in: 2, out: 3, bias: true })),
    }),
  } satisfies Parameters<typeof openModule<"x">>[0];
  expect(() =>
    openModule(module, { "layer.weight": new Float32Array(5), other: new Float32Array(1) }),
  ).toThrow(
    "The weights do not fit the module: layer.weight has 5 values, expected [3, 2]; layer.bias is missing; other is not used.",
  );
});

test("LoRA on a module of one's own learns what the frozen weights do not know", async () => {
  const base = line();
  const adapter = createAdapter({
    base,
    type: "LORA",
    configuration: { ...loraDefaults, rank: 1, alpha: 1, targets: ["layer"] },
    seed: 0,
  });
  const trainer = await Trainer.create({
    objective: moduleObjective(base, [adapter]),
    parameters: adapter.values,
    optimiser: { ...adamWDefaults, weightDecay: 0 },
    seed: 0,
  });
  expect(trainer.parameters.length).toBe(3);
  const start = await trainer.step([batchOf(points)], 0.05);
  let last = start;
  for (let step = 0; step < 60; step++) last = await trainer.step([batchOf(points)], 0.05);
  expect(last.loss).toBeLessThan(start.loss);
  await trainer.dispose();
});
