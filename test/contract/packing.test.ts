/**
 * @file Packed rows against rows of their own: the same loss and the same gradient for every architecture and method,
 * and a refusal where that cannot be.
 */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import { collate } from "../../src/data/batches.ts";
import type { Batch } from "../../src/data/batches.ts";
import type { TokenizedExample } from "../../src/data/tokenized-example.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { prefixTuningDefaults } from "../../src/methods/prefix-tuning.ts";
import { knownModelTypes } from "../../src/models/index.ts";
import type { Task } from "../../src/models/forward.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { adamWDefaults } from "../../src/training/optimiser.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { failureOf } from "../support/failure.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { methodRows } from "./method-rows.ts";
import type { MethodRow } from "./method-row.ts";

const sizes = {
  vocab_size: 31,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
  max_position_embeddings: 160,
  initializer_range: 0.4,
  pad_token_id: 1,
};
const decoder = { ...sizes, num_key_value_heads: 1, head_dim: 4 };
const undropped = { hidden_dropout_prob: 0, attention_probs_dropout_prob: 0 };
const encoder = { ...sizes, ...undropped, type_vocab_size: 2 };
const disentangled = { ...encoder, relative_attention: true, position_biased_input: false };

/** Of every architecture, with windows narrower than the longest example. */
const configurations: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  albert: { ...encoder, embedding_size: 4, classifier_dropout_prob: 0 },
  bert: encoder,
  deberta: { ...disentangled, pos_att_type: "c2p|p2c", max_relative_positions: 4 },
  "deberta-v2": {
    ...{ ...disentangled, pos_att_type: ["p2c", "c2p"], share_att_key: true, position_buckets: 4 },
    ...{ norm_rel_ebd: "layer_norm", conv_kernel_size: 3, conv_act: "gelu" },
  },
  distilbert: {
    ...{ vocab_size: 31, dim: 8, hidden_dim: 12, n_layers: 2, n_heads: 2, max_position_embeddings: 32 },
    ...{ initializer_range: 0.4, dropout: 0, attention_dropout: 0, seq_classif_dropout: 0, pad_token_id: 0 },
  },
  electra: { ...encoder, embedding_size: 4 },
  gemma2: { ...decoder, query_pre_attn_scalar: 25, sliding_window: 3 },
  gemma3_text: { ...decoder, sliding_window: 3, sliding_window_pattern: 2 },
  gpt2: {
    ...{ vocab_size: 31, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 160, initializer_range: 0.4 },
    ...{ embd_pdrop: 0, attn_pdrop: 0, resid_pdrop: 0 },
  },
  gpt_neox: { ...sizes, rotary_pct: 0.5, attention_dropout: 0, hidden_dropout: 0 },
  llama: decoder,
  mistral: { ...decoder, sliding_window: 3 },
  mixtral: {
    ...{ ...decoder, sliding_window: 3, num_local_experts: 3, num_experts_per_tok: 2 },
    ...{ output_router_logits: true, router_aux_loss_coef: 0.5 },
  },
  modernbert: {
    ...{ ...sizes, local_attention: 4, global_attn_every_n_layers: 2, classifier_pooling: "mean" },
    ...{ attention_dropout: 0, embedding_dropout: 0, mlp_dropout: 0, classifier_dropout: 0 },
  },
  olmo2: { ...sizes, num_key_value_heads: 1 },
  opt: { ...sizes, ffn_dim: 12, dropout: 0, word_embed_proj_dim: 8, init_std: 0.4 },
  phi3: { ...sizes, num_key_value_heads: 1, sliding_window: 3 },
  qwen2: {
    ...sizes,
    num_key_value_heads: 1,
    use_sliding_window: true,
    sliding_window: 3,
    max_window_layers: 1,
  },
  qwen3: {
    ...decoder,
    layer_types: ["sliding_attention", "full_attention"],
    sliding_window: 3,
    use_sliding_window: true,
  },
  roberta: { ...encoder, type_vocab_size: 1 },
  smollm3: { ...sizes, num_key_value_heads: 1, no_rope_layers: [1, 0] },
  t5: { vocab_size: 31, d_model: 8, d_kv: 4, d_ff: 12, num_layers: 1, num_heads: 2, dropout_rate: 0 },
  "xlm-roberta": { ...encoder, type_vocab_size: 1 },
};

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const session = { threads: 1 };

function openTiny(modelType: string, task: Task): Promise<Base> {
  const file = path.join(temporaryFolder(), "config.json");
  writeFileSync(file, JSON.stringify({ model_type: modelType, ...configurations[modelType] }));
  return openBase({ path: file, name: modelType, task, labelCount: 3, randomWeights: 5 });
}

/** Examples of several lengths: token ids, the second half of type 1, and most labels, that of the first token among them. */
function examplesFor({ model, settings: { task } }: Base, lengths: readonly number[]): TokenizedExample[] {
  const draw = new TorchGenerator(4);
  return lengths.map((length, index) => {
    const inputIds = [...draw.uniform(length, 2, 31)].map(Math.floor);
    const types = model.tokenTypes && { tokenTypeIds: inputIds.map((_, at) => (2 * at < length ? 0 : 1)) };
    if (task === "classification") return { inputIds, ...types, label: index % 3 };
    if (task === "regression") return { inputIds, ...types, label: index / 3 };
    return {
      inputIds,
      ...types,
      labels: inputIds.map((id, at) => ((at + index) % 3 === 2 && at > 0 ? -100 : id)),
    };
  });
}

