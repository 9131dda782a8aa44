/** @file `deltafit train` as a process: what it prints, what it writes, and that runs can be repeated and resumed. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { createWorkspace, writeLabelledData, writePromptData, writeTinyModel } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

async function preparedWorkspace(): Promise<Workspace> {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  return workspace;
}

const common = ["train", "--model", "model", "--data", "data.jsonl", "--batch-size", "4", "--targets", "q_proj,v_proj"];

function filesIn(folder: string): Record<string, string> {
  const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => fs.statSync(`${folder}/${name}`).isFile());
  return Object.fromEntries(files.map((name) => [name, fs.readFileSync(`${folder}/${name}`, "latin1")]));
}

test("trains an adapter in PEFT's format, and the same command again gives the same losses and bytes", async () => {
  const workspace = await preparedWorkspace();
  const first = await workspace.json(...common, "--steps", "6", "--learning-rate", "1e-2", "--out", "a");
  const second = await workspace.json(...common, "--steps", "6", "--learning-rate", "1e-2", "--out", "b");
  expect(first).toEqual({
    steps: 6,
    losses: expect.any(Array),
    evaluations: [],
    trainableParameters: 8 * (16 + 16 + 16 + 8) * 2,
    totalParameters: 71_296,
    tokens: expect.any(Number),
    supervisedTokens: expect.any(Number),
    tokensPerSecond: expect.any(Number),
    peakMemoryBytes: expect.any(Number),
    adapterBytes: 896 * 4,
    adapter: "a",
    seconds: expect.any(Number),
    data: expect.any(Object),
  });
  const losses = first["losses"] as number[];
  expect(losses).toHaveLength(6);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(second["losses"]).toEqual(losses);
  const files = filesIn(workspace.at("a"));
  expect(Object.keys(files)).toEqual([
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "checkpoints/last/README.md",
    "checkpoints/last/adapter_config.json",
    "checkpoints/last/adapter_model.safetensors",
    "checkpoints/last/training_state.json",
    "checkpoints/last/training_state.safetensors",
    "deltafit.json",
  ]);
  expect(filesIn(workspace.at("b"))["adapter_model.safetensors"]).toBe(files["adapter_model.safetensors"]);
});
