/** @file Every method on every architecture, tiny and random, against what the contract of methods promises. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { condenseAdapter, forUnchangedBase } from "../../src/adapters/condense.ts";
import { loadAdapter, saveAdapter } from "../../src/adapters/folder.ts";
import { withMergedWeights } from "../../src/adapters/merged-base.ts";
import { methodTable } from "../../src/adapters/method-table.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { openBase, storedParameters } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import { withBaseChanges } from "../../src/base/changed-base.ts";
import type { HostArray } from "../../src/graph/operation.ts";
import { SessionCache } from "../../src/generation/session-cache.ts";
import { constantFeeds } from "../../src/methods/constants.ts";
import { entryValues } from "../../src/methods/layout.ts";
import type { Task } from "../../src/models/forward.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import { buildLogitsGraph } from "../../src/tasks/graphs.ts";
import { buildPenaltyGraph } from "../../src/tasks/penalty.ts";
import { frozenInput, trainableInput } from "../../src/tasks/pass.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { elementCount, float32Tensor, int64Tensor } from "../../src/tensor/tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { adamWDefaults } from "../../src/training/optimiser.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { scratchFolder } from "../support/tiny-base.ts";
import { methodRows } from "./method-rows.ts";
import type { MethodRow } from "./method-row.ts";
import { lossOf } from "./pinned-gradients.ts";

interface Architecture {
  readonly name: string;
  readonly task: Task;
  readonly configuration: Readonly<Record<string, unknown>>;
}

/** Graphs for training are differentiated as they are: without masks that differ from run to run. */
const noDropout = {
  hidden_dropout_prob: 0,
  attention_probs_dropout_prob: 0,
  embd_pdrop: 0,
  attn_pdrop: 0,
  resid_pdrop: 0,
  dropout_rate: 0,
};
const sizes = {
  vocab_size: 12,
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  max_position_embeddings: 16,
};
const encoder = { ...sizes, num_hidden_layers: 1, type_vocab_size: 2, pad_token_id: 1 };
/** Large initial weights: with the usual small ones every change is lost in rounding. */
const common = { initializer_range: 0.4, ...noDropout };

const architectures: readonly Architecture[] = [
  {
    name: "llama",
    task: "causal-lm",
    configuration: { ...common, ...sizes, model_type: "llama", num_hidden_layers: 1, num_key_value_heads: 1 },
  },
  {
    name: "llama with tied embeddings",
    task: "causal-lm",
    configuration: {
      ...common,
      ...sizes,
      model_type: "llama",
      num_hidden_layers: 1,
      num_key_value_heads: 1,
      tie_word_embeddings: true,
    },
  },
  {
    name: "mixtral",
    task: "causal-lm",
    configuration: {
      ...common,
      ...sizes,
      model_type: "mixtral",
      num_hidden_layers: 1,
      num_key_value_heads: 1,
      num_local_experts: 4,
      num_experts_per_tok: 3,
      output_router_logits: true,
      router_aux_loss_coef: 0.2,
    },
  },
  {
    name: "gpt2",
    task: "causal-lm",
    configuration: {
      ...common,
      model_type: "gpt2",
      vocab_size: 12,
      n_embd: 4,
      n_layer: 1,
      n_head: 2,
      n_positions: 16,
    },
  },
  { name: "bert", task: "masked-lm", configuration: { ...common, ...encoder, model_type: "bert" } },
  {
    name: "roberta",
    task: "classification",
    configuration: { ...common, ...encoder, model_type: "roberta", type_vocab_size: 1 },
  },
  {
    name: "t5",
    task: "seq2seq-lm",
    configuration: {
      ...common,
      model_type: "t5",
      vocab_size: 12,
      d_model: 8,
      d_kv: 4,
      d_ff: 12,
      num_layers: 1,
      num_heads: 2,
      relative_attention_num_buckets: 4,
      relative_attention_max_distance: 3,
      initializer_factor: 1.2,
      tie_word_embeddings: false,
      feed_forward_proj: "gated-gelu",
      decoder_start_token_id: 0,
    },
  },
];

const session = { threads: 1 };

const scratch = scratchFolder();
const sessions = new SessionCache(cpu, session);
afterAll(async () => {
  await sessions.dispose();
  scratch.dispose();
});

const opened = new Map<string, Promise<Base>>();

/** The same base for every test of an architecture: none of them may change it. */
function openTiny({ name, task, configuration }: Architecture): Promise<Base> {
  const known = opened.get(name);
  if (known) return known;
  const file = path.join(scratch.path, `${name}.json`);
  writeFileSync(file, JSON.stringify(configuration));
  const base = openBase({ path: file, name: "tiny", task, labelCount: 3, randomWeights: 1 });
  opened.set(name, base);
  return base;
}

