import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { createModel } from "../models/index.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { sequenceLengthOf } from "./sequence-length.ts";

const model = (positions: number) => ({
  name: "tiny",
  model: createModel({
    model_type: "gpt2",
    vocab_size: 11,
    n_embd: 8,
    n_layer: 1,
    n_head: 2,
    n_positions: positions,
  }),
});
const method: BoundMethod = {
  parameters: [],
  hooks: () => ({}),
  merge: [],
  virtualTokens: 20,
  prefixKeys: 5,
};
const tokenizer = { modelMaximumLength: undefined };

test("by default rows are as long as model, tokenizer and adapters leave, up to 512", () => {
  expect(sequenceLengthOf(undefined, model(1024), tokenizer, [])).toBe(512);
  expect(sequenceLengthOf(undefined, model(1024), { modelMaximumLength: 64 }, [])).toBe(64);
  expect(sequenceLengthOf(undefined, model(128), tokenizer, [])).toBe(128);
  expect(sequenceLengthOf(undefined, model(128), tokenizer, [{ method }])).toBe(103);
  expect(sequenceLengthOf(undefined, model(128), tokenizer, [{ method }, { method }])).toBe(78);
  expect(sequenceLengthOf(100, model(128), tokenizer, [{ method }])).toBe(100);
});

test("more than is left is refused", () => {
  expect(failureOf(() => sequenceLengthOf(129, model(128), tokenizer, []))).toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "Lower it, or use a model with more positions.",
      "message": "--sequence-length: expected at most 128, the positions of "tiny", found 129.",
    }
  `);
  expect(failureOf(() => sequenceLengthOf(104, model(128), tokenizer, [{ method }]))).toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "Lower it, or use a model with more positions.",
      "message": "--sequence-length: expected at most 103, the 128 positions of "tiny" without the 25 that adapters take, found 104.",
    }
  `);
  expect(failureOf(() => sequenceLengthOf(undefined, model(20), tokenizer, [{ method }])))
    .toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "Lower the number of virtual tokens, or use a model with more positions.",
      "message": "There is no room for rows: expected at least one of the 20 positions of "tiny" without the 25 that adapters take, found -5.",
    }
  `);
});
