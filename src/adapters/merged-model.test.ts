import fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import { openBase } from "../base/base.ts";
import type { Base } from "../base/base.ts";
import { openSafetensors, readFloat32, readTensor, readTensorBytes } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { loraDefaults } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { cpu } from "../runtime/cpu.ts";
import { feedsOf } from "../tasks/feeds.ts";
import { buildLogitsGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import { createAdapter } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { mergeAdapters } from "./merge.ts";
import { withMergedWeights } from "./merged-base.ts";
import { writeMergedModel } from "./merged-model.ts";

let scratch: ReturnType<typeof scratchFolder>;
/** A base in a folder of its own, stored as bfloat16. */
let stored: Base;
let baseFolder = "";
beforeAll(async () => {
  scratch = scratchFolder();
  baseFolder = join(scratch.path, "base");
  await writeMergedModel(await tinyBase(scratch.path), [], baseFolder, { dtype: "bfloat16" });
  fs.writeFileSync(join(baseFolder, "tokenizer.json"), "{}");
  fs.writeFileSync(join(baseFolder, "training_args.bin"), "not a part of the model");
  stored = await openBase({ path: baseFolder, task: "causal-lm" });
});
afterAll(() => scratch.dispose());

const target = "model.layers.0.self_attn.q_proj.weight";

function loraAdapter(of: Base, settings: Partial<LoraConfiguration> = {}): Adapter {
  const configuration = {
    ...loraDefaults,
    rank: 2,
    alpha: 4,
    targets: ["q_proj"],
    initialWeights: false,
    ...settings,
  };
  return createAdapter({ base: of, type: "LORA", configuration, seed: 1 });
}

function weightsOf(folder: string) {
  return openSafetensors(join(folder, "model.safetensors"));
}

function configurationOf(folder: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
}

it("writes a model that opens, with untouched tensors byte for byte", async () => {
  const folder = join(scratch.path, "as-stored");
  const adapter = loraAdapter(stored);
  const summary = await writeMergedModel(stored, [adapter], folder);
  expect(summary).toMatchObject({
    modules: ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"],
    untied: [],
  });
  expect(fs.readdirSync(folder).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
  const [before, after] = [weightsOf(baseFolder), weightsOf(folder)];
  expect([...after.tensors.keys()]).toEqual([...before.tensors.keys()]);
  expect(after.metadata).toEqual({ format: "pt" });
  for (const name of before.tensors.keys()) {
    expect(after.tensors.get(name)!.dtype).toBe("bfloat16");
    if (!name.endsWith("q_proj.weight"))
      expect(readTensorBytes(after, name)).toEqual(readTensorBytes(before, name));
  }
  const merged = mergeAdapters(stored, [adapter]);
  const values = await merged.compute(target);
  await merged.dispose();
  const reopened = await openBase({ path: folder, task: "causal-lm" });
  for (const [index, value] of reopened.read(target).entries())
    expect(Math.abs(value - values[index]!)).toBeLessThanOrEqual(Math.abs(values[index]!) / 256);
});

it("writes another precision on request, and says so in the configuration", async () => {
  const folder = join(scratch.path, "float32");
  await writeMergedModel(stored, [loraAdapter(stored)], folder, { dtype: "float32" });
  expect([...weightsOf(folder).tensors.values()].every(({ dtype }) => dtype === "float32")).toBe(true);
  expect(readFloat32(weightsOf(folder), "model.norm.weight")).toEqual(stored.read("model.norm.weight"));
  expect(configurationOf(folder)["torch_dtype"]).toBe("float32");
});

it("refuses numbers that float16 cannot hold and leaves nothing behind", async () => {
  const folder = join(scratch.path, "overflow");
  const adapter = loraAdapter(stored);
  adapter.values.fill(1e4);
  expect(await rejectionOf(() => writeMergedModel(stored, [adapter], folder, { dtype: "float16" }))).toEqual({
    code: "not-finite",
    message: `The tensor "${target}" holds numbers beyond 65504, the largest of float16.`,
    hint: "Write the merged model as bfloat16 or float32.",
  });
  expect(fs.readdirSync(scratch.path).filter((name) => name.includes("overflow"))).toEqual([]);
});

it("refuses to replace the base", async () => {
  expect(await rejectionOf(() => writeMergedModel(stored, [], baseFolder), baseFolder)).toEqual({
    code: "usage-invalid",
    message: 'The output folder "FOLDER" would be replaced as a whole, and the base "FOLDER" lies in it.',
    hint: "Name another folder for the merged model.",
  });
});

it("writes untied embeddings as tensors of their own, and drops copies that nobody reads", async () => {
  const tiedFolder = join(scratch.path, "tied");
  const tied = await tinyBase(scratch.path, { configuration: { tie_word_embeddings: true } });
  await writeMergedModel(tied, [], tiedFolder);
  // Older tools store the tied tensor twice.
  const file = weightsOf(tiedFolder);
  const entries = [...file.tensors.keys()].map((name) => ({ name, tensor: readTensor(file, name) }));
  const copy = { name: "lm_head.weight", tensor: readTensor(file, "model.embed_tokens.weight") };
  writeSafetensors(join(tiedFolder, "model.safetensors"), [...entries, copy]);
  const base = await openBase({ path: tiedFolder, task: "causal-lm" });

  const shared = join(scratch.path, "shared");
  await writeMergedModel(base, [loraAdapter(base, { targets: ["embed_tokens"] })], shared);
  expect(weightsOf(shared).tensors.has("lm_head.weight")).toBe(false);
  expect(configurationOf(shared)["tie_word_embeddings"]).toBe(true);

  const untied = join(scratch.path, "untied");
  const adapter = loraAdapter(base, { modulesToSave: ["lm_head"] });
  entryValues(adapter.values, findEntry(adapter.layout, "default", "lm_head.weight")).fill(7);
  const summary = await writeMergedModel(base, [adapter], untied);
  expect(summary.untied).toEqual(["model.embed_tokens.weight"]);
  expect(configurationOf(untied)["tie_word_embeddings"]).toBe(false);
  const reopened = await openBase({ path: untied, task: "causal-lm" });
  expect(reopened.read("lm_head.weight")).toEqual(new Float32Array(96).fill(7));
  expect(reopened.read("model.embed_tokens.weight")).toEqual(base.read("model.embed_tokens.weight"));
});

it("puts a trained head onto a bare body, and the body's name in front of its tensors", async () => {
  const bert = {
    model_type: "bert",
    vocab_size: 12,
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 16,
    max_position_embeddings: 16,
    hidden_act: "gelu",
    architectures: ["BertModel"],
  };
  const whole = await tinyBase(scratch.path, { configuration: bert, task: "classification", labelCount: 3 });
  const bareFolder = join(scratch.path, "bare");
  fs.mkdirSync(bareFolder);
  fs.writeFileSync(join(bareFolder, "config.json"), JSON.stringify(bert));
  const body = [...whole.modules.parameters.values()].filter(
    ({ name }) => name.startsWith("bert.") && !name.includes("pooler"),
  );
  writeSafetensors(
    join(bareFolder, "model.safetensors"),
    body.map(({ name, shape }) => ({
      name: name.slice("bert.".length),
      tensor: float32Tensor(shape, whole.read(name)),
    })),
  );
  const base = await openBase({ path: bareFolder, task: "classification", labelCount: 3 });
  const adapter = loraAdapter(base, { targets: ["query"] });
  const trained = adapter.layout.entries.map(({ key }) => key).filter((key) => !key.includes("lora"));
  expect(trained).toEqual([
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
    "classifier.weight",
    "classifier.bias",
  ]);

  const folder = join(scratch.path, "classifier");
  await writeMergedModel(base, [adapter], folder);
  const names = [...weightsOf(folder).tensors.keys()];
  expect(names.filter((name) => !name.startsWith("bert."))).toEqual(["classifier.bias", "classifier.weight"]);
  const configuration = configurationOf(folder);
  expect(configuration["architectures"]).toEqual(["BertForSequenceClassification"]);
  expect(configuration["id2label"]).toEqual({ "0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2" });
  const reopened = await openBase({ path: folder, task: "classification" });
  expect(reopened.settings.labelCount).toBe(3);
  expect(reopened.newParameters).toEqual([]);
});

it("gives the body the name that other tools expect beside the head", async () => {
  const whole = await tinyBase(scratch.path);
  const causalFolder = join(scratch.path, "causal");
  fs.mkdirSync(causalFolder);
  fs.copyFileSync(join(scratch.path, "config.json"), join(causalFolder, "config.json"));
  writeSafetensors(
    join(causalFolder, "model.safetensors"),
    [...whole.modules.parameters.values()].map(({ name, shape }) => ({
      name,
      tensor: float32Tensor(shape, whole.read(name)),
    })),
  );
  const base = await openBase({ path: causalFolder, task: "question-answering" });
  const folder = join(scratch.path, "answers");
  await writeMergedModel(base, [loraAdapter(base, { targets: ["q_proj"] })], folder);
  const names = [...weightsOf(folder).tensors.keys()];
  expect(names.filter((name) => !name.startsWith("transformer."))).toEqual([
    ...["lm_head.weight", "qa_outputs.bias", "qa_outputs.weight"],
  ]);
  expect(configurationOf(folder)["architectures"]).toEqual(["LlamaForQuestionAnswering"]);
  const reopened = await openBase({ path: folder, task: "question-answering" });
  expect(reopened.newParameters).toEqual([]);
  expect(reopened.read("transformer.norm.weight")).toEqual(whole.read("model.norm.weight"));
});

async function logitsOf(base: Base, adapters: readonly Adapter[]): Promise<Float32Array> {
  const { model, settings } = base;
  const parts = { padding: false, attentionBlocks: 1, lossChunks: 1 };
  const active = adapters.map(({ name, method }) => ({ name, method, trainable: false }));
  const taskGraph = buildLogitsGraph({ model, settings, adapters: active, ...parts });
  const batch = {
    inputIds: int64Tensor([1, 4], [1, 5, 2, 7]),
    attentionMask: int64Tensor([1, 4], [1, 1, 1, 1]),
  };
  const values = adapters.map(
    ({ name, values: own }) => [frozenInput(name), float32Tensor([own.length], own)] as const,
  );
  const session = await cpu.createSession(taskGraph.graph, (weight) => base.locate(weight), { threads: 1 });
  try {
    const feeds = { ...feedsOf(taskGraph, model, batch).tensors, ...Object.fromEntries(values) };
    return (await session.run(feeds))["logits"]!.data as Float32Array;
  } finally {
    await session.dispose();
  }
}

it("gives an output embedding that is no longer tied the bias it had from its head", async () => {
  const configuration = {
    model_type: "bert",
    num_hidden_layers: 1,
    max_position_embeddings: 16,
    initializer_range: 0.4,
    tie_word_embeddings: true,
    architectures: ["BertForMaskedLM"],
  };
  const base = await tinyBase(scratch.path, { configuration, task: "masked-lm" });
  const tiedWeight = "bert.embeddings.word_embeddings.weight";
  for (const [name, modulesToSave] of [
    ["whole-head", ["cls"]],
    ["output-alone", ["cls.predictions.decoder"]],
  ] as const) {
    const adapter = loraAdapter(base, { targets: ["query"], modulesToSave });
    for (const [index, value] of adapter.values.entries())
      adapter.values[index] = value + Math.sin(index) / 4;
    const expected = await logitsOf(base, [adapter]);
    const inMemory = await logitsOf(await withMergedWeights(base, [adapter]), []);
    const folder = join(scratch.path, name);
    expect((await writeMergedModel(base, [adapter], folder)).untied).toEqual([tiedWeight]);
    const reopened = await openBase({ path: folder, task: "masked-lm" });
    expect(reopened.newParameters).toEqual([]);
    // Tools of before read the head's bias, those of today the layer's own.
    expect(reopened.read("cls.predictions.decoder.bias")).toEqual(
      readFloat32(weightsOf(folder), "cls.predictions.bias"),
    );
    for (const found of [inMemory, await logitsOf(reopened, [])])
      for (const [index, value] of found.entries()) expect(value).toBeCloseTo(expected[index]!, 4);
  }
});