function batchFor({ settings: { task } }: Base): TaskBatch {
  const ids = [3, 5, 7, 2, 11, 4, 5, 3, 9, 6];
  const labels = int64Tensor([2, 5], ids);
  const inputs = {
    inputIds: int64Tensor([2, 5], ids),
    attentionMask: int64Tensor([2, 5], [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]),
  };
  if (task === "seq2seq-lm") return { ...inputs, targets: int64Tensor([2, 5], ids.toReversed()) };
  return task === "classification" ? { ...inputs, classLabels: [2, 0] } : { ...inputs, labels };
}

async function logitsOf(base: Base, adapters: readonly Adapter[]): Promise<Float32Array> {
  const graph = buildLogitsGraph({
    model: base.model,
    settings: base.settings,
    adapters: adapters.map(({ name, method }) => ({ name, method, trainable: false })),
    padding: !base.model.causal,
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const feeds = adapters.map(({ name, method, values }) => ({
    [frozenInput(name)]: float32Tensor([values.length], values),
    ...constantFeeds(name, method),
  }));
  const running = await sessions.open(withBaseChanges(base, adapters), graph.graph);
  const { tensors } = feedsOf(graph, base.model, batchFor(base));
  const { data } = (await running.run(Object.assign({}, tensors, ...feeds) as Record<string, Tensor>))[
    "logits"
  ]!;
  return ownRows(data as Float32Array, base, graph.virtualTokens);
}

/** The logits of the batch's own tokens, those of virtual ones left out. */
function ownRows(logits: Float32Array, { settings: { task } }: Base, virtualTokens: number): Float32Array {
  if (task === "classification") return logits;
  const row = logits.length / 2;
  const skipped = (row / (virtualTokens + 5)) * virtualTokens;
  return Float32Array.from([...logits.subarray(skipped, row), ...logits.subarray(row + skipped)]);
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
}

function create(row: MethodRow, base: Base): Adapter {
  return createAdapter<MethodType>({ base, type: row.type, configuration: row.configuration(base), seed: 7 });
}

/** The adapter away from its start. */
function moved(adapter: Adapter): Adapter {
  const noise = new TorchGenerator(3).normal(adapter.values.length, 0, 0.2);
  return withValues<MethodType>(
    adapter,
    adapter.values.map((value, index) => value + noise[index]!),
  );
}

const pairs = methodRows.flatMap((row) =>
  architectures.map(
    (architecture) => [`${row.name} on ${architecture.name}`, row as MethodRow, architecture] as const,
  ),
);
/** A method that trains no modules of the base besides cannot train a new head. */
const pairsFor = (allowed: (row: MethodRow) => boolean) =>
  pairs.filter(
    ([, row, { task, configuration }]) =>
      allowed(row) &&
      (row.fits?.(configuration) ?? true) &&
      !(row.type === "TRAINABLE_TOKENS" && task === "classification"),
  );

const everyPair = pairsFor(() => true);

describe.each(everyPair)("%s", (_name, row, architecture) => {
  test(row.startsElsewhere ? "starts apart from the base" : "starts as the base", async () => {
    const base = await openTiny(architecture);
    const difference = largestDifference(await logitsOf(base, [create(row, base)]), await logitsOf(base, []));
    if (row.startsElsewhere) expect(difference).toBeGreaterThan(1e-3);
    else expect(difference).toBeLessThan(2e-5);
  });

  test("changes the model away from its start, and merges to the same or says why not", async () => {
    const base = await openTiny(architecture);
    const adapter = moved(create(row, base));
    const adapted = await logitsOf(base, [adapter]);
    expect(largestDifference(adapted, await logitsOf(base, []))).toBeGreaterThan(1e-3);
    const { merge } = adapter.method;
    if ("impossible" in merge) {
      await expect(withMergedWeights(base, [adapter])).rejects.toThrow(
        `The adapter "default" (${row.type}) cannot be merged: ${merge.impossible}`,
      );
      return;
    }
    const merged = await logitsOf(await withMergedWeights(base, [adapter]), []);
    expect(largestDifference(merged, adapted)).toBeLessThan(1e-4);
  });

  test("computes the same with the unchanged base, where it can", async () => {
    const base = await openTiny(architecture);
    const adapter = moved(create(row, base));
    const plain = await forUnchangedBase(adapter, base);
    const isChanging = (adapter.method.baseChanges ?? []).length > 0;
    expect(plain === adapter).toBe(adapter.method.forUnchangedBase === undefined);
    if (plain === adapter) return;
    expect([isChanging, plain.method.baseChanges]).toEqual([true, []]);
    expect(largestDifference(await logitsOf(base, [plain]), await logitsOf(base, [adapter]))).toBeLessThan(
      1e-4,
    );
  });

  test("has as many parameters as its formula says", async () => {
    const base = await openTiny(architecture);
    const { method, layout } = create(row, base);
    const head = (key: string) => base.modules.headModules.some((name) => key.startsWith(`${name}.`));
    const own = method.parameters.filter(({ key }) => !head(key));
    expect(own.reduce((count, { shape }) => count + elementCount(shape), 0)).toBe(row.parameterCount(base));
    expect(layout.entries.map(({ key }) => key)).toEqual(method.parameters.map(({ key }) => key));
  });

  test("has the slopes that finite differences measure", async () => {
    const base = await openTiny(architecture);
    const adapter = moved(create(row, base));
    const objective = languageObjective({ base, adapters: [adapter], sequenceLength: 5, batchSize: 2 });
    const { tensors } = objective.feeds(batchFor(base));
    const trainer = await Trainer.create({
      objective,
      parameters: adapter.values,
      optimiser: adamWDefaults,
      seed: 0,
      session,
    });
    const { gradient, count } = await trainer.gradient([batchFor(base)]);
    await trainer.dispose();
    const values = Float64Array.from(adapter.values);
    const feeds: Record<string, HostArray> = { [trainableInput]: { shape: [values.length], data: values } };
    for (const [name, { shape, data }] of Object.entries(tensors))
      feeds[name] = { shape, data: Float64Array.from(Array.from<number | bigint, number>(data, Number)) };
    const changed = withBaseChanges(base, [adapter]);
    for (const { stored, shape } of storedParameters(base.modules))
      feeds[stored] = { shape, data: Float64Array.from(changed.read(stored)) };
    const taskLoss = lossOf(objective.graph, feeds, trainableInput);
    const penalty = buildPenaltyGraph([adapter], objective.layout);
    const penaltyOf = penalty && lossOf(penalty, feeds, trainableInput);
    const loss = (at: Float64Array) => taskLoss(at) + count * (penaltyOf?.(at) ?? 0);
    const step = 1e-4;
    for (const entry of objective.layout.entries) {
      const direction = new TorchGenerator(entry.offset).normal(entry.size, 0, 1);
      const along = (distance: number) =>
        loss(values.map((value, at) => value + distance * (direction[at - entry.offset] ?? 0)));
      const measured = (along(step) - along(-step)) / (2 * step);
      const slope = entryValues(gradient, entry).reduce(
        (total, value, at) => total + value * direction[at]!,
        0,
      );
      expect(Math.abs(slope - measured), `${entry.key}: ${slope}, measured ${measured}`).toBeLessThan(
        1e-3 * (1 + Math.abs(measured)),
      );
    }
  });

  test("moves its own parameters and nothing else", async () => {
    const base = await openTiny(architecture);
    const adapter = moved(create(row, base));
    const before = await logitsOf(base, []);
    const objective = languageObjective({ base, adapters: [adapter], sequenceLength: 5, batchSize: 2 });
    const start = adapter.values.slice();
    const optimiser = { ...adamWDefaults, weightDecay: 0 };
    const trainer = await Trainer.create({
      objective,
      parameters: adapter.values,
      optimiser,
      seed: 0,
      session,
    });
    const first = await trainer.step([batchFor(base)], 1e-3);
    for (let step = 0; step < 8; step++) await trainer.step([batchFor(base)], 1e-3);
    const { loss } = await trainer.gradient([batchFor(base)]);
    expect(loss).toBeLessThan(first.loss);
    for (const entry of adapter.layout.entries)
      expect([entry.key, entryValues(trainer.parameters, entry)]).not.toEqual([
        entry.key,
        entryValues(start, entry),
      ]);
    expect(adapter.values).toEqual(start);
    expect(await logitsOf(base, [])).toEqual(before);
    await trainer.dispose();
  });
});

describe.each(pairsFor(({ type }) => methodTable[type].format !== undefined))(
  "%s",
  (_name, row, architecture) => {
    test("comes back from its folder as it was", async () => {
      const base = await openTiny(architecture);
      const adapter = moved(create(row, base));
      const folder = path.join(temporaryFolder(), "adapter");
      await saveAdapter(folder, adapter, base);
      const loaded = loadAdapter(folder, base);
      const condensed = await condenseAdapter(adapter, base);
      expect(loaded.values).toEqual(condensed.values);
      expect(loaded.methodType).toBe(row.type);
      const logits = await logitsOf(base, [loaded]);
      expect(logits).toEqual(await logitsOf(base, [condensed]));
      expect(largestDifference(logits, await logitsOf(base, [adapter]))).toBeLessThan(1e-5);
    });
  },
);
