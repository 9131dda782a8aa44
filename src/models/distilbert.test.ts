/** @file What is refused of DistilBERT's config.json, whose keys are its own. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { distilbert } from "./distilbert.ts";

const sizes = { vocab_size: 11, dim: 8, n_layers: 2, n_heads: 2, hidden_dim: 12 };
const refusal = (changes: Readonly<Record<string, unknown>>) =>
  failureOf(() => distilbert.create({ ...sizes, ...changes }));

test("a width that the heads cannot share", () => {
  expect(refusal({ n_heads: 3 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The heads of an attention layer share its width evenly: check both numbers.",
      "message": "config.json: "dim" is 8, which "n_heads" 3 does not divide.",
    }
  `);
});

test("a missing size", () => {
  expect(refusal({ hidden_dim: undefined })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "hidden_dim" is missing: Invalid input: expected number, received undefined.",
    }
  `);
});

test("a dropout that leaves nothing", () => {
  expect(refusal({ attention_dropout: 1 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "attention_dropout" is 1: Too big: expected number to be <1.",
    }
  `);
});
