/**
 * @file Every encoder with random weights: padding changes nothing for the tokens before it, and the
 * gradient of a classifier's loss is the slope that finite differences measure.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import { nodesOf } from "../../src/graph/graph.ts";
import { layOut } from "../../src/methods/layout.ts";
import { lora, loraDefaults } from "../../src/methods/lora.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import { buildEvaluationGraph, buildLogitsGraph, buildTrainingGraph } from "../../src/tasks/graphs.ts";
import type { TaskGraph } from "../../src/tasks/graphs.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { float32Tensor, int64Tensor } from "../../src/tensor/tensor.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const sizes = {
  vocab_size: 31,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 24,
  max_position_embeddings: 20,
  initializer_range: 0.3,
  pad_token_id: 0,
};
const undropped = { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 };
const deberta = { ...sizes, ...undropped, relative_attention: true, position_biased_input: false };

const configurations: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  bert: { ...sizes, ...undropped },
  roberta: { ...sizes, ...undropped, type_vocab_size: 1 },
  "xlm-roberta": { ...sizes, ...undropped, type_vocab_size: 1 },
  distilbert: {
    ...{ vocab_size: 31, dim: 16, hidden_dim: 24, n_layers: 2, n_heads: 2, max_position_embeddings: 20 },
    ...{ initializer_range: 0.3, dropout: 0, attention_dropout: 0, seq_classif_dropout: 0, pad_token_id: 0 },
  },
  electra: { ...sizes, ...undropped, embedding_size: 8 },
  albert: {
    ...{ ...sizes, ...undropped, embedding_size: 8, num_hidden_layers: 4, num_hidden_groups: 2 },
    ...{ classifier_dropout_prob: 0 },
  },
  modernbert: { ...sizes, local_attention: 4, global_attn_every_n_layers: 2, classifier_pooling: "mean" },
  deberta: { ...deberta, pos_att_type: "c2p|p2c", max_relative_positions: 4 },
  "deberta-v2": {
    ...{ ...deberta, pos_att_type: ["p2c", "c2p"], share_att_key: true, position_buckets: 4 },
    ...{ norm_rel_ebd: "layer_norm", conv_kernel_size: 3, conv_act: "gelu" },
  },
};

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});

afterEach(() => {
  vi.unstubAllEnvs();
});

function openTiny(modelType: string, task: "classification" | "masked-lm"): Promise<Base> {
  const file = path.join(temporaryFolder(), "config.json");
  writeFileSync(file, JSON.stringify({ model_type: modelType, ...configurations[modelType] }));
  return openBase({ path: file, name: modelType, task, labelCount: 3, randomWeights: 5 });
}

/** Rows of ids, padded on the right to the longest. */
function batchOf(rows: readonly (readonly number[])[], padding: number): TaskBatch {
  const length = Math.max(...rows.map((row) => row.length));
  const padded = rows.map((row) => [...row, ...new Array<number>(length - row.length).fill(padding)]);
  const mask = rows.map((row) => padded[0]?.map((_, index) => (index < row.length ? 1 : 0)) ?? []);
  return {
    inputIds: int64Tensor([rows.length, length], padded.flat()),
    attentionMask: int64Tensor([rows.length, length], mask.flat()),
    classLabels: rows.map((_, index) => index),
  };
}

async function outputsOf(base: Base, taskGraph: TaskGraph, batch: TaskBatch, trainable?: Float32Array) {
  const session = await cpu.createSession(taskGraph.graph, (name) => base.locate(name));
  const { tensors } = feedsOf(taskGraph, base.model, batch);
  return session.run({
    ...tensors,
    ...(trainable ? { trainable: float32Tensor([trainable.length], trainable) } : {}),
  });
}

const shortRow = [7, 11, 3, 19, 5];
const longRow = [23, 9, 14, 6, 28, 12, 4, 17];

describe.each(Object.keys(configurations))("%s", (modelType) => {
  test.each(["classification", "masked-lm"] as const)("padding changes nothing: %s", async (task) => {
    const base = await openTiny(modelType, task);
    const logits = async (rows: readonly (readonly number[])[], padding: boolean) => {
      const { model, settings } = base;
      const options = { model, settings, adapters: [], padding, attentionBlocks: 1, lossChunks: 1 };
      const batch = batchOf(rows, base.model.padTokenId ?? 0);
      const { logits: tensor } = await outputsOf(base, buildLogitsGraph(options), batch);
      return Array.from(tensor?.data ?? [], Number);
    };
    const alone = await logits([shortRow], false);
    const together = await logits([shortRow, longRow], true);
    expect(alone.length).toBe(task === "classification" ? 3 : shortRow.length * 31);
    expect(Math.max(...alone) - Math.min(...alone)).toBeGreaterThan(0.05);
    for (const [index, value] of alone.entries()) expect(together[index]).toBeCloseTo(value, 4);
  });

  test("the gradient of LoRA on every linear layer is the loss's slope", async () => {
    const base = await openTiny(modelType, "classification");
    const method = lora.bind({ ...loraDefaults, rank: 2, targets: "all-linear" }, base.modules);
    const adapters = [{ name: "a", method, trainable: true }];
    const { model, settings } = base;
    const options = { model, settings, adapters, padding: true, attentionBlocks: 1, lossChunks: 1 };
    const batch = batchOf([shortRow, longRow], base.model.padTokenId ?? 0);
    const layout = layOut(method.parameters.map((spec) => ({ adapter: "a", spec })));
    const start = new TorchGenerator(3).normal(layout.size, 0, 0.2);
    const training = buildTrainingGraph(options);
    expect(nodesOf(training.graph, "SeededDropout")).toEqual([]);
    const { gradient } = await outputsOf(base, training, batch, start);
    const direction = new TorchGenerator(4).normal(layout.size, 0, 1);
    const slope = direction.reduce((sum, step, index) => sum + step * Number(gradient?.data[index]), 0);
    const evaluation = buildEvaluationGraph(options);
    const step = 2e-3;
    const lossAt = async (factor: number) => {
      const moved = start.map((value, index) => value + factor * (direction[index] ?? 0));
      const { loss } = await outputsOf(base, evaluation, batch, moved);
      return Number(loss?.data[0]);
    };
    const measured = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
    expect(Math.abs(slope)).toBeGreaterThan(0.05);
    expect(Math.abs(measured - slope)).toBeLessThan(0.02 * Math.abs(slope) + 5e-3);
  });
});
