import fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failureOf, rejectionOf } from "../../test/support/failure.ts";
import { randomAdapter } from "../../test/support/random-adapter.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { mergeAdapters } from "../adapters/merge.ts";
import type { Base } from "../base/base.ts";
import { openSafetensors, readFloat32, readTensor } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { bottleneckDefaults } from "../methods/bottleneck.ts";
import { entryValues } from "../methods/layout.ts";
import { loraDefaults } from "../methods/lora.ts";
import {
  adoptForeignAdapter,
  openForeignAdapter,
  recogniseForeignFormat,
  writeForeignAdapter,
} from "./index.ts";
import type { ForeignFormatName } from "./index.ts";

const fixtures = join("test", "fixtures", "torch");
const gpt2 = { model_type: "gpt2", vocab_size: 12, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 32 };
const roberta = {
  model_type: "roberta",
  vocab_size: 12,
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 34,
  type_vocab_size: 1,
  pad_token_id: 1,
};

let scratch: ReturnType<typeof scratchFolder>;
let llama: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  llama = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

async function throughFormat(
  format: ForeignFormatName,
  name: string,
  adapter: Adapter,
  base: Base,
): Promise<Adapter> {
  const path = join(scratch.path, name);
  await writeForeignAdapter(path, format, adapter, base);
  expect(recogniseForeignFormat(path)).toBe(format);
  return adoptForeignAdapter(await openForeignAdapter(path, format), base).adapter;
}

/** Merged weights by name. */
async function mergedWith(base: Base, adapter: Adapter): Promise<Map<string, Float32Array>> {
  const merged = mergeAdapters(base, [adapter]);
  const values = new Map<string, Float32Array>();
  for (const { name } of merged.tensors) values.set(name, await merged.compute(name));
  await merged.dispose();
  return values;
}

async function expectSameChange(base: Base, found: Adapter, expected: Adapter): Promise<void> {
  const [one, other] = [await mergedWith(base, found), await mergedWith(base, expected)];
  expect([...one.keys()].sort()).toEqual([...other.keys()].sort());
  for (const [name, values] of one) {
    const largest = values.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - (other.get(name)?.[index] ?? NaN))),
      0,
    );
    expect(largest, name).toBeLessThan(1e-6);
  }
}

const uneven = {
  ...loraDefaults,
  rank: 2,
  alpha: 6,
  targets: ["q_proj", "down_proj"],
  rankPattern: { "layers.1.mlp.down_proj": 3 },
  alphaPattern: { "layers.0.*q_proj": 1 },
};

describe("mlx-lm", () => {
  it("keeps what modules of several ranks and scales do, with one rank and one scale for all", async () => {
    const adapter = randomAdapter(llama, "LORA", uneven);
    await expectSameChange(llama, await throughFormat("mlx", "mlx", adapter, llama), adapter);
    expect(JSON.parse(fs.readFileSync(join(scratch.path, "mlx", "adapter_config.json"), "utf8"))).toEqual({
      model: "tiny/llama",
      fine_tune_type: "lora",
      num_layers: 2,
      lora_parameters: { rank: 3, scale: 0.5, dropout: 0, keys: ["mlp.down_proj", "self_attn.q_proj"] },
    });
  });

  it("counts layers from the last one", async () => {
    const adapter = randomAdapter(llama, "LORA", { ...uneven, layersToTransform: [1] });
    await expectSameChange(llama, await throughFormat("mlx", "mlx-last", adapter, llama), adapter);
    const text = fs.readFileSync(join(scratch.path, "mlx-last", "adapter_config.json"), "utf8");
    expect(JSON.parse(text)).toMatchObject({ num_layers: 1 });
  });

  it("keeps DoRA's magnitudes", async () => {
    const adapter = randomAdapter(llama, "LORA", { ...uneven, magnitude: true });
    await expectSameChange(llama, await throughFormat("mlx", "mlx-dora", adapter, llama), adapter);
  });

  it("refuses what it has no place for", async () => {
    const embedding = randomAdapter(llama, "LORA", { ...uneven, targets: ["embed_tokens"], rankPattern: {} });
    const path = join(scratch.path, "mlx-embedding");
    expect(await rejectionOf(() => writeForeignAdapter(path, "mlx", embedding, llama))).toEqual({
      code: "method-unsupported",
      message: 'mlx-lm adapts layers of the model; the adapter has "model.embed_tokens".',
      hint: "Train an adapter without it, or merge it into the base.",
    });
    const saved = randomAdapter(llama, "LORA", { ...uneven, modulesToSave: ["lm_head"] });
    expect(await rejectionOf(() => writeForeignAdapter(path, "mlx", saved, llama))).toEqual({
      code: "method-unsupported",
      message: 'mlx-lm holds matrices of LoRA alone; the adapter also trains "lm_head.weight".',
      hint: "Merge it into the base instead.",
    });
    const frozen = randomAdapter(llama, "LORA", { ...uneven, frozenA: true, initialWeights: true });
    expect(await rejectionOf(() => writeForeignAdapter(path, "mlx", frozen, llama))).toEqual({
      code: "method-unsupported",
      message: "mlx-lm holds the matrices of a plain LoRA; the adapter's values are not yet those.",
      hint: "Save it, and convert what loading gives.",
    });
    expect(fs.existsSync(path)).toBe(false);
  });

  it("refuses a module that the base does not have", async () => {
    const path = join(scratch.path, "mlx-other");
    await writeForeignAdapter(path, "mlx", randomAdapter(llama, "LORA", uneven), llama);
    const weights = join(path, "adapters.safetensors");
    const file = openSafetensors(weights);
    const renamed = [...file.tensors.keys()].map((name) => ({
      name: name.replace("q_proj", "query"),
      tensor: readTensor(file, name),
    }));
    writeSafetensors(weights, renamed);
    const opened = await openForeignAdapter(path, "mlx");
    expect(failureOf(() => adoptForeignAdapter(opened, llama), scratch.path)).toEqual({
      code: "adapter-mismatch",
      message:
        '"FOLDER/mlx-other" adapts the module "model.layers.0.self_attn.query", which the base "tiny/llama" does not have.',
      hint: "Open the base the adapter was trained on, for the same task.",
    });
  });
});