const lengths = [7, 2, 5, 3, 4, 1, 6];
const pack = { maximumLength: 32, attentionLength: 32 };

async function gradientOf(base: Base, adapter: Adapter, batch: Batch, sequenceLength: number) {
  const packed = batch.sequenceStarts !== undefined;
  const objective = languageObjective({ base, adapters: [adapter], sequenceLength, batchSize: 2, packed });
  const optimiser = adamWDefaults;
  const trainer = await Trainer.create({
    objective,
    parameters: adapter.values,
    optimiser,
    seed: 0,
    session,
  });
  const result = await trainer.gradient([batch]);
  await trainer.dispose();
  return result;
}

async function expectSame(base: Base, adapter: Adapter, sequenceLength = 8): Promise<void> {
  const padToMultipleOf = sequenceLength >= 128 && base.model.causal ? 4 : 1;
  const padding = { padTokenId: base.model.padTokenId ?? 0, padToMultipleOf };
  const examples = examplesFor(base, lengths);
  const apart = await gradientOf(base, adapter, collate(examples, padding), sequenceLength);
  const packed = collate(examples, { ...padding, pack });
  expect(packed.inputIds.shape[0]).toBeLessThan(lengths.length - 2);
  const together = await gradientOf(base, adapter, packed, sequenceLength);
  expect(together.count).toBe(apart.count);
  expect(together.loss).toBeCloseTo(apart.loss, 4);
  const largest = apart.gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(largest).toBeGreaterThan(1e-4);
  for (const [index, value] of apart.gradient.entries())
    expect(Math.abs((together.gradient[index] ?? NaN) - value)).toBeLessThan(2e-5 * largest);
}

/** The adapter away from its start. */
function moved(adapter: Adapter): Adapter {
  const noise = new TorchGenerator(3).normal(adapter.values.length, 0, 0.2);
  return withValues<MethodType>(
    adapter,
    adapter.values.map((value, index) => value + (noise[index] ?? 0)),
  );
}

const lora = (base: Base) =>
  moved(
    createAdapter<MethodType>({
      base,
      type: "LORA",
      configuration: { ...loraDefaults, rank: 2, targets: "all-linear" },
      seed: 7,
    }),
  );
const prefix = (base: Base) =>
  moved(
    createAdapter<MethodType>({
      base,
      type: "PREFIX_TUNING",
      configuration: { ...prefixTuningDefaults, virtualTokens: 4 },
      seed: 7,
    }),
  );

const isEncoder = (modelType: string) => /bert|electra/.test(modelType);

test("every architecture is here", () => {
  expect(Object.keys(configurations)).toEqual(knownModelTypes);
});

const packable = knownModelTypes.filter((modelType) => modelType !== "t5");

test("an encoder-decoder reads and writes rows of their own", async () => {
  const base = await openTiny("t5", "seq2seq-lm");
  const request = { base, adapters: [lora(base)], sequenceLength: 8, batchSize: 2, packed: true };
  expect(failureOf(() => languageObjective(request))).toEqual({
    code: "usage-invalid",
    message: "The architecture t5 reads one text and writes another, so a row cannot hold several examples.",
    hint: "Train without packing; grouping by length saves most of the padding as well.",
  });
});

describe.each(packable)("%s", (modelType) => {
  const task = isEncoder(modelType) ? "masked-lm" : "causal-lm";
  test("LoRA", async () => {
    const base = await openTiny(modelType, task);
    await expectSame(base, lora(base));
  });
  test("prefix tuning", async () => {
    const base = await openTiny(modelType, task);
    await expectSame(base, prefix(base));
  });
});

test.each(["llama", "gpt2", "bert", "roberta", "modernbert", "opt"])("classifying: %s", async (modelType) => {
  const base = await openTiny(modelType, "classification");
  await expectSame(base, lora(base));
});

test("regression", async () => {
  const base = await openTiny("deberta-v2", "regression");
  await expectSame(base, lora(base));
});

test.each([lora, prefix])("causal attention in blocks, with windows", async (create) => {
  const base = await openTiny("mistral", "causal-lm");
  await expectSame(base, create(base), 128);
});

const isInFront = (row: MethodRow) => row.type === "PROMPT_TUNING" || row.type === "P_TUNING";

describe.each(methodRows.map((row) => [row.name, row as MethodRow] as const))("%s", (_name, row) => {
  test.each(["gpt2", "bert"] as const)("on %s", async (modelType) => {
    const base = await openTiny(modelType, modelType === "bert" ? "masked-lm" : "causal-lm");
    const settings = { ...configurations[modelType], model_type: modelType };
    if (row.fits?.(settings) === false) return;
    const configuration = row.configuration(base);
    const adapter = moved(createAdapter<MethodType>({ base, type: row.type, configuration, seed: 7 }));
    if (!isInFront(row)) {
      await expectSame(base, adapter);
      return;
    }
    const request = { base, adapters: [adapter], sequenceLength: 8, batchSize: 2, packed: true };
    expect(failureOf(() => languageObjective(request))).toEqual({
      code: "method-unsupported",
      message:
        'The adapter "default" puts virtual tokens in front of every row, so a row cannot hold several examples.',
      hint: "Train without packing; grouping by length saves most of the padding as well.",
    });
  });
});
