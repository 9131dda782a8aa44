/** @file The one place where the exchange of adapters with PEFT calls deltafit's own forward pass. */
import { loadAdapter } from "../../src/adapters/folder.ts";
import { openBase } from "../../src/base/base.ts";
import { constantFeeds } from "../../src/methods/constants.ts";
import type { Task } from "../../src/models/forward.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import { buildLogitsGraph } from "../../src/tasks/graphs.ts";
import { frozenInput } from "../../src/tasks/pass.ts";
import { float32Tensor, int64Tensor } from "../../src/tensor/tensor.ts";
import { floatsOf } from "../../src/training/optimiser.ts";

/** A batch of token ids; every list is `[rows][positions]`. */
export interface InputBatch {
  readonly inputIds: readonly (readonly number[])[];
  readonly attentionMask: readonly (readonly number[])[];
  readonly tokenTypeIds?: readonly (readonly number[])[];
}

/**
 * The logits deltafit computes with an adapter on a base.
 *
 * @param baseFolder folder in Hugging Face layout
 * @param adapterFolder folder in PEFT's layout
 * @returns `[rows, positions, vocabulary]` or `[rows, labels]`, row-major, padding positions included
 */
export async function deltafitLogits(
  baseFolder: string,
  adapterFolder: string,
  task: Task,
  inputs: InputBatch,
): Promise<Float32Array> {
  const base = await openBase({ path: baseFolder, task });
  const adapter = loadAdapter(adapterFolder, base);
  const { model, settings } = base;
  const taskGraph = buildLogitsGraph({
    model,
    settings,
    adapters: [{ ...adapter, trainable: false }],
    padding: true,
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const tensor = (rows: readonly (readonly number[])[]) =>
    int64Tensor([rows.length, rows[0]?.length ?? 0], rows.flat());
  const { tensors } = feedsOf(taskGraph, model, {
    inputIds: tensor(inputs.inputIds),
    attentionMask: tensor(inputs.attentionMask),
    tokenTypeIds: inputs.tokenTypeIds && tensor(inputs.tokenTypeIds),
  });
  const session = await cpu.createSession(taskGraph.graph, (weight) => base.locate(weight));
  try {
    const values = float32Tensor([adapter.values.length], adapter.values);
    return floatsOf(
      await session.run({
        ...tensors,
        [frozenInput(adapter.name)]: values,
        ...constantFeeds(adapter.name, adapter.method),
      }),
      "logits",
    );
  } finally {
    await session.dispose();
  }
}
