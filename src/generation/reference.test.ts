/** @file Greedy tokens against those that transformers' `generate` chose, with and without adapters. */
import { existsSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { loadAdapter } from "../adapters/folder.ts";
import { openBase } from "../base/base.ts";
import { readJsonFile } from "../files/json.ts";
import { openSafetensors, readFloat32, readTensor } from "../files/safetensors.ts";
import { createGenerator } from "./generate.ts";

const root =
  process.env["DELTAFIT_REFERENCE"] ?? path.resolve(import.meta.dirname, "../../../shared/reference/cases");
/** Where the two best tokens are closer than this, rounding may choose the other one. */
const smallestMargin = 1e-3;

const promptSchema = z.looseObject({
  prompt: z.union([
    z.looseObject({
      input_ids: z.array(z.array(z.number())),
      attention_mask: z.array(z.array(z.number())).optional(),
    }),
    z.array(z.array(z.number())),
  ]),
});
const caseSchema = z.looseObject({ base: z.string() });

/** The prompts without their padding. */
function promptsOf(folder: string): number[][] {
  const { prompt } = promptSchema.parse(readJsonFile(path.join(folder, "inputs.json")));
  if (Array.isArray(prompt)) return prompt;
  return prompt.input_ids.map((ids, row) =>
    ids.filter((_, index) => (prompt.attention_mask?.[row]?.[index] ?? 1) === 1),
  );
}

async function compareCase(section: string, name: string): Promise<void> {
  const folder = path.join(root, section, name);
  const baseFolder =
    section === "models"
      ? folder
      : path.join(root, caseSchema.parse(readJsonFile(path.join(folder, "case.json"))).base);
  const base = await openBase({ path: baseFolder, task: "causal-lm" });
  const adapters = section === "models" ? [] : [loadAdapter(path.join(folder, "adapter"), base)];
  const file = openSafetensors(path.join(folder, "expected.safetensors"));
  const { shape, data } = readTensor(file, "generated");
  const margins = readFloat32(file, "generated_margins");
  const count = shape[1] ?? 0;
  const generator = await createGenerator(base, adapters, { session: { threads: 1 } });
  const prompts = promptsOf(folder);
  const { tokens } = await generator.generate({ prompts, maximumNewTokens: count, stopTokens: [] });
  await generator.dispose();
  let compared = 0;
  for (const [row, ids] of tokens.entries()) {
    const own = margins.subarray(row * count, (row + 1) * count);
    const doubtful = own.findIndex((margin) => margin < smallestMargin);
    const length = doubtful < 0 ? count : doubtful;
    expect(ids.slice(0, length)).toEqual(
      Array.from(data.subarray(row * count, row * count + length), Number),
    );
    compared += length;
  }
  expect(prompts.length).toBe(shape[0]);
  expect(compared).toBeGreaterThan(0);
}

describe.each(["gpt2", "llama", "llama_tied", "llama3_rope"])("the model %s", (name) => {
  it("generates what transformers does", async ({ skip }) => {
    if (!existsSync(path.join(root, "models", name)))
      skip("the reference cases are not here: set DELTAFIT_REFERENCE");
    await compareCase("models", name);
  });
});

describe.each([
  "gpt2-lora",
  "gpt2-lora-embedding",
  "llama-lora-all-linear",
  "llama-rslora",
  "llama-lora-lm_head-saved",
  "llama3_rope-lora",
])("the adapter %s", (name) => {
  it("generates what PEFT does", async ({ skip }) => {
    if (!existsSync(path.join(root, "methods", name)))
      skip("the reference cases are not here: set DELTAFIT_REFERENCE");
    await compareCase("methods", name);
  });
});
