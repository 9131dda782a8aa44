/** @file What deltafit computes for a case: logits, losses and greedy tokens, with the padding that does not count. */
import { join } from "node:path";
import { z } from "zod";
import type { Adapter } from "../../src/adapters/adapter.ts";
import type { Base } from "../../src/base/base.ts";
import { openBase } from "../../src/base/base.ts";
import { withBaseChanges } from "../../src/base/changed-base.ts";
import { DeltafitError } from "../../src/errors.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { graphOf } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import { verify } from "../../src/graph/verify.ts";
import { createGenerator } from "../../src/generation/generate.ts";
import { constantFeeds } from "../../src/methods/constants.ts";
import { createModel } from "../../src/models/index.ts";
import { predictsTokens } from "../../src/models/forward.ts";
import type { Task } from "../../src/models/forward.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import type { SessionOptions } from "../../src/runtime/session.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import { buildEvaluationGraph, buildLogitsGraph } from "../../src/tasks/graphs.ts";
import type { TaskGraph, TaskGraphOptions } from "../../src/tasks/graphs.ts";
import { frozenInput, rowWeightInput, startPass, trainableInput } from "../../src/tasks/pass.ts";
import { buildPenaltyGraph } from "../../src/tasks/penalty.ts";
import { float32Tensor } from "../../src/tensor/tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { CaseFailure, compare, floats } from "./cases.ts";
import type { Tolerance } from "./cases.ts";
import { CaseSkipped, skipOn } from "./section.ts";

/** The models are tiny: more threads only wait for each other. */
export const sessionOptions: SessionOptions = { threads: 1 };

const tasks: Readonly<Record<string, Task>> = {
  "causal-lm": "causal-lm",
  "masked-lm": "masked-lm",
  "seq2seq-lm": "seq2seq-lm",
  "sequence-classification": "classification",
  regression: "regression",
  "multi-label-classification": "multi-label-classification",
  "token-classification": "token-classification",
  "question-answering": "question-answering",
};

const typeSchema = z.looseObject({ model_type: z.string() });

/** Opens a base for a case's task; skips the case where deltafit lacks the architecture or the task. */
export async function openCaseBase(folder: string, task: string): Promise<Base> {
  const configuration = typeSchema.parse(readJsonFile(join(folder, "config.json")));
  try {
    createModel(configuration);
  } catch (error) {
    if (DeltafitError.isInstance(error) && error.code === "architecture-unknown")
      throw new CaseSkipped(`the architecture ${configuration.model_type} is not implemented`);
    throw error;
  }
  const known = tasks[task];
  if (known === undefined) throw new CaseSkipped(`the task ${task} is not implemented`);
  return skipOn(["architecture-unknown"], () => openBase({ path: folder, task: known }));
}

/** Outputs of a graph, with the number of positions that methods put in front of every row. */
export interface Computed {
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly virtualTokens: number;
}

/** The output "logits", and "hidden.I" where asked for. */
export function computeLogits(
  base: Base,
  adapters: readonly Adapter[],
  batch: TaskBatch,
  hiddenStates = false,
): Promise<Computed> {
  return run(base, adapters, batch, (options) => buildLogitsGraph(options, hiddenStates));
}

/** The output "logits" where each row of the batch has its own weights of the adapters, one list for each adapter. */
export function computeMixedLogits(
  base: Base,
  adapters: readonly Adapter[],
  batch: TaskBatch,
  rowWeights: readonly (readonly number[])[],
): Promise<Computed> {
  return run(base, adapters, batch, (options) => buildLogitsGraph(options), rowWeights);
}

/**
 * The mean loss over supervised tokens or rows, without dropout, and what the model adds to it: in Python it is part of
 * every loss.
 */
export async function computeLoss(
  base: Base,
  adapters: readonly Adapter[],
  batch: TaskBatch,
): Promise<number> {
  // Two parts, so that a loss made in parts is covered as well.
  const { outputs, count } = await run(base, adapters, batch, (options) =>
    buildEvaluationGraph({ ...options, lossChunks: 2 }),
  );
  const mean = Number(outputs["loss"]?.data[0]) / count;
  if (!predictsTokens(base.settings.task) || base.model.countsTokens !== true) return mean;
  const added = await run(base, adapters, batch, buildAddedLossGraph);
  return mean + Number(added.outputs["loss"]?.data[0]);
}

/** Output "loss": what the model adds to the mean loss of the tokens it predicts. */
function buildAddedLossGraph(options: TaskGraphOptions): TaskGraph {
  const pass = startPass({ ...options, training: false });
  options.model.encode(pass.context);
  const value = pass.losses.reduce((a, b) => pass.builder.add(a, b));
  return { ...buildEvaluationGraph(options), graph: graphOf([{ name: "loss", value }]) };
}

