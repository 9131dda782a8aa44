/** @file What is refused of ModernBERT's config.json. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { modernbert } from "./modernbert.ts";

const sizes = {
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
};
const refusal = (changes: Readonly<Record<string, unknown>>) =>
  failureOf(() => modernbert.create({ ...sizes, ...changes }));

test("a width that the heads cannot share", () => {
  expect(refusal({ num_attention_heads: 3 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The heads of an attention layer share its width evenly: check both numbers.",
      "message": "config.json: "hidden_size" is 8, which "num_attention_heads" 3 does not divide.",
    }
  `);
});

test("kinds of layers that are not one for each layer", () => {
  expect(refusal({ layer_types: ["full_attention"] })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The list names the kind of every layer: check both.",
      "message": "config.json: "layer_types" has 1 entries, but "num_hidden_layers" is 2.",
    }
  `);
});

test("an unknown kind of layer", () => {
  expect(refusal({ layer_types: ["full_attention", "chunked_attention"] })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "layer_types.1" is "chunked_attention": Invalid option: expected one of "full_attention"|"sliding_attention".",
    }
  `);
});

test("an unknown pooling", () => {
  expect(refusal({ classifier_pooling: "max" })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "classifier_pooling" is "max": Invalid option: expected one of "cls"|"mean".",
    }
  `);
});
