/** @file LoRA on slices of a fused layer, as processes: trained, kept as a LoRA on the whole layer, used and merged. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { openSafetensors, readFloat32 } from "../../src/files/safetensors.ts";
import { createWorkspace, writePromptData, writeTinyModel } from "./workspace.ts";

test("query and value slices of GPT-2's fused projection", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace, "model", {
    model_type: "gpt2",
    ...{ n_embd: 16, n_layer: 2, n_head: 2, n_positions: 128 },
    ...{ embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 },
  });
  writePromptData(workspace);
  const data = ["--model", "model", "--data", "data.jsonl"];
  const targets = ["--targets", "c_attn.query,c_attn.value", "--rank", "2", "--alpha", "6"];
  const trained = await workspace.json(
    "train",
    ...data,
    ...targets,
    "--steps",
    "6",
    "--learning-rate",
    "2e-2",
    "--out",
    "a",
  );
  expect(trained["trainableParameters"]).toBe(2 * 2 * 2 * (16 + 16));

  const configuration = JSON.parse(
    fs.readFileSync(workspace.at("a", "adapter_config.json"), "utf8"),
  ) as object;
  expect(configuration).toMatchObject({
    r: 4,
    lora_alpha: 12,
    target_modules: ["c_attn"],
    fan_in_fan_out: true,
  });
  const weights = openSafetensors(workspace.at("a", "adapter_model.safetensors"));
  const up = readFloat32(weights, "base_model.model.transformer.h.1.attn.c_attn.lora_B.weight");
  const blocks = [0, 16, 32].map((start) =>
    [0, 2].map((column) =>
      [...up.subarray(4 * start, 4 * (start + 16))].some(
        (value, index) => (index % 4) >> 1 === column / 2 && value !== 0,
      ),
    ),
  );
  expect(blocks).toEqual([
    [true, false],
    [false, false],
    [false, true],
  ]);

  const lossOf = async (...words: string[]) => {
    const { metrics } = await workspace.json("evaluate", "--data", "data.jsonl", ...words);
    return (metrics as { loss: number }).loss;
  };
  const adapted = await lossOf("--model", "model", "--adapter", "a");
  expect(adapted).toBeLessThan((await lossOf("--model", "model")) - 0.01);
  await workspace.json("merge", "--model", "model", "--adapter", "a", "--out", "merged");
  expect(await lossOf("--model", "merged")).toBeCloseTo(adapted, 4);

  expect(
    await workspace.deltafit("train", ...data, "--targets", "c_attn.querry", "--out", "b"),
  ).toMatchObject({
    exitCode: 2,
    stderr:
      'error: The target "c_attn.querry" matches no module of the model.\n' +
      'hint: The slices of "c_attn" are query, key, value.\n',
  });
  expect(fs.existsSync(workspace.at("b"))).toBe(false);
});
