import fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { openSafetensors, readTensor } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { TensorEntry } from "../files/safetensors-write.ts";
import { loraDefaults } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import { createAdapter } from "./adapter.ts";
import { loadAdapter, saveAdapter } from "./folder.ts";
import { inspectAdapter } from "./inspect.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
let folder = "";
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

const configuration: LoraConfiguration = {
  ...loraDefaults,
  rank: 2,
  alpha: 4,
  targets: ["q_proj"],
  initialWeights: false,
};
const key = (layer: number, part: string) =>
  `base_model.model.model.layers.${layer}.self_attn.q_proj.${part}.weight`;

beforeEach(async () => {
  folder = fs.mkdtempSync(join(scratch.path, "adapter-"));
  await saveAdapter(folder, createAdapter({ base, type: "LORA", configuration, seed: 1 }), base);
});

/** Rewrites the weights of the saved adapter. */
function changeWeights(change: (entries: Map<string, TensorEntry>) => void): void {
  const path = join(folder, "adapter_model.safetensors");
  const file = openSafetensors(path);
  const entries = new Map(
    [...file.tensors.keys()].map((name) => [name, { name, tensor: readTensor(file, name) }]),
  );
  change(entries);
  writeSafetensors(path, [...entries.values()], { format: "pt" });
}

/** Rewrites settings of the saved adapter. */
function changeConfiguration(change: Readonly<Record<string, unknown>>): void {
  const path = join(folder, "adapter_config.json");
  const before = JSON.parse(fs.readFileSync(path, "utf8")) as Record<string, unknown>;
  fs.writeFileSync(path, JSON.stringify({ ...before, ...change }));
}

test("an adapter of a body without a head fits the body of a whole model", () => {
  const before = loadAdapter(folder, base);
  changeConfiguration({ task_type: "FEATURE_EXTRACTION" });
  const whole = loadAdapter(folder, base);
  changeWeights((entries) => {
    for (const [name, { tensor }] of [...entries]) {
      entries.delete(name);
      const own = name.replace("base_model.model.model.", "base_model.model.");
      entries.set(own, { name: own, tensor });
    }
  });
  const bare = loadAdapter(folder, base);
  expect([whole.values, bare.values]).toEqual([before.values, before.values]);
});

const loadingFailure = () => failureOf(() => loadAdapter(folder, base), folder);

