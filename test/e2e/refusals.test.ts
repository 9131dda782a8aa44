/** @file What a method cannot do is said before training starts, and before anything is written. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { promptWorkspace } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

const common = ["--model", "model"];
const train = ["train", ...common, "--data", "data.jsonl", "--steps", "2", "--out", "adapter"];

/** Every file of a workspace with its length. */
const contentOf = (workspace: Workspace): string[] =>
  fs
    .readdirSync(workspace.at("."), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => `${parentPath}/${name} ${fs.statSync(`${parentPath}/${name}`).size}`)
    .sort();

async function refusalsOf(workspace: Workspace, commands: readonly (readonly string[])[]): Promise<string[]> {
  const before = contentOf(workspace);
  const errors: string[] = [];
  for (const words of commands) {
    const { exitCode, stderr } = await workspace.deltafit(...words, "--quiet");
    expect(exitCode, words.join(" ")).toBe(2);
    errors.push(`${words.filter((word) => !train.includes(word)).join(" ")}\n${stderr}`);
  }
  expect(contentOf(workspace)).toEqual(before);
  return errors;
}

test("more than a matrix, or a method, has", async () => {
  const workspace = await promptWorkspace();
  const train64 = [...train, "--rank", "64"];
  expect(
    await refusalsOf(workspace, [
      train64,
      ["memory", ...common, "--rank", "64"],
      [...train, "--rank", "9", "--targets", "q_proj,k_proj"],
      [...train, "--rank", "8", "--rank-pattern", "v_proj=12"],
      [...train64, "--magnitude"],
      [...train64, "--rank-stabilised"],
      [...train64, "--frozen-a"],
      [...train64, "--initial-weights", "pissa"],
      [...train64, "--method", "adalora"],
      [...train, "--method", "adalora", "--rank", "4", "--initial-rank", "2"],
      [...train64, "--method", "loha"],
      [...train64, "--method", "vblora", "--vector-length", "8"],
      [...train, "--method", "oft", "--block-size", "64"],
      [...train, "--method", "fourierft", "--frequencies", "1000"],
      [...train, "--method", "vera", "--exclude", "q_proj"],
      [...train, "--method", "bitfit"],
      [...train, "--method", "prompt-tuning", "--virtual-tokens", "4096"],
    ]),
  ).toMatchInlineSnapshot(`
    [
      "--rank 64
    error: LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "memory --rank 64
    error: LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 9 --targets q_proj,k_proj
    error: LoRA: the rank of "model.layers.0.self_attn.k_proj" is 9; its matrix [8, 16] can have no more than 8.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 8 --rank-pattern v_proj=12
    error: LoRA: the rank of "model.layers.0.self_attn.v_proj" is 12; its matrix [8, 16] can have no more than 8.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 64 --magnitude
    error: LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 64 --rank-stabilised
    error: LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 64 --frozen-a
    error: LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 64 --initial-weights pissa
    error: LoRA: "model.layers.0.self_attn.q_proj" cannot start as "pissa": the rank is 64, and its matrix [16, 16] has no more than 16.
    hint: Choose a rank of at most 16.
    ",
      "--rank 64 --method adalora
    error: AdaLoRA: the initial rank of "model.layers.0.self_attn.q_proj" is 96; its matrix [16, 16] can have no more than 16.
    hint: The highest initial rank that all targets can have is 8.
    ",
      "--method adalora --rank 4 --initial-rank
    error: AdaLoRA: the rank is 4, and the initial rank, from which it is chosen, is 2.
    hint: Choose a rank of at most 2, or a higher initial rank.
    ",
      "--rank 64 --method loha
    error: LoHa: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--rank 64 --method vblora --vector-length 8
    error: VB-LoRA: the rank of "model.layers.0.self_attn.q_proj" is 64; its matrix [16, 16] can have no more than 16.
    hint: The highest rank that all targets can have is 8.
    ",
      "--method oft --block-size 64
    error: OFT: blocks of 64 are wider than the width 16 of "model.layers.0.self_attn.q_proj".
    hint: Choose blocks of at most 16.
    ",
      "--method fourierft --frequencies 1000
    error: FourierFT: "model.layers.0.self_attn.q_proj" shall have 1000 frequencies; expected a whole number from 1 to 256.
    hint: Lower the number of frequencies, or give this module its own by a pattern.
    ",
      "--method vera --exclude q_proj
    error: --exclude: the method vera has no such setting.
    hint: Leave it out.
    ",
      "--method bitfit
    error: BitFit: the model has no biases.
    hint: Use a method that adapts matrices or norms, such as LoRA.
    ",
      "--method prompt-tuning --virtual-tokens 4096
    error: There is no room for rows: expected at least one of the 128 positions of "model" without the 4096 that adapters take, found -3968.
    hint: Lower the number of virtual tokens, or use a model with more positions.
    ",
    ]
  `);
});

test("merging what is no change of matrices", async () => {
  const workspace = await promptWorkspace();
  const methods = ["prefix-tuning", "prompt-tuning", "p-tuning", "bottleneck"];
  for (const method of methods) await workspace.json(...train.slice(0, -1), method, "--method", method);
  expect(
    await refusalsOf(
      workspace,
      methods.map((method) => ["merge", ...common, "--adapter", method, "--out", "merged"]),
    ),
  ).toMatchInlineSnapshot(`
    [
      "merge --adapter prefix-tuning merged
    error: The adapter "prefix-tuning" (PREFIX_TUNING) cannot be merged: keys and values in front of the sequence are no change of the base's matrices.
    hint: Use the base with the adapter beside it.
    ",
      "merge --adapter prompt-tuning merged
    error: The adapter "prompt-tuning" (PROMPT_TUNING) cannot be merged: tokens in front of the sequence are no change of the base's matrices.
    hint: Use the base with the adapter beside it.
    ",
      "merge --adapter p-tuning merged
    error: The adapter "p-tuning" (P_TUNING) cannot be merged: tokens in front of the sequence are no change of the base's matrices.
    hint: Use the base with the adapter beside it.
    ",
      "merge --adapter bottleneck merged
    error: The adapter "bottleneck" (BOTTLENECK) cannot be merged: a network with an activation is no change of the base's matrices.
    hint: Use the base with the adapter beside it.
    ",
    ]
  `);
});
