/** @file A base whose frozen matrices are kept in other forms: which ones are, what they stand for, and the cache. */
import fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { scratchFolderPerTest } from "../../test/support/scratch-per-test.ts";
import { tinyBase } from "../../test/support/tiny-base.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { formBytes } from "../graph/weight-form.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import { openBase, storedParameters } from "./base.ts";
import type { Base } from "./base.ts";
import { isSixteenBit, storableMatrices, storageNames } from "./weight-storage.ts";

const scratch = scratchFolderPerTest();

const matrix = "model.layers.0.self_attn.q_proj.weight";
const formed = ({ modules, locate }: Base) =>
  [...modules.parameters.values()].filter(({ stored }) => locate(stored).form).map(({ name }) => name);

test("float32 is what is kept where nothing else is asked for", async () => {
  const base = await tinyBase(scratch.path);
  expect([base.storage, formed(base)]).toEqual(["float32", []]);
  expect(base.readRounded(matrix)).toEqual(base.read(matrix));
});

describe.each(storageNames.filter((name) => name !== "float32"))("%s", (storage) => {
  test("keeps the matrices of linear layers; tables and the output in 16 bits alone; no norms", async () => {
    const base = await tinyBase(scratch.path, { storage });
    expect(base.storage).toBe(storage);
    expect(new Set(formed(base).map((name) => name.replace(/^.*\.\d+\./, "")))).toEqual(
      new Set(
        ["q", "k", "v", "o"]
          .map((name) => `self_attn.${name}_proj.weight`)
          .concat(["gate", "up", "down"].map((name) => `mlp.${name}_proj.weight`))
          .concat(isSixteenBit(storage) ? ["model.embed_tokens.weight", "lm_head.weight"] : []),
      ),
    );
  });

  test("rounds what products compute with, and leaves what the checkpoint says", async () => {
    const base = await tinyBase(scratch.path, { storage });
    const plain = await tinyBase(scratch.path);
    const [values, rounded] = [base.read(matrix), base.readRounded(matrix)];
    expect(values).toEqual(plain.read(matrix));
    expect(rounded).not.toEqual(values);
    const largest = Math.max(...values.map(Math.abs));
    for (const [index, value] of values.entries())
      expect(Math.abs(rounded[index]! - value)).toBeLessThan(0.2 * largest);
    expect(base.readRounded("model.norm.weight")).toEqual(plain.read("model.norm.weight"));
  });

  test("is made once, and takes as many bytes as are said to be left", async () => {
    const base = await tinyBase(scratch.path, { storage });
    const { path } = base.locate(matrix);
    const written = fs.statSync(path).mtimeMs;
    const files = fs.readdirSync(join(scratch.path, "cache", "weights"));
    await tinyBase(scratch.path, { storage });
    expect(fs.statSync(path).mtimeMs).toBe(written);
    expect(fs.readdirSync(join(scratch.path, "cache", "weights"))).toEqual(files);
    const bytes = (name: string) => {
      const { byteLength, parts } = base.locate(name);
      return Object.values(parts ?? {}).reduce((sum, part) => sum + part.byteLength, byteLength);
    };
    const takenBytes = formed(base).reduce((sum, name) => sum + bytes(name), 0);
    const matrices = storableMatrices(base.modules, storage);
    expect(matrices.reduce((sum, { form, shape }) => sum + formBytes(form, shape), 0)).toBe(takenBytes);
  });
});

test("shared tables and classifiers stay float32 in fewer than 16 bits", async () => {
  const tied = await tinyBase(scratch.path, { storage: "nf4", configuration: { tie_word_embeddings: true } });
  expect(tied.locate("model.embed_tokens.weight").form).toBeUndefined();
  const classifier = await tinyBase(scratch.path, { storage: "nf4", task: "classification" });
  expect(classifier.locate("score.weight").form).toBeUndefined();
});

/** A folder with the tiny base's numbers in 16 bits. */
async function sixteenBitCheckpoint(): Promise<string> {
  const plain = await tinyBase(scratch.path);
  const folder = join(scratch.path, "model");
  fs.mkdirSync(folder);
  fs.copyFileSync(join(scratch.path, "config.json"), join(folder, "config.json"));
  const entries = storedParameters(plain.modules).map(({ stored, shape }) => ({
    name: stored,
    tensor: float32Tensor(shape, plain.read(stored)),
    storedAs: "bfloat16" as const,
  }));
  writeSafetensors(join(folder, "model.safetensors"), entries);
  return folder;
}

test("a checkpoint in the 16 bits asked for is read from where it is", async () => {
  const folder = await sixteenBitCheckpoint();
  const base = await openBase({ path: folder, task: "causal-lm", storage: "bfloat16" });
  expect(base.locate(matrix)).toMatchObject({
    path: join(folder, "model.safetensors"),
    form: { kind: "bfloat16" },
  });
  expect(base.locate("model.norm.weight").form).toBeUndefined();
  expect(base.readRounded(matrix)).toEqual(base.read(matrix));
});

test("tables that come in 16 bits stay where they are in fewer bits, and lose nothing", async () => {
  const folder = await sixteenBitCheckpoint();
  const base = await openBase({ path: folder, task: "causal-lm", storage: "nf4" });
  for (const table of ["model.embed_tokens.weight", "lm_head.weight"]) {
    expect(base.locate(table)).toMatchObject({
      path: join(folder, "model.safetensors"),
      form: { kind: "bfloat16" },
    });
    expect(base.readRounded(table)).toEqual(base.read(table));
  }
  expect(base.locate(matrix).form).toEqual({ kind: "nf4", blockSize: 64 });
  const whole = await openBase({ path: folder, task: "causal-lm", storage: "float32" });
  expect(formed(whole)).toEqual([]);
});

test("random weights have tables in the type that their configuration names", async () => {
  const base = await tinyBase(scratch.path, { storage: "int8", configuration: { torch_dtype: "bfloat16" } });
  const table = "model.embed_tokens.weight";
  expect(base.locate(table).form).toEqual({ kind: "bfloat16" });
  expect(base.readRounded(table)).not.toEqual(base.read(table));
  expect(base.tableType(table)).toBe("bfloat16");
});

test("products in eight bits have every layer's matrix twice, and not a classifier's", async () => {
  const base = await tinyBase(scratch.path, { compute: "int8", configuration: { tie_word_embeddings: true } });
  const { products, form } = base.locate("model.embed_tokens.weight");
  expect([form, products?.byRow?.form, products?.byColumn?.form, products?.isOutput]).toEqual([
    undefined,
    { kind: "int8", axis: 0 },
    { kind: "int8", axis: 1 },
    true,
  ]);
  const layer = base.locate(matrix).products;
  expect([layer?.byRow?.form, layer?.byColumn?.form, layer?.isOutput]).toEqual([
    { kind: "int8", axis: 0 },
    { kind: "int8", axis: 1 },
    false,
  ]);
  expect(base.locate("model.norm.weight").products).toBeUndefined();
  const classifier = await tinyBase(scratch.path, { compute: "int8", task: "classification" });
  expect(classifier.locate("score.weight").products).toBeUndefined();
});