describe("a saved adapter", () => {
  it("comes back with its values, its settings and a card", () => {
    const loaded = loadAdapter(folder, base, "mine");
    const created = createAdapter({ base, type: "LORA", configuration, seed: 1 });
    expect(loaded.values).toEqual(created.values);
    expect(loaded.name).toBe("mine");
    expect(loaded.configuration).toMatchObject({ rank: 2, alpha: 4, targets: ["q_proj"] });
    expect(fs.readdirSync(folder).sort()).toEqual([
      "README.md",
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
    expect(fs.readFileSync(join(folder, "README.md"), "utf8")).toContain("base_model: tiny/llama\n");
  });

  it("has initial values that depend on the seed and on the parameter's own name alone", () => {
    const wider = createAdapter({
      base,
      type: "LORA",
      configuration: { ...configuration, targets: ["k_proj", "q_proj"] },
      seed: 1,
    });
    const narrow = createAdapter({ base, type: "LORA", configuration, seed: 1 });
    const other = createAdapter({ base, type: "LORA", configuration, seed: 2 });
    const found = wider.layout.entries.find(
      (entry) => entry.key === "model.layers.1.self_attn.q_proj.lora_A.weight",
    )!;
    const own = narrow.layout.entries.find((entry) => entry.key === found.key)!;
    expect(wider.values.slice(found.offset, found.offset + found.size)).toEqual(
      narrow.values.slice(own.offset, own.offset + own.size),
    );
    expect(other.values).not.toEqual(narrow.values);
  });

  it("keeps unknown settings", async () => {
    changeConfiguration({ invented: { by: ["someone"] }, revision: "v2", megatron_core: "other.core" });
    const again = join(scratch.path, "again");
    await saveAdapter(again, loadAdapter(folder, base), base);
    expect(JSON.parse(fs.readFileSync(join(again, "adapter_config.json"), "utf8"))).toMatchObject({
      invented: { by: ["someone"] },
      revision: "v2",
      megatron_core: "other.core",
      peft_type: "LORA",
    });
  });

  it("is read from 16-bit floats as float32", () => {
    changeWeights((entries) => {
      for (const [name, entry] of entries) entries.set(name, { ...entry, storedAs: "bfloat16" });
    });
    const exact = createAdapter({ base, type: "LORA", configuration, seed: 1 }).values;
    for (const [index, value] of loadAdapter(folder, base).values.entries())
      expect(Math.abs(value - exact[index]!)).toBeLessThanOrEqual(Math.abs(exact[index]!) / 256);
  });

  it("is described without a base", () => {
    const { tensors, ...inspection } = inspectAdapter(folder);
    expect(inspection).toMatchObject({
      methodType: "LORA",
      taskType: "CAUSAL_LM",
      baseModel: "tiny/llama",
      parameters: 64,
      bytes: 256,
      labelCount: undefined,
      problems: [],
    });
    expect(tensors.map(({ name }) => name)).toEqual([
      key(0, "lora_A"),
      key(0, "lora_B"),
      key(1, "lora_A"),
      key(1, "lora_B"),
    ]);
  });
});

describe("a classifier's adapter", () => {
  it("brings its head, under the names PEFT expects", async () => {
    const classifier = await tinyBase(scratch.path, { task: "classification", labelCount: 3 });
    const adapter = createAdapter({ base: classifier, type: "LORA", configuration, seed: 0 });
    expect(adapter.layout.entries.map((entry) => entry.key)).toContain("score.weight");
    const own = join(scratch.path, "classifier");
    await saveAdapter(own, adapter, classifier);
    const written = JSON.parse(fs.readFileSync(join(own, "adapter_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(written["modules_to_save"]).toEqual(["score", "classifier"]);
    expect(written["task_type"]).toBe("SEQ_CLS");
    expect(inspectAdapter(own).labelCount).toBe(3);
    expect(loadAdapter(own, classifier).values).toEqual(adapter.values);
  });
});

describe("an adapter that does not fit", () => {
  it("names missing, unexpected and misshapen tensors", () => {
    changeWeights((entries) => {
      entries.delete(key(0, "lora_A"));
      const name = "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight";
      entries.set(name, { name, tensor: float32Tensor([1], [0]) });
      entries.set(key(1, "lora_B"), { name: key(1, "lora_B"), tensor: float32Tensor([2, 2], [1, 2, 3, 4]) });
    });
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "adapter-mismatch",
        "hint": "Open the base the adapter was trained on, for the same task and number of labels.",
        "message": "The adapter "FOLDER" does not fit the base "tiny/llama". Tensors missing: base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight [2, 8]; unexpected: "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight" (nearest: base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight); of another shape: base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight is [2, 2], expected [8, 2]. It was trained on "tiny/llama".",
      }
    `);
  });

  it("says of an incomplete file that it is one", () => {
    changeWeights((entries) => entries.delete(key(1, "lora_A")));
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "adapter-mismatch",
        "hint": "Check that the file is complete and that this is the base the adapter was trained on.",
        "message": "The adapter "FOLDER" does not fit the base "tiny/llama". Tensors missing: base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight [2, 8]. It was trained on "tiny/llama".",
      }
    `);
  });

  it("accepts copies of frozen weights, and refuses them with other values", async () => {
    await saveAdapter(
      folder,
      createAdapter({
        base,
        type: "LORA",
        configuration: { ...configuration, targets: ["lm_head"] },
        seed: 1,
      }),
      base,
    );
    const name = "base_model.model.lm_head.base_layer.weight";
    const copy = base.read("lm_head.weight");
    changeWeights((entries) => entries.set(name, { name, tensor: float32Tensor([12, 8], copy) }));
    expect(loadAdapter(folder, base).layout.entries).toHaveLength(2);
    changeWeights((entries) =>
      entries.set(name, {
        name,
        tensor: float32Tensor(
          [12, 8],
          copy.map((value) => 2 * value),
        ),
      }),
    );
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "adapter-mismatch",
        "hint": "Open the base the adapter was trained on, for the same task and number of labels.",
        "message": "The adapter "FOLDER" does not fit the base "tiny/llama". Tensors unexpected: "base_model.model.lm_head.base_layer.weight" (a copy of the base's lm_head.weight with other values). It was trained on "tiny/llama".",
      }
    `);
  });

  it("says which task it is for", () => {
    changeConfiguration({ task_type: "SEQ_CLS" });
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "adapter-mismatch",
        "hint": "Open the base for classification or regression or multi-label-classification; the adapter was trained on "tiny/llama".",
        "message": ""FOLDER/adapter_config.json": the adapter is for the task_type SEQ_CLS, but the base "tiny/llama" was opened for causal-lm.",
      }
    `);
  });

  it("finds numbers that are not finite", () => {
    changeWeights((entries) =>
      entries.set(key(0, "lora_A"), {
        name: key(0, "lora_A"),
        tensor: float32Tensor([2, 8], new Float32Array(16).fill(NaN)),
      }),
    );
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "file-invalid",
        "hint": "The training that made the adapter has diverged; take an earlier one.",
        "message": "Tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" of "FOLDER/adapter_model.safetensors" holds numbers that are not finite (NaN or infinity).",
      }
    `);
    expect(inspectAdapter(folder).problems).toEqual([`Tensor "${key(0, "lora_A")}" holds NaN or infinity.`]);
  });

  it("never allocates what only the configuration promises", () => {
    changeConfiguration({ r: 2 ** 40 });
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "adapter-mismatch",
        "hint": "Open the base the adapter was trained on, for the same task and number of labels.",
        "message": "The adapter "FOLDER" does not fit the base "tiny/llama". Tensors of another shape: base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight is [2, 8], expected [1099511627776, 8], base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight is [8, 2], expected [8, 1099511627776], base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight is [2, 8], expected [1099511627776, 8], base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight is [8, 2], expected [8, 1099511627776]. It was trained on "tiny/llama".",
      }
    `);
  });
});

