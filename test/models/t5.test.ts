/** @file What the reference cases of T5 leave open: buckets of usual sizes, and when the head has a matrix of its own. */
import { expect, test } from "vitest";
import { createModel } from "../../src/models/index.ts";
import { surveyModel } from "../../src/methods/survey.ts";
import { relativeBucket } from "../../src/models/t5.ts";
import { failureOf } from "../support/failure.ts";

const distances = [-200, -128, -127, -91, -90, -64, -32, -31, -16, -15, -8, -7, -1, 0, 1, 8, 12, 45, 46, 500];

test("distances fall into the buckets that transformers puts them into", () => {
  const settings = { buckets: 32, maximum: 128 };
  const bucketsOf = (bothSides: boolean) =>
    distances.map((distance) => relativeBucket(distance, { ...settings, bothSides }));
  expect(bucketsOf(true)).toEqual([
    15, 15, 15, 15, 14, 14, 12, 11, 10, 9, 8, 7, 1, 0, 17, 24, 25, 28, 29, 31,
  ]);
  expect(bucketsOf(false)).toEqual([31, 31, 31, 29, 29, 26, 21, 21, 16, 15, 8, 7, 1, 0, 0, 0, 0, 0, 0, 0]);
});

const sizes = {
  model_type: "t5",
  vocab_size: 12,
  d_model: 8,
  d_kv: 4,
  d_ff: 12,
  num_layers: 1,
  num_heads: 2,
};
const stored = (configuration: Readonly<Record<string, unknown>>, isStored?: (name: string) => boolean) => {
  const model = createModel({ ...sizes, ...configuration }, isStored);
  return surveyModel(model, { task: "seq2seq-lm", labelCount: 0 }).parameters.get("lm_head.weight")?.stored;
};

test("the head of version 1.1 is tied only where the checkpoint has none", () => {
  const present = () => true;
  expect(stored({})).toBe("shared.weight");
  expect(stored({}, present)).toBe("shared.weight");
  expect(stored({ tie_word_embeddings: false })).toBe("lm_head.weight");
  expect(stored({ tie_word_embeddings: false }, () => false)).toBe("shared.weight");
  const written = { tie_word_embeddings: true, scale_decoder_outputs: false };
  expect(stored(written, present)).toBe("lm_head.weight");
  expect(stored(written, () => false)).toBe("shared.weight");
  // As merging writes a head of the first version that an adapter changed.
  expect(stored({ tie_word_embeddings: false, scale_decoder_outputs: true }, present)).toBe("lm_head.weight");
});

test("other tasks and unknown activations are refused", () => {
  const model = createModel(sizes);
  expect(failureOf(() => surveyModel(model, { task: "causal-lm", labelCount: 0 }))).toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "It can do seq2seq-lm.",
      "message": "The architecture t5 has no head for the task causal-lm.",
    }
  `);
  expect(failureOf(() => createModel({ ...sizes, feed_forward_proj: "gated-sine" }))).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "feed_forward_proj" is "gated-sine": expected the name of an activation function, or "gated-" and such a name.",
    }
  `);
});
