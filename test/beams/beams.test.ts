/** @file Beam searches against those of transformers that make.py recorded: the tokens chosen, and their score. */
import path from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { openBase } from "../../src/base/base.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { createGenerator } from "../../src/generation/generate.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const caseSchema = z.object({
  model: z.string(),
  prompt: z.array(z.int()),
  beams: z.int(),
  lengthPenalty: z.number(),
  noRepeatNgram: z.int().nullable(),
  stopTokens: z.array(z.int()),
  tokens: z.array(z.int()),
  score: z.number(),
});
const cases = z.array(caseSchema).parse(readJsonFile(path.join(import.meta.dirname, "beams.fixture.json")));

afterEach(() => {
  vi.unstubAllEnvs();
});

test.each(["gpt2", "llama"])("%s", async (name) => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
  const folder = path.resolve(import.meta.dirname, "../reference/cases/models", name);
  const generator = await createGenerator(await openBase({ path: folder, task: "causal-lm" }), [], {
    session: { threads: 1 },
  });
  const own = cases.filter(({ model }) => model === name);
  const found: number[][] = [];
  const scores: number[] = [];
  for (const { prompt, beams, lengthPenalty, noRepeatNgram, stopTokens } of own) {
    const settings = { beams, lengthPenalty, stopTokens, noRepeatNgram: noRepeatNgram ?? undefined };
    const result = await generator.generate({ prompts: [prompt], maximumNewTokens: 8, ...settings });
    found.push([...(result.tokens[0] ?? [])]);
    scores.push(result.scores?.[0] ?? NaN);
  }
  await generator.dispose();
  expect(found).toEqual(own.map(({ tokens }) => tokens));
  for (const [index, { score }] of own.entries()) expect(scores[index]).toBeCloseTo(score, 4);
  // Some end before the limit, so that ends are compared too.
  expect(own.some(({ tokens }) => tokens.length < 8)).toBe(true);
});
