import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { TensorEntry } from "../files/safetensors-write.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { elementCount, float32Tensor } from "../tensor/tensor.ts";
import type { Task } from "../models/forward.ts";
import { knownModelTypes } from "../models/index.ts";
import { openBase, storedParameters } from "./base.ts";
import type { Base } from "./base.ts";

const configuration = {
  model_type: "llama",
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  tie_word_embeddings: true,
};

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});

function writeConfiguration(changes: Readonly<Record<string, unknown>> = {}): string {
  const folder = temporaryFolder();
  writeFileSync(path.join(folder, "config.json"), JSON.stringify({ ...configuration, ...changes }));
  return folder;
}

/** Entries of a whole checkpoint of the configuration in a folder. */
async function entriesFor(folder: string, task: Task = "causal-lm"): Promise<TensorEntry[]> {
  const base = await openBase({ path: path.join(folder, "config.json"), task, randomWeights: 0 });
  return storedParameters(base.modules).map(({ stored, shape }) => ({
    name: stored,
    tensor: float32Tensor(shape, new TorchGenerator(stored.length).normal(elementCount(shape))),
  }));
}

const writeWeights = (folder: string, entries: readonly TensorEntry[]) => {
  writeSafetensors(path.join(folder, "model.safetensors"), entries);
};

/** The float32 values a session would map. */
function mapped(base: Base, stored: string): Float32Array {
  const { path: file, offset } = base.locate(stored);
  const safetensors = openSafetensors(file);
  const tensor = [...safetensors.tensors.values()].find((candidate) => candidate.offset === offset);
  return readFloat32(safetensors, tensor?.name ?? "");
}

test("float32 weights stay where they are, 16-bit ones are converted once into the cache", async () => {
  const folder = writeConfiguration();
  const entries = await entriesFor(folder);
  writeWeights(folder, entries);
  const direct = await openBase({ path: folder, task: "causal-lm" });
  expect(direct.locate("model.norm.weight").path).toBe(path.join(folder, "model.safetensors"));

  writeWeights(folder, entries.map((entry) => ({ ...entry, storedAs: "bfloat16" as const })));
  const converted = await openBase({ path: folder, task: "causal-lm" });
  const cache = path.join(process.env["DELTAFIT_CACHE"] ?? "", "weights");
  expect(converted.locate("model.norm.weight").path.startsWith(cache)).toBe(true);
  for (const { name } of entries) expect(mapped(converted, name)).toEqual(converted.read(name));
  const files = readdirSync(cache).length;
  await openBase({ path: folder, task: "causal-lm" });
  expect(readdirSync(cache).length).toBe(files);
});

test("two openings at once prepare the same file", async () => {
  const folder = writeConfiguration();
  writeWeights(folder, (await entriesFor(folder)).map((entry) => ({ ...entry, storedAs: "float16" as const })));
  const [one, two] = await Promise.all([openBase({ path: folder, task: "causal-lm" }), openBase({ path: folder, task: "causal-lm" })]);
  expect(one.locate("model.norm.weight")).toEqual(two.locate("model.norm.weight"));
});

test("changed weights of the same size are prepared anew", async () => {
  const folder = writeConfiguration();
  const entries = await entriesFor(folder);
  const write = (factor: number) => {
    writeWeights(
      folder,
      entries.map(({ name, tensor }) => ({
        name,
        tensor: float32Tensor(tensor.shape, Float32Array.from(tensor.data as Float32Array, (value) => value * factor)),
        storedAs: "float16" as const,
      })),
    );
  };
  write(1);
  const first = mapped(await openBase({ path: folder, task: "causal-lm" }), "model.norm.weight");
  write(2);
  const second = mapped(await openBase({ path: folder, task: "causal-lm" }), "model.norm.weight");
  expect(second).toEqual(first.map((value) => 2 * value));
});

test("missing, unknown and misshapen tensors are refused by name", async () => {
  const folder = writeConfiguration();
  const entries = await entriesFor(folder);
  const kept = entries.filter(({ name }) => name !== "model.layers.0.self_attn.k_proj.weight" && name !== "model.norm.weight");
  writeWeights(folder, [
    ...kept,
    { name: "model.norm.weight", tensor: float32Tensor([4], new Float32Array(4)) },
    { name: "model.layers.1.self_attn.q_proj.weight", tensor: float32Tensor([1], [0]) },
  ]);
  expect(await rejectionOf(() => openBase({ path: folder, task: "causal-lm" }), folder)).toMatchInlineSnapshot(`
    {
      "code": "checkpoint-mismatch",
      "hint": "Check that config.json and the weights belong together and that the download is complete.",
      "message": "The checkpoint in "FOLDER" does not fit its config.json (llama). Tensors missing: model.layers.0.self_attn.k_proj.weight [8, 8]; not known: model.layers.1.self_attn.q_proj.weight; of another shape: model.norm.weight is [4], expected [8].",
    }
  `);
});

