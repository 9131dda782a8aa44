import { describe, expect, test } from "vitest";
import { shapeOf } from "../base/base.ts";
import { full } from "../methods/full.ts";
import { lora, loraDefaults } from "../methods/lora.ts";
import { decideRecompute, estimateRun, runLengths, smallerRuns } from "./run-memory.ts";
import type { RunShape } from "./run-memory.ts";

const shapeWith = (vocabularySize: number) =>
  shapeOf(
    {
      ...{ model_type: "llama", vocab_size: vocabularySize, hidden_size: 256, intermediate_size: 1024 },
      ...{ num_hidden_layers: 8, num_attention_heads: 8, max_position_embeddings: 1024 },
    },
    { task: "causal-lm" },
  );
const shape = shapeWith(1000);
const queries = lora.bind({ ...loraDefaults, targets: ["q_proj"] }, shape.modules);
const run: RunShape = {
  ...shape,
  adapters: [{ name: "default", method: queries, trainable: true }],
  ...{
    storage: "float32",
    compute: "float32",
    batchSize: 32,
    accumulate: 1,
    sequenceLength: 512,
    recompute: false,
  },
};
const total = (change: Partial<RunShape>) => estimateRun({ ...run, ...change }).total;

describe("the estimate of a run", () => {
  test("counts frozen weights once and in their storage", () => {
    const parameters = 1000 * 256 * 2 + 8 * (4 * 256 ** 2 + 3 * 256 * 1024 + 2 * 256) + 256;
    expect(estimateRun(run).weights).toBe(4 * parameters);
    // Four bits, and a float32 scale for every 64 numbers of the layers' matrices.
    const matrices = 8 * (4 * 256 ** 2 + 3 * 256 * 1024);
    expect(estimateRun({ ...run, storage: "nf4" }).weights).toBe(
      4 * parameters - 4 * matrices + matrices / 2 + (4 * matrices) / 64,
    );
  });

  test("keeps the trained values, their initial values, their gradient and two moments", () => {
    const trained = 4 * queries.parameters.reduce((sum, { shape: [a = 1, b = 1] }) => sum + a * b, 0);
    const { gradients, optimizer } = estimateRun(run);
    expect([gradients, optimizer]).toEqual([trained, 4 * trained]);
    expect(estimateRun({ ...run, accumulate: 2 }).gradients).toBe(2 * trained);
  });

  test("falls with what a user can change", () => {
    expect(total({ recompute: true })).toBeLessThan(total({}) / 2);
    expect(total({ batchSize: 16 })).toBeLessThan(total({}));
    expect(total({ sequenceLength: 256 })).toBeLessThan(total({}));
    // Where the logits of a part are larger than what a layer's backward pass needs.
    const wide = shapeWith(32_000);
    expect(total({ ...wide, supervisedTokens: () => 8 })).toBeLessThan(total(wide));
  });

  test("counts evaluation beside training, and rows of both become shorter", () => {
    const evaluation = { sequenceLength: 256, supervisedTokens: () => 2048 };
    const added = total({ evaluation }) - total({});
    // Hidden states and the feed-forward layer of the batch at least, and not a backward pass.
    expect(added).toBeGreaterThan(32 * 256 * 1024 * 4);
    expect(added).toBeLessThan(total({ sequenceLength: 256 }) / 4);
    const small = { ...run, batchSize: 1, recompute: true, evaluation };
    const available = total({
      ...small,
      sequenceLength: 128,
      evaluation: { ...evaluation, sequenceLength: 128 },
    });
    expect(smallerRuns(small, available)[0]?.totalBytes).toBeLessThanOrEqual(available);
  });

  test("is largest where everything is trained", () => {
    const method = full.bind({}, shape.modules);
    const whole = estimateRun({ ...run, adapters: [{ name: "full", method, trainable: true }] });
    expect(whole.weights).toBe(0);
    expect(whole.total).toBeGreaterThan(total({}));
  });
});

