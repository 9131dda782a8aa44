/** @file What is refused of DeBERTa's config.json. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { deberta } from "./deberta.ts";

const sizes = {
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
};
const refusal = (changes: Readonly<Record<string, unknown>>) =>
  failureOf(() => deberta.create({ ...sizes, ...changes }));

test("a width that the heads cannot share", () => {
  expect(refusal({ num_attention_heads: 3 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The heads of an attention layer share its width evenly: check both numbers.",
      "message": "config.json: "hidden_size" is 8, which "num_attention_heads" 3 does not divide.",
    }
  `);
});

test("an unknown kind of score, in the older spelling", () => {
  expect(refusal({ pos_att_type: "c2p|p2p" })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "pos_att_type" is "c2p|p2p": expected "c2p", "p2c" or both, as a list or joined by "|".",
    }
  `);
});

test("talking heads", () => {
  expect(refusal({ talking_head: true })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "talking_head" is true: Invalid input: expected false.",
    }
  `);
});

test("a pooler of another width", () => {
  expect(refusal({ pooler_hidden_size: 4 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The two have to agree: check both numbers.",
      "message": "config.json: "pooler_hidden_size" gives 4, but "hidden_size" gives 8.",
    }
  `);
});

test("the original head for masked tokens on embeddings of another width", () => {
  expect(refusal({ legacy: false, embedding_size: 4 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The two have to agree: check both numbers.",
      "message": "config.json: "embedding_size" gives 4, but "hidden_size" gives 8.",
    }
  `);
});