/** The terms that an adapter's method adds to the loss: in Python they are part of every loss. */
export function computePenalty({ name, method, layout, values }: Adapter): number {
  const graph = buildPenaltyGraph([{ name, method }], layout);
  if (!graph) return 0;
  const vector = { shape: [layout.size], data: Float64Array.from(values) };
  return interpret(graph, { [trainableInput]: vector })["loss"]?.data[0] ?? NaN;
}

async function run(
  base: Base,
  adapters: readonly Adapter[],
  batch: TaskBatch,
  build: (options: TaskGraphOptions) => TaskGraph,
  rowWeights?: readonly (readonly number[])[],
): Promise<Computed & { readonly count: number }> {
  const { model, settings } = base;
  const taskGraph = build({
    model,
    settings,
    adapters: adapters.map(({ name, method }) => ({
      name,
      method,
      trainable: false,
      rowWeights: rowWeights !== undefined,
    })),
    padding: true,
    attentionBlocks: 1,
    lossChunks: 1,
  });
  verify(taskGraph.graph);
  const feeds = feedsOf(taskGraph, model, batch);
  const values = adapters.flatMap(({ name, method, values: own }) => [
    [frozenInput(name), float32Tensor([own.length], own)] as const,
    ...Object.entries(constantFeeds(name, method)),
  ]);
  const weights = (rowWeights ?? []).map(
    (own, index) => [rowWeightInput(adapters[index]?.name ?? ""), float32Tensor([own.length], own)] as const,
  );
  const changed = withBaseChanges(base, adapters);
  const session = await cpu.createSession(
    taskGraph.graph,
    (weight) => changed.locate(weight),
    sessionOptions,
  );
  try {
    const outputs = await session.run({ ...feeds.tensors, ...Object.fromEntries([...values, ...weights]) });
    return { outputs, virtualTokens: taskGraph.virtualTokens, count: feeds.count };
  } finally {
    await session.dispose();
  }
}

/** Compares what has a row for each position where the mask is 1; what has a row for each text everywhere. */
export function compareOutput(
  what: string,
  { outputs, virtualTokens }: Computed,
  output: string,
  expected: ReturnType<typeof floats>,
  batch: TaskBatch,
  tolerance: Tolerance,
): void {
  const actual = outputs[output];
  if (!(actual?.data instanceof Float32Array)) throw new CaseFailure(`${what}: there is no output ${output}`);
  if (actual.shape.join() !== expected.shape.join())
    throw new CaseFailure(`${what}: shape [${actual.shape.join()}], expected [${expected.shape.join()}]`);
  const isPerToken = expected.shape.length === 3;
  const [, length = 0, width = 0] = expected.shape;
  const ownLength = length - virtualTokens;
  const counts = (index: number): boolean => {
    // The library sees all that an encoder-decoder writes.
    if (!isPerToken || batch.targets) return true;
    const place = Math.floor(index / width);
    const position = (place % length) - virtualTokens;
    return position < 0 || batch.attentionMask.data[Math.floor(place / length) * ownLength + position] === 1n;
  };
  compare(what, { shape: actual.shape, data: actual.data }, expected, tolerance, counts);
}

const promptSchema = z.looseObject({
  prompt: z
    .looseObject({
      input_ids: z.array(z.array(z.int())),
      attention_mask: z.array(z.array(z.int())),
    })
    .optional(),
});

/** Where the two best tokens are closer than this, rounding may choose the other one. */
const smallestMargin = 1e-3;

/** Compares greedy tokens with `generated`, each row up to its first doubtful token. */
export async function checkGenerated(
  folder: string,
  expected: ReadonlyMap<string, Tensor>,
  base: Base,
  adapters: readonly Adapter[],
): Promise<void> {
  const generated = expected.get("generated");
  const { prompt } = promptSchema.parse(readJsonFile(join(folder, "inputs.json")));
  if (!generated || !prompt) return;
  const prompts = prompt.input_ids.map((ids, row) =>
    ids.filter((_, index) => prompt.attention_mask[row]?.[index] === 1),
  );
  const margins = floats(expected, "generated_margins").data;
  const count = generated.shape[1] ?? 0;
  const generator = await createGenerator(base, adapters, { session: sessionOptions });
  try {
    const { tokens } = await generator.generate({ prompts, maximumNewTokens: count, stopTokens: [] });
    for (const [row, ids] of tokens.entries())
      for (let index = 0; index < count; index++) {
        if (!((margins[row * count + index] ?? 0) >= smallestMargin)) break;
        const wanted = Number(generated.data[row * count + index]);
        if (ids[index] !== wanted)
          throw new CaseFailure(
            `generated[${row}][${index}]: ${ids[index] ?? "nothing"}, expected ${wanted}`,
          );
      }
  } finally {
    await generator.dispose();
  }
}