test("a checkpoint of a bare body lacks the body's name, and heads of other tasks are left alone", async () => {
  const folder = writeConfiguration();
  const entries = await entriesFor(folder);
  writeWeights(folder, entries.map((entry) => ({ ...entry, name: entry.name.replace(/^model\./, "") })));
  const bare = await openBase({ path: folder, task: "classification", labelCount: 3 });
  expect(bare.newParameters).toEqual(["score.weight"]);
  expect(bare.read("model.norm.weight")).toEqual(entries.find(({ name }) => name === "model.norm.weight")?.tensor.data);
  expect(await rejectionOf(() => Promise.resolve().then(() => bare.locate("score.weight")), folder)).toMatchInlineSnapshot(`
    {
      "code": "checkpoint-mismatch",
      "hint": "Load an adapter that brings the head, or train one.",
      "message": "The model "FOLDER" has no trained head for this task: missing score.weight.",
    }
  `);

  writeWeights(folder, [...entries, { name: "score.weight", tensor: float32Tensor([2, 8], new Float32Array(16)) }]);
  const causal = await openBase({ path: folder, task: "causal-lm" });
  expect(causal.newParameters).toEqual([]);
});

test("a body is found by the name that it has with the head of another task", async () => {
  const folder = writeConfiguration();
  const entries = await entriesFor(folder);
  const norm = entries.find(({ name }) => name === "model.norm.weight")?.tensor.data;
  writeWeights(folder, entries);
  const answering = await openBase({ path: folder, task: "question-answering" });
  expect(answering.newParameters).toEqual(["qa_outputs.weight", "qa_outputs.bias"]);
  expect([...answering.modules.linears.keys()]).toContain("transformer.layers.0.self_attn.q_proj");
  expect(answering.read("transformer.norm.weight")).toEqual(norm);

  const head = [
    { name: "qa_outputs.weight", tensor: float32Tensor([2, 8], new Float32Array(16)) },
    { name: "qa_outputs.bias", tensor: float32Tensor([2], new Float32Array(2)) },
  ];
  const renamed = entries.map((entry) => ({ ...entry, name: entry.name.replace(/^model\./, "transformer.") }));
  writeWeights(folder, [...renamed, ...head]);
  expect((await openBase({ path: folder, task: "question-answering" })).newParameters).toEqual([]);
  const causal = await openBase({ path: folder, task: "causal-lm" });
  expect(causal.newParameters).toEqual([]);
  expect(causal.read("model.norm.weight")).toEqual(norm);
});

test("an old checkpoint's gamma and beta are the norms' weight and bias, with the body's name and without", async () => {
  const folder = temporaryFolder();
  const sizes = { vocab_size: 11, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12 };
  writeFileSync(path.join(folder, "config.json"), JSON.stringify({ model_type: "bert", ...sizes }));
  const entries = await entriesFor(folder, "masked-lm");
  const older = (name: string) => name.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta");
  const norm = "bert.encoder.layer.0.output.LayerNorm.bias";
  const expected = entries.find(({ name }) => name === norm)?.tensor.data;
  expect(expected).toHaveLength(8);
  for (const nameOf of [older, (name: string) => older(name).replace(/^bert\./, "")]) {
    writeWeights(folder, entries.map((entry) => ({ ...entry, name: nameOf(entry.name) })));
    const base = await openBase({ path: folder, task: "masked-lm" });
    expect(base.newParameters).toEqual([]);
    expect(base.read(norm)).toEqual(expected);
  }
});

test("random weights depend on the seed and the configuration alone", async () => {
  const folder = writeConfiguration();
  const open = (seed: number) => openBase({ path: path.join(folder, "config.json"), task: "causal-lm", randomWeights: seed });
  const name = "model.layers.0.mlp.up_proj.weight";
  expect((await open(1)).read(name)).toEqual((await open(1)).read(name));
  expect((await open(1)).read(name)).not.toEqual((await open(2)).read(name));
  expect((await open(1)).read("model.norm.weight")).toEqual(new Float32Array(8).fill(1));
});

test.each([
  ["a number that does not fit", { hidden_size: "wide" }],
  ["heads that do not divide the width", { num_attention_heads: 3 }],
  ["a rotary scaling it does not know", { rope_scaling: { rope_type: "longrope", factor: 2 } }],
])("refuses a configuration with %s", async (_what, changes) => {
  const folder = writeConfiguration(changes);
  expect(await rejectionOf(() => openBase({ path: folder, task: "causal-lm" }), folder)).toMatchSnapshot();
});

test("an unknown architecture is refused with the list of known ones", async () => {
  const folder = writeConfiguration({ model_type: "rwkv" });
  expect(await rejectionOf(() => openBase({ path: folder, task: "causal-lm" }), folder)).toEqual({
    code: "architecture-unknown",
    message: 'config.json: the model_type "rwkv" is not known.',
    hint: `Known are ${knownModelTypes.join(", ")}.`,
  });
});

test("a configuration without weights needs --random-weights", async () => {
  const folder = writeConfiguration();
  expect(await rejectionOf(() => openBase({ path: path.join(folder, "config.json"), task: "causal-lm" }), folder)).toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "Name the model's folder, or ask for random weights.",
      "message": ""FOLDER/config.json" is a configuration without weights.",
    }
  `);
});