describe("ONNX Runtime", () => {
  it("keeps what modules of several ranks and scales do", async () => {
    const adapter = randomAdapter(llama, "LORA", uneven);
    await expectSameChange(
      llama,
      await throughFormat("onnx-adapter", "a.onnx_adapter", adapter, llama),
      adapter,
    );
  });

  it("refuses DoRA", async () => {
    const adapter = randomAdapter(llama, "LORA", { ...uneven, magnitude: true });
    const write = () =>
      writeForeignAdapter(join(scratch.path, "b.onnx_adapter"), "onnx-adapter", adapter, llama);
    expect(await rejectionOf(write)).toEqual({
      code: "method-unsupported",
      message: "An ONNX adapter holds matrices of LoRA alone; the adapter has magnitudes (DoRA).",
      hint: "Merge it into the base instead.",
    });
  });
});

describe("loralib", () => {
  it("gives the change of loralib's own layers, slices of a fused one included", async () => {
    const folder = join(scratch.path, "gpt2");
    fs.mkdirSync(folder);
    const base = await tinyBase(folder, { configuration: gpt2 });
    const path = join(fixtures, "loralib.pt");
    expect(recogniseForeignFormat(path)).toBe("loralib");
    const { adapter, notes } = adoptForeignAdapter(await openForeignAdapter(path, "loralib"), base, {
      alpha: 16,
    });
    expect(notes).toEqual([
      "2 fused layers have matrices for single slices: they became one of twice the rank on the whole layer, query and value.",
    ]);
    const recorded = openSafetensors(join(fixtures, "loralib-changes.safetensors"));
    const merged = await mergedWith(base, adapter);
    expect([...merged.keys()].sort()).toEqual([...recorded.tensors.keys()].sort());
    for (const [name, values] of merged) {
      const [change, own] = [readFloat32(recorded, name), base.read(name)];
      for (const [index, value] of values.entries())
        expect(value - (own[index] ?? NaN)).toBeCloseTo(change[index] ?? NaN, 5);
    }
  });

  it("asks for the scale, which its files do not hold, and fits no other base", async () => {
    const opened = await openForeignAdapter(join(fixtures, "loralib.pt"), "loralib");
    expect(failureOf(() => adoptForeignAdapter(opened, llama), fixtures)).toEqual({
      code: "usage-invalid",
      message: '"FOLDER/loralib.pt" does not say how its product is scaled: expected --alpha.',
      hint: "It is lora_alpha in the script that trained it, such as 32 for the paper's GPT-2 and 16 for its RoBERTa base.",
    });
    expect(failureOf(() => adoptForeignAdapter(opened, llama, { alpha: 16 }), fixtures)).toEqual({
      code: "adapter-mismatch",
      message:
        '"FOLDER/loralib.pt": "transformer.h.0.attn.c_attn" has matrices [4, 8] and [16, 2], which fit no slices of a layer of width 0.',
      hint: "Open the base the adapter was trained on.",
    });
  });

  it("is not written", async () => {
    const adapter = randomAdapter(llama, "LORA", uneven);
    expect(await rejectionOf(() => writeForeignAdapter("a.pt", "loralib", adapter, llama))).toEqual({
      code: "method-unsupported",
      message: "deltafit reads a checkpoint of loralib (.pt, .bin), and writes none.",
      hint: undefined,
    });
  });
});

describe("AdapterHub", () => {
  it.each(["seq_bn", "double_seq_bn", "par_bn"] as const)(
    "keeps every value of %s and its head",
    async (kind) => {
      const folder = join(scratch.path, kind);
      fs.mkdirSync(folder);
      const base = await tinyBase(folder, { configuration: roberta, task: "classification", labelCount: 3 });
      const configuration = {
        ...bottleneckDefaults[kind],
        reduction: 2,
        normBefore: kind === "seq_bn",
        normAfter: kind !== "par_bn",
      };
      const adapter = randomAdapter(base, "BOTTLENECK", configuration);
      const found = await throughFormat("adapterhub", `${kind}-folder`, adapter, base);
      expect(found.configuration).toEqual({ ...adapter.configuration, layerReductions: undefined });
      for (const entry of adapter.layout.entries) {
        const same = found.layout.entries.find(({ key }) => key === entry.key);
        expect(same && entryValues(found.values, same), entry.key).toEqual(
          entryValues(adapter.values, entry),
        );
      }
      const names = [
        ...openSafetensors(join(scratch.path, `${kind}-folder`, "adapter.safetensors")).tensors.keys(),
      ];
      expect(names).toContain("roberta.encoder.layer.1.output.adapters.default.adapter_up.weight");
    },
  );

  it("writes a scaling of one as a float, which the library insists on", async () => {
    const folder = join(scratch.path, "floats");
    await writeForeignAdapter(
      folder,
      "adapterhub",
      randomAdapter(llama, "BOTTLENECK", bottleneckDefaults.seq_bn),
      llama,
    );
    expect(fs.readFileSync(join(folder, "adapter_config.json"), "utf8")).toContain('"scaling": 1.0,');
  });
});