describe("other files", () => {
  it("refuses pickled weights", () => {
    fs.renameSync(join(folder, "adapter_model.safetensors"), join(folder, "adapter_model.bin"));
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "file-refused",
        "hint": "Pickle can run code when it is loaded, so deltafit never reads it. Convert the weights to safetensors, or download the model's safetensors files.",
        "message": ""FOLDER/adapter_model.bin" is a Python pickle: expected adapter_model.safetensors.",
      }
    `);
  });

  it("misses the configuration and the weights", () => {
    fs.rmSync(join(folder, "adapter_model.safetensors"));
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "file-missing",
        "hint": "Check that the download or the copy is complete.",
        "message": ""FOLDER" holds no weights: expected adapter_model.safetensors.",
      }
    `);
    fs.rmSync(join(folder, "adapter_config.json"));
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "file-missing",
        "hint": "Name the folder that PEFT or deltafit saved the adapter into.",
        "message": ""FOLDER" is no adapter: expected adapter_config.json in it.",
      }
    `);
  });
});

describe("a configuration that cannot be honoured", () => {
  const cases: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    "quantised steps": { use_qalora: true },
    "replicated layers": { layer_replication: [[0, 1]] },
    "a base that was changed by data": { init_lora_weights: "corda" },
    "another method": { peft_type: "XLORA" },
    "a wrong type": { r: "8", lora_dropout: 2 },
    "an unknown target": { target_modules: ["q_porj"] },
    "a slow pattern": { target_modules: "(([a-z_.0-9]+)+)+!" },
  };
  it.each(Object.entries(cases))("%s", (_name, change) => {
    changeConfiguration(change);
    expect(loadingFailure()).toMatchSnapshot();
  });

  it("may name modules that this architecture does not have, as PEFT allows", () => {
    changeConfiguration({ target_modules: ["q_proj", "c_attn"] });
    expect(loadAdapter(folder, base).configuration).toMatchObject({ targets: ["q_proj"] });
  });

  it("is recognised as another tool's", () => {
    fs.writeFileSync(
      join(folder, "adapter_config.json"),
      JSON.stringify({ fine_tune_type: "lora", num_layers: 16, lora_parameters: { rank: 8 } }),
    );
    expect(loadingFailure()).toMatchInlineSnapshot(`
      {
        "code": "config-invalid",
        "hint": "Convert the adapter to PEFT's format with \`deltafit convert\`.",
        "message": ""FOLDER/adapter_config.json" is not PEFT's: expected an object with "peft_type", found a configuration of mlx-lm.",
      }
    `);
  });
});