test("GPT-3 as in the LoRA paper's section 4.2: 350 GB of frozen weights, a checkpoint of 35 MB, a third of Adam's", () => {
  const gpt3 = shapeOf(
    {
      ...{
        model_type: "opt",
        vocab_size: 50_272,
        hidden_size: 12_288,
        word_embed_proj_dim: 12_288,
        ffn_dim: 49_152,
      },
      ...{ num_hidden_layers: 96, num_attention_heads: 96, max_position_embeddings: 2048 },
    },
    { task: "causal-lm" },
  );
  const method = lora.bind({ ...loraDefaults, rank: 4, targets: ["q_proj", "v_proj"] }, gpt3.modules);
  const estimate = estimateRun({
    ...{ ...run, ...gpt3, adapters: [{ name: "default", method, trainable: true }], storage: "float16" },
    ...{ batchSize: 1, sequenceLength: 128, recompute: true },
  });
  const gigabytes = (bytes: number) => Math.round(bytes / 1e9);
  expect([gigabytes(estimate.weights), gigabytes(estimate.total)]).toEqual([349, 351]);
  const trained = method.parameters.reduce((sum, { shape: [a = 1, b = 1] }) => sum + a * b, 0);
  const sixteenBits = 2;
  expect((trained * sixteenBits) / 2 ** 20).toBe(36);
  // Weights and two moments in 16 bits: what the paper's "two thirds less" is of; with gradients 1.40 TB.
  expect([gigabytes(3 * estimate.weights), gigabytes(4 * estimate.weights)]).toEqual([1048, 1397]);
});

describe("recomputation left to deltafit", () => {
  test.each([
    ["auto", total({}), false],
    ["auto", total({}) - 1, true],
    [true, Infinity, true],
    [false, 0, false],
  ] as const)("%s with %d bytes: %s", (choice, available, expected) => {
    const decided = decideRecompute(run, choice, available);
    expect(decided.run.recompute).toBe(expected);
    expect(decided.bytes).toEqual(estimateRun({ ...run, recompute: expected }));
  });
});

describe("ways in which a run fits", () => {
  test("are each estimated to fit, the least change first", () => {
    const available = total({ recompute: true });
    const ways = smallerRuns(run, available);
    expect(ways.map(({ settings }) => settings)).toMatchInlineSnapshot(`
      [
        {
          "recompute": true,
        },
        {
          "accumulate": 4,
          "batchSize": 8,
        },
      ]
    `);
    for (const { settings, totalBytes } of ways) {
      expect(totalBytes).toBe(total(settings));
      expect(totalBytes).toBeLessThanOrEqual(available);
    }
  });

  test("change several things only where one does not do", () => {
    const available = total({ recompute: true, batchSize: 1, sequenceLength: 128 });
    expect(smallerRuns(run, available).map(({ settings }) => settings)).toMatchInlineSnapshot(`
      [
        {
          "accumulate": 32,
          "batchSize": 1,
          "recompute": true,
          "sequenceLength": 64,
        },
      ]
    `);
  });

  test("keep matrices in fewer bits where the weights are what is too large", () => {
    const small = { ...run, batchSize: 1, sequenceLength: 32 };
    const available = estimateRun({ ...small, storage: "int8" }).total;
    const ways = smallerRuns(small, available);
    expect(ways.map(({ settings }) => settings)).toEqual([{ storage: "int8" }]);
    const fewer = smallerRuns(small, estimateRun({ ...small, storage: "nf4" }).total);
    expect(fewer.map(({ settings }) => settings)).toEqual([{ storage: "nf4" }]);
    const method = full.bind({}, shape.modules);
    const whole = { ...small, adapters: [{ name: "full", method, trainable: true }] };
    expect(smallerRuns(whole, estimateRun(whole).total - 1).some(({ settings }) => settings.storage)).toBe(
      false,
    );
  });

  test.each([
    {},
    { recompute: true },
    { compute: "int8" },
    { storage: "int8", compute: "int8" },
    { storage: "nf4", recompute: true },
  ] as const)("are estimated to fit with %o, whatever there is", (given) => {
    const own = { ...run, ...given };
    for (const share of [0.9, 0.3]) {
      const available = share * estimateRun(own).total;
      for (const { settings, totalBytes } of smallerRuns(own, available)) {
        expect(estimateRun({ ...own, ...settings }).total).toBe(totalBytes);
        expect(totalBytes).toBeLessThanOrEqual(available);
      }
    }
    expect(smallerRuns(own, 0.9 * estimateRun(own).total)).not.toEqual([]);
  });

  test("are none where the weights alone are too large", () => {
    expect(smallerRuns(run, 1e6)).toEqual([]);
  });
});

test("the lengths of a run are those of its data", () => {
  const examples = [3, 9].map((length) => ({
    inputIds: Array.from({ length }, () => 1),
    labels: Array.from({ length }, (_, at) => (at < 2 ? -100 : 1)),
  }));
  const { sequenceLength, supervisedTokens, packed } = runLengths(examples, {
    batchSize: 2,
    sequenceLength: 64,
  });
  expect([sequenceLength, supervisedTokens?.(1), supervisedTokens?.(2), packed]).toEqual([9, 7, 8, false]);
  expect(runLengths(examples, { batchSize: 2, sequenceLength: 64, pack: true }).sequenceLength).toBe(64);
});
