/** @file Every way to keep and to multiply weights, as processes on the bundled base: texts come, and a loss near float32's. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { createWorkspace } from "./workspace.ts";

const base = join(import.meta.dirname, "..", "..", "base");

test("evaluate and generate with weights of every storage", async () => {
  const workspace = createWorkspace();
  const sentences = [
    "The lighthouse is near the river.",
    "Counting ships, she wrote a letter to the keeper.",
  ];
  workspace.write("text.jsonl", sentences.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const lossWith = async (...words: string[]): Promise<number> => {
    const evaluated = await workspace.json("evaluate", "--model", base, "--data", "text.jsonl", ...words);
    return (evaluated["metrics"] as { loss: number }).loss;
  };
  const exact = await lossWith();
  for (const [storage, compute, share] of [
    ["bfloat16", "float32", 0.002],
    ["int8", "float32", 0.01],
    ["nf4", "float32", 0.04],
    ["nf4-double", "float32", 0.04],
    ["int4", "float32", 0.04],
    ["float32", "int8", 0.01],
    ["int4", "int8", 0.04],
  ] as const) {
    const kept = ["--storage", storage, "--compute", compute];
    const loss = await lossWith(...kept);
    expect(Math.abs(loss / exact - 1), `${storage}, ${compute}: ${loss}, ${exact}`).toBeLessThan(share);
    expect(loss).not.toBe(exact);
    const { tokens } = await workspace.json(
      ...["generate", "--model", base, "--prompt", "The lighthouse", "--max-new-tokens", "4", ...kept],
    );
    expect((tokens as number[]).length).toBeGreaterThan(1);
  }
}, 60_000);
