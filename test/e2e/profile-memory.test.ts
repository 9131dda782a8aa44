/** @file The page of a run's memory, as the command writes it. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { createWorkspace, writePromptData, writeTinyModel } from "./workspace.ts";

test("train and bench step draw their memory over time", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  const train = ["train", "--model", "model", "--data", "data.jsonl", "--steps", "3", "--out", "a"];
  const trained = await workspace.json(...train, "--profile-memory", "train.html");
  expect(trained["profileMemory"]).toBe("train.html");
  const page = fs.readFileSync(workspace.at("train.html"), "utf8");
  expect([...page.matchAll(/<svg /g)]).toHaveLength(2);
  expect(page).toContain("<title>deltafit train: model, lora</title>");
  for (const text of ["model opened", "gradients", "activations and workspace"]) expect(page).toContain(text);
  // The opened model and three steps.
  expect([...page.matchAll(/stroke-dasharray/g)]).toHaveLength(4);
  expect(page).not.toMatch(/NaN|Infinity|undefined|https?:/);

  const bench = [
    "bench",
    "step",
    "--model",
    "model",
    "--batch-size",
    "2",
    "--sequence-length",
    "16",
    "--repeat",
    "1",
  ];
  await workspace.json(...bench, "--profile-memory", "step.html");
  expect(fs.readFileSync(workspace.at("step.html"), "utf8")).toContain("2 rows of 16 tokens");

  const failed = await workspace.deltafit(
    ...train.slice(0, 3),
    "--data",
    "none.jsonl",
    "--profile-memory",
    "train.html",
  );
  expect(failed).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("none.jsonl") as string });
  expect(fs.readFileSync(workspace.at("train.html"), "utf8")).toBe(page);
});
