/** @file Logits of a model for a fixed batch of random tokens: what tells whether two models compute the same. */
import type { Adapter } from "../adapters/adapter.ts";
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { internalError } from "../errors.ts";
import { constantFeeds } from "../methods/constants.ts";
import { masksPadding } from "../models/forward.ts";
import { cpu } from "../runtime/cpu.ts";
import { feedsOf } from "../tasks/feeds.ts";
import { buildLogitsGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import { randomTokens } from "./random-tokens.ts";

const rows = 2;
const longest = 16;
const seed = 0;

/** All logits, one row after the other. */
export async function probeLogits(base: Base, adapters: readonly Adapter[]): Promise<Float32Array> {
  const { model, settings } = base;
  const length = Math.min(longest, model.maximumPositions);
  const taskGraph = buildLogitsGraph({
    model,
    settings,
    adapters: adapters.map(({ name, method }) => ({ name, method, trainable: false })),
    padding: masksPadding(model, settings.task),
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const inputIds = int64Tensor([rows, length], randomTokens(rows * length, model.vocabularySize, seed));
  const attentionMask = int64Tensor([rows, length], new Array<number>(rows * length).fill(1));
  const { tensors } = feedsOf(taskGraph, model, { inputIds, attentionMask, targets: inputIds });
  const parameters = adapters.flatMap(({ name, method, values }) => [
    [frozenInput(name), float32Tensor([values.length], values)] as const,
    ...Object.entries(constantFeeds(name, method)),
  ]);
  const changed = withBaseChanges(base, adapters);
  const session = await cpu.createSession(taskGraph.graph, (weight) => changed.locate(weight));
  try {
    const logits = (await session.run({ ...tensors, ...Object.fromEntries(parameters) }))["logits"]?.data;
    if (logits instanceof Float32Array) return logits;
    throw internalError("the probe gave no logits.");
  } finally {
    await session.dispose();
  }
}
