/** @file Training and evaluation of the tasks whose heads look at tokens, or give any number of labels. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { anyNumber, createWorkspace, writeTinyModel } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join("\n");

/** Trains a LoRA on data until it knows them, and returns the metrics that `evaluate` finds. */
async function learn(
  workspace: Workspace,
  task: string,
  rows: readonly object[],
  ...words: readonly string[]
): Promise<Record<string, number>> {
  workspace.write("data.jsonl", lines(rows));
  const data = ["--model", "model", "--data", "data.jsonl"];
  const speed = ["--targets", "all-linear", "--steps", "60", "--learning-rate", "2e-2"];
  await workspace.json("train", ...data, "--task", task, ...speed, ...words, "--out", "adapter");
  const configuration = JSON.parse(
    fs.readFileSync(workspace.at("adapter", "adapter_config.json"), "utf8"),
  ) as Record<string, unknown>;
  expect(configuration["task_type"]).toBe(taskTypes[task]);
  const evaluated = await workspace.json("evaluate", ...data, "--adapter", "adapter", ...words);
  expect(evaluated["task"]).toBe(task);
  return evaluated["metrics"] as Record<string, number>;
}

const taskTypes: Readonly<Record<string, string>> = {
  "token-classification": "TOKEN_CLS",
  "multi-label-classification": "SEQ_CLS",
  "question-answering": "QUESTION_ANS",
};

test("token classification finds entities", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  const names = ["Ada", "Max", "Ida"];
  const rows = names.map((name) => ({
    tokens: ["Then", name, "Lovelace", "went", "home"],
    ner_tags: ["O", "B-PER", "I-PER", "O", "O"],
  }));
  expect(await learn(workspace, "token-classification", rows)).toEqual({
    ...{ loss: anyNumber, accuracy: 1 },
    ...{ precision: 1, recall: 1, f1: 1 },
  });
});

test("any number of labels", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  const rows = [
    { text: "The soup was good.", labels: ["food", "praise"] },
    { text: "The room was good.", labels: ["praise"] },
    { text: "The soup was bad.", labels: ["food"] },
    { text: "It is a town.", labels: [] },
  ];
  const { loss, ...shares } = await learn(workspace, "multi-label-classification", rows);
  expect(loss).toBeLessThan(0.2);
  expect(shares).toEqual({ accuracy: 1, f1Micro: 1, f1Macro: 1 });
});

test("questions are answered from their context, long ones in windows", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace, "model", {
    model_type: "gpt2",
    ...{ n_embd: 16, n_layer: 2, n_head: 2, n_positions: 128 },
    ...{ embd_pdrop: 0, resid_pdrop: 0, attn_pdrop: 0 },
  });
  const context =
    "The small town has a river. The food there is fish and rice. People like to walk along the river " +
    "in the evening, and in the morning they drink tea.";
  const ask = (question: string, answer: string) => ({
    ...{ question, context },
    answers: { text: [answer], answer_start: [context.indexOf(answer)] },
  });
  const rows = [ask("What do they eat?", "fish and rice"), ask("What do they drink?", "tea")];
  const sizes = ["--sequence-length", "32", "--stride", "8"];
  const { loss, ...matches } = await learn(workspace, "question-answering", rows, ...sizes);
  expect(loss).toBeLessThan(0.5);
  expect(matches).toEqual({ exactMatch: 1, f1: 1 });
  const packed = ["--model", "model", "--data", "data.jsonl", "--task", "question-answering", "--pack"];
  expect(await workspace.deltafit("train", ...packed, "--quiet")).toMatchObject({
    exitCode: 2,
    stderr:
      "warning: without --out the adapter is not kept\n" +
      "error: The positions of a row compete for an answer's ends, so a row cannot hold several questions.\n" +
      "hint: Train without packing; grouping by length saves most of the padding as well.\n",
  });
});

test("texts become vectors, whatever shares their batch", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  workspace.write("texts.jsonl", lines([{ text: "a quiet river in the town" }, { text: "soup" }]));
  const words = ["embed", "--model", "model", "--pooling", "mean", "--normalise"];
  const together = await workspace.json(...words, "--data", "texts.jsonl");
  expect(together).toMatchObject({ dimensions: 16, examples: 2, pooling: "mean", normalise: true });
  const alone = await workspace.json(...words, "--text", "soup");
  const [, second = []] = together["embeddings"] as number[][];
  const [own = []] = alone["embeddings"] as number[][];
  expect(own).toHaveLength(16);
  for (const [index, value] of own.entries()) expect(second[index]).toBeCloseTo(value, 5);
});
