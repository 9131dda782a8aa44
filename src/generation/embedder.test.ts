/** @file Vectors of texts against the hidden states that transformers gave for the same rows. */
import path from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { floats, readBatch, readTensors } from "../../test/reference/cases.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openBase } from "../base/base.ts";
import { Embedder } from "./embedder.ts";

const folder = path.resolve(import.meta.dirname, "../../test/reference/cases/models/bert_mlm");

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});

async function embedded(options: { pooling?: "mean" | "first" | "last"; normalise?: boolean } = {}) {
  const batch = readBatch(folder, "forward");
  if (!batch) throw new Error("the case has no batch");
  const base = await openBase({ path: folder, task: "masked-lm" });
  const embedder = await Embedder.create({ base, adapters: [], session: { threads: 1 }, ...options });
  try {
    return { vectors: await embedder.embed(batch), batch };
  } finally {
    await embedder.dispose();
  }
}

/** The last hidden states of a row's tokens. */
function tokensOf(row: number, mask: BigInt64Array): number[][] {
  const expected = readTensors(path.join(folder, "expected.safetensors"));
  const last = Math.max(
    ...[...expected.keys()].flatMap((key) => /^hidden_states\.(\d+)$/.exec(key)?.[1] ?? []).map(Number),
  );
  const { shape, data } = floats(expected, `hidden_states.${last}`);
  const [, length = 0, width = 0] = shape;
  return Array.from({ length }, (_, position) => {
    const start = (row * length + position) * width;
    return [...data.slice(start, start + width)];
  }).filter((_, position) => mask[row * length + position] === 1n);
}

const expectClose = (actual: Float32Array | undefined, expected: readonly number[]) => {
  expect(actual).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(actual?.[index]).toBeCloseTo(value, 4);
};

test("the mean leaves padding out", async () => {
  const { vectors, batch } = await embedded();
  for (const [row, vector] of vectors.entries()) {
    const tokens = tokensOf(row, batch.attentionMask.data);
    expectClose(
      vector,
      tokens[0]!.map((_, index) => tokens.reduce((sum, token) => sum + token[index]!, 0) / tokens.length),
    );
  }
});

test("the first or the last token", async () => {
  const [first, last] = [await embedded({ pooling: "first" }), await embedded({ pooling: "last" })];
  for (const row of [0, 1, 2]) {
    const tokens = tokensOf(row, first.batch.attentionMask.data);
    expectClose(first.vectors[row], tokens[0]!);
    expectClose(last.vectors[row], tokens.at(-1)!);
  }
});

test("vectors of length one", async () => {
  const { vectors } = await embedded({ normalise: true });
  for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
});
