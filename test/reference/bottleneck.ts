/** @file Bottleneck adapters against AdapterHub's `adapters`: logits, loss, gradients and ten steps of training. */
import { join } from "node:path";
import { z } from "zod";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { bottleneckFormat } from "../../src/adapters/bottleneck-format.ts";
import type { Base } from "../../src/base/base.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { entryValues } from "../../src/methods/layout.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { scheduleFactor } from "../../src/training/schedule.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { CaseFailure, caseFolders, compare, floats, readBatch, readTensors, tolerances } from "./cases.ts";
import { compareOutput, computeLogits, computeLoss, openCaseBase, sessionOptions } from "./computed.ts";
import type { ReferenceFolders, ReferenceSection } from "./section.ts";

const caseSchema = z.looseObject({
  base: z.string(),
  parameters: z.looseObject({ trainable: z.int() }),
  optimiser: z.looseObject({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
    schedule: z.literal("linear_with_warmup"),
    warmup_steps: z.int(),
    steps: z.int(),
    max_grad_norm: z.number(),
  }),
  final_loss: z.number(),
});
const baseSchema = z.looseObject({ task: z.string() });
const adapterSchema = z.looseObject({ config: z.record(z.string(), z.unknown()) });

export const bottlenecks: ReferenceSection = (folders) =>
  caseFolders(folders.root, "bottleneck").map((name) => ({
    name: `bottleneck/${name}`,
    check: () => checkBottleneck(name, folders),
  }));

async function checkBottleneck(name: string, { root }: ReferenceFolders): Promise<void> {
  const folder = join(root, "bottleneck", name);
  const info = caseSchema.parse(readJsonFile(join(folder, "case.json")));
  const { task } = baseSchema.parse(readJsonFile(join(root, info.base, "case.json")));
  const base = await openCaseBase(join(root, info.base), task);
  const batch = readBatch(folder, "forward");
  if (!batch) throw new CaseFailure("inputs.json has no batch called forward");
  const expected = readTensors(join(folder, "expected.safetensors"));
  const adapter = readAdapter(folder, "trainable.safetensors", base);
  const logits = floats(expected, "logits");
  compareOutput(
    "logits",
    await computeLogits(base, [adapter], batch),
    "logits",
    logits,
    batch,
    tolerances.values,
  );
  const loss = await computeLoss(base, [adapter], batch);
  compare("loss", { shape: [], data: [loss] }, floats(expected, "loss"), tolerances.values);
  if (adapter.layout.size !== info.parameters.trainable)
    throw new CaseFailure(`${adapter.layout.size} trained parameters, expected ${info.parameters.trainable}`);
  const { optimiser } = info;
  const trainer = await Trainer.create({
    objective: languageObjective({ base, adapters: [adapter], batchSize: 3, sequenceLength: 16 }),
    parameters: adapter.values,
    optimiser: {
      betas: optimiser.betas,
      epsilon: optimiser.eps,
      weightDecay: optimiser.weight_decay,
      clip: optimiser.max_grad_norm,
    },
    seed: 0,
    session: sessionOptions,
  });
  try {
    const { gradient, count } = await trainer.gradient([batch]);
    const gradients = new Map(
      [...expected].flatMap(([key, tensor]) =>
        key.startsWith("grad.") ? [[key.slice(5), tensor] as const] : [],
      ),
    );
    for (const entry of adapter.layout.entries) {
      const data = entryValues(gradient, entry).map((value) => value / count);
      compare(
        `grad ${entry.key}`,
        { shape: entry.shape, data },
        recordedTensor(gradients, entry.key),
        tolerances.gradients,
      );
    }
    const losses: number[] = [];
    for (let step = 0; step < optimiser.steps; step++) {
      const rate = optimiser.lr * scheduleFactor("linear", step, optimiser.warmup_steps, optimiser.steps);
      losses.push((await trainer.step([batch], rate)).loss);
    }
    compare("losses", { shape: [losses.length], data: losses }, floats(expected, "losses"), tolerances.curve);
    const wanted = readAdapter(folder, "trained_trainable.safetensors", base);
    compare(
      "trained",
      { shape: [], data: trainer.parameters },
      { shape: [], data: wanted.values },
      tolerances.trained,
    );
    const trained = await computeLogits(base, [withValues(adapter, trainer.parameters)], batch);
    compareOutput(
      "trained_logits",
      trained,
      "logits",
      floats(expected, "trained_logits"),
      batch,
      tolerances.trained,
    );
  } finally {
    await trainer.dispose();
  }
}

/** AdapterHub's configuration with recorded values. */
function readAdapter(folder: string, name: string, base: Base): Adapter<"BOTTLENECK"> {
  const { config } = adapterSchema.parse(readJsonFile(join(folder, "adapter", "adapter_config.json")));
  const { modules, model } = base;
  const configuration = bottleneckFormat.fromPeft(config, {
    modules,
    modelType: model.modelType,
    where: "config",
  });
  const adapter = createAdapter({ base, type: "BOTTLENECK", configuration, seed: 0 });
  const tensors = readTensors(join(folder, name));
  const values = new Float32Array(adapter.layout.size);
  for (const entry of adapter.layout.entries)
    entryValues(values, entry).set(recordedTensor(tensors, entry.key).data);
  return withValues(adapter, values);
}

/** AdapterHub hangs adapters into other modules on each architecture: what counts is layer, place and part. */
function placeOf(name: string): string {
  const found = /\.(\d+)\..*(?:adapters)\.(?:fit\.)?(adapter_.*)$/.exec(name);
  if (!found) return name;
  const isAttention = /attention_adapters|attention\.output\.adapters\.fit/.test(name);
  return `${found[1]} ${isAttention ? "attention" : "feed-forward"} ${found[2]}`;
}

function recordedTensor(tensors: Parameters<typeof floats>[0], key: string): ReturnType<typeof floats> {
  const name = [...tensors.keys()].find((candidate) => placeOf(candidate) === placeOf(key));
  if (name === undefined) throw new CaseFailure(`AdapterHub has no ${key}`);
  return floats(tensors, name);
}
