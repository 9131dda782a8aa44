/**
 * @file PEFT's own LoRA adapters: loaded, saved again and merged. Runs over the reference cases where they are there
 * ($DELTAFIT_REFERENCE, or beside the repository).
 */
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openBase } from "../base/base.ts";
import type { Base } from "../base/base.ts";
import { readJsonFile } from "../files/json.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import type { Task } from "../models/forward.ts";
import { loadAdapter, saveAdapter } from "./folder.ts";
import { mergeAdapters } from "./merge.ts";

const environmentFolder = process.env["DELTAFIT_REFERENCE"] ?? "";
const references = environmentFolder === "" ? join("..", "shared", "reference", "cases") : environmentFolder;

const names = [
  "bert_mlm-lora",
  "gpt2-lora",
  "gpt2-lora-all",
  "gpt2-lora-embedding",
  "gpt2-lora-layers_to_transform",
  "gpt2_cls-lora",
  "llama-lora",
  "llama-lora-all-linear",
  "llama-lora-embedding",
  "llama-lora-exclude",
  "llama-lora-layers_to_transform",
  "llama-lora-lm_head",
  "llama-lora-lm_head-saved",
  "llama-lora-patterns",
  "llama-lora-regex",
  "llama-loraplus",
  "llama-loraplus-embedding",
  "llama-rslora",
  "llama-rslora-patterns",
  "llama3_rope-lora",
  "llama_cls-lora",
  "llama_tied-lora-all-linear",
  "llama_tied-lora-embed-saved",
  "llama_tied-lora-lm_head-saved",
  "llama_tied-lora_bias",
  "roberta_cls-lora",
  "roberta_cls-lora-bias-all",
  "roberta_mlm-lora",
  "roberta_reg-lora",
] as const;

/** Copies of frozen or other tensors that PEFT writes and deltafit reads but does not write. */
const addedByPeft = /\.base_layer\.weight$|\.original_module\.|\.modules_to_save\./;

/** Fields whose order or form means nothing, or that hold what deltafit always writes alike. */
const incomparable = [
  "base_model_name_or_path",
  "target_modules",
  "layers_pattern",
  "layers_to_transform",
  "modules_to_save",
];

function recordOf(value: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value as object));
}

function caseFolder(name: string): string {
  return join(references, "methods", name);
}

async function baseOf(name: string): Promise<Base> {
  const { base, task } = recordOf(readJsonFile(join(caseFolder(name), "case.json"))) as {
    base: string;
    task: string;
  };
  const tasks: Record<string, Task> = { "sequence-classification": "classification" };
  return openBase({ path: join(references, base), name: base, task: tasks[task] ?? (task as Task) });
}

describe.each(names)("%s", (name) => {
  const available = fs.existsSync(caseFolder(name));
  const skipped = available ? "" : ` (no reference case in ${references})`;
  let scratch = "";
  beforeAll(() => {
    scratch = fs.mkdtempSync(join(os.tmpdir(), "deltafit-"));
    vi.stubEnv("DELTAFIT_CACHE", join(scratch, "cache"));
  });
  afterAll(() => {
    vi.unstubAllEnvs();
    fs.rmSync(scratch, { recursive: true, force: true });
  });

  it.skipIf(!available)(`loads and saves the same tensors and settings${skipped}`, async () => {
    const base = await baseOf(name);
    const original = join(caseFolder(name), "adapter");
    const folder = join(scratch, "again");
    await saveAdapter(folder, loadAdapter(original, base), base);
    const [before, after] = [original, folder].map((path) =>
      openSafetensors(join(path, "adapter_model.safetensors")),
    );
    const expected = [...before!.tensors.keys()].filter((tensor) => !addedByPeft.test(tensor)).sort();
    expect([...after!.tensors.keys()].sort()).toEqual(expected);
    expect(after!.metadata).toEqual({ format: "pt" });
    for (const tensor of expected) {
      expect(after!.tensors.get(tensor)!.shape).toEqual(before!.tensors.get(tensor)!.shape);
      expect(readFloat32(after!, tensor)).toEqual(readFloat32(before!, tensor));
    }
    const [old, written] = [original, folder].map((path) =>
      recordOf(readJsonFile(join(path, "adapter_config.json"))),
    );
    expect(Object.keys(written!)).toEqual(Object.keys(old!));
    for (const key of Object.keys(old!))
      if (!incomparable.includes(key)) expect([key, written![key]]).toEqual([key, old![key]]);
    const sorted = (value: unknown) => (Array.isArray(value) ? [...new Set<unknown>(value)].sort() : value);
    for (const key of ["target_modules", "modules_to_save"])
      expect(sorted(written![key])).toEqual(sorted(old![key]));
  });

  it.skipIf(!available)(`merges to PEFT's weights${skipped}`, async () => {
    const base = await baseOf(name);
    const merged = mergeAdapters(base, [loadAdapter(join(caseFolder(name), "adapter"), base)]);
    const expected = openSafetensors(join(caseFolder(name), "expected.safetensors"));
    const touched = [...expected.tensors.keys()].flatMap((tensor) =>
      tensor.startsWith("merged.") ? [tensor.slice("merged.".length)] : [],
    );
    const own = new Set(merged.tensors.map((tensor) => tensor.name));
    for (const tensor of touched) {
      // A tensor that still is shared goes by the name it is stored under.
      const stored = own.has(tensor) ? tensor : base.modules.parameters.get(tensor)!.stored;
      const values = await merged.compute(stored);
      const wanted = readFloat32(expected, `merged.${tensor}`);
      expect(values.length).toBe(wanted.length);
      const worst = values.reduce(
        (most, value, index) =>
          Math.max(most, Math.abs(value - wanted[index]!) / (1 + Math.abs(wanted[index]!))),
        0,
      );
      expect(worst).toBeLessThan(2e-5);
    }
    // Nothing else changes.
    for (const { name: tensor } of merged.tensors) {
      if (touched.includes(tensor)) continue;
      expect(await merged.compute(tensor)).toEqual(base.read(tensor));
    }
    await merged.dispose();
  });
});
