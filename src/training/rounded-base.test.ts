/** @file Training beside a base in four bits: methods see its rounded numbers, and its matrices cannot be trained. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolderPerTest } from "../../test/support/scratch-per-test.ts";
import { tinyBase } from "../../test/support/tiny-base.ts";
import { createAdapter, withValues } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import type { Base } from "../base/base.ts";
import { loraDefaults } from "../methods/lora.ts";
import { int64Tensor } from "../tensor/tensor.ts";
import { languageObjective } from "./objective.ts";
import { adamWDefaults } from "./optimiser.ts";
import { Trainer } from "./trainer.ts";

const scratch = scratchFolderPerTest();

const size = { sequenceLength: 4, batchSize: 2 };
const ids = int64Tensor([2, 4], [1, 2, 3, 4, 5, 6, 7, 8]);
const batch = {
  inputIds: ids,
  attentionMask: int64Tensor([2, 4], new Array<number>(8).fill(1)),
  labels: ids,
};

async function stepOf(base: Base, adapter: Adapter, recompute = false) {
  const trainer = await Trainer.create({
    objective: languageObjective({ base, adapters: [adapter], ...size, recompute }),
    parameters: adapter.values,
    optimiser: adamWDefaults,
    seed: 0,
    session: { threads: 1 },
  });
  const result = await trainer.gradient([batch]);
  await trainer.dispose();
  return result;
}

/** The same base with float32 matrices that are already rounded. */
async function roundedBase(rounded: Base): Promise<Base> {
  const plain = await tinyBase(scratch.path);
  const fs = await import("node:fs");
  const locations = new Map(
    [...plain.modules.parameters.keys()].map((name, index) => {
      const path = `${scratch.path}/rounded-${index}`;
      const values = rounded.readRounded(name);
      fs.writeFileSync(path, values);
      return [name, { path, offset: 0, byteLength: values.byteLength }] as const;
    }),
  );
  return {
    ...plain,
    locate: (stored) => locations.get(stored)!,
    readRounded: (name) => rounded.readRounded(name),
  };
}

test.each([
  ["LoRA", false, false],
  ["DoRA", true, false],
  ["LoRA with recomputed layers", false, true],
])("%s trains as beside float32 matrices of the rounded numbers", async (_name, magnitude, recompute) => {
  const base = await tinyBase(scratch.path, { storage: "nf4" });
  const configuration = { ...loraDefaults, rank: 2, targets: ["q_proj", "down_proj"], magnitude };
  const [adapter, other] = [base, await roundedBase(base)].map((one) => {
    const created = createAdapter({ base: one, type: "LORA", configuration, seed: 1 });
    return { base: one, created };
  });
  const actual = await stepOf(adapter!.base, adapter!.created, recompute);
  const expected = await stepOf(other!.base, other!.created);
  expect(adapter!.created.values).toEqual(other!.created.values);
  expect(actual.loss).toBeCloseTo(expected.loss, 5);
  for (const [index, value] of expected.gradient.entries())
    expect(Math.abs(actual.gradient[index]! - value)).toBeLessThan(1e-5);
});

test("its matrices cannot be trained themselves", async () => {
  const base = await tinyBase(scratch.path, { storage: "nf4" });
  const adapter = createAdapter({ base, type: "FULL", configuration: {}, seed: 0 });
  expect(failureOf(() => languageObjective({ base, adapters: [adapter], ...size }))).toEqual({
    code: "usage-invalid",
    message:
      "The matrix model.layers.0.self_attn.q_proj.weight would be trained, but the base keeps it as nf4.",
    hint: "Keep the base as float32, or train an adapter beside the matrix.",
  });
});

test("products in eight bits give nearly the gradient of float32", async () => {
  const configuration = { ...loraDefaults, rank: 2, targets: ["q_proj", "down_proj"] };
  const results = [];
  for (const compute of ["float32", "int8"] as const) {
    const base = await tinyBase(scratch.path, { compute });
    const adapter = createAdapter({ base, type: "LORA", configuration, seed: 1 });
    results.push(
      await stepOf(
        base,
        withValues(
          adapter,
          adapter.values.map((value, index) => value + 0.1 * Math.sin(index)),
        ),
      ),
    );
  }
  const [exact, near] = results;
  const norm = (values: Float32Array) => Math.hypot(...values);
  expect(Math.abs(near!.loss - exact!.loss)).toBeLessThan(0.02 * exact!.loss);
  const error = near!.gradient.map((value, index) => value - exact!.gradient[index]!);
  expect(norm(error)).toBeGreaterThan(0);
  expect(norm(error)).toBeLessThan(0.05 * norm(exact!.gradient));
});

test("in 16 bits they can be trained, from the checkpoint's own numbers", async () => {
  const base = await tinyBase(scratch.path, { storage: "bfloat16" });
  const adapter = createAdapter({ base, type: "FULL", configuration: {}, seed: 0 });
  const plain = createAdapter({
    base: await tinyBase(scratch.path),
    type: "FULL",
    configuration: {},
    seed: 0,
  });
  expect(adapter.values).toEqual(plain.values);
  expect((await stepOf(base, adapter)).gradient.some((value) => value !== 0)).toBe(true);
});
