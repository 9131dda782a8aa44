/** @file What is refused of ALBERT's config.json, and how many layers its groups make. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { albert } from "./albert.ts";

const sizes = {
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  intermediate_size: 12,
};
const refusal = (changes: Readonly<Record<string, unknown>>) =>
  failureOf(() => albert.create({ ...sizes, ...changes }));

test("a width that the heads cannot share", () => {
  expect(refusal({ num_attention_heads: 3 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The heads of an attention layer share its width evenly: check both numbers.",
      "message": "config.json: "hidden_size" is 8, which "num_attention_heads" 3 does not divide.",
    }
  `);
});

test("no group", () => {
  expect(refusal({ num_hidden_groups: 0 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "num_hidden_groups" is 0: Too small: expected number to be >0.",
    }
  `);
});

test("more groups than layers", () => {
  expect(refusal({ num_hidden_groups: 4 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "num_hidden_groups" is 4: expected no more groups than layers.",
    }
  `);
});

test("each layer of a group counts", () => {
  expect(albert.create({ ...sizes, inner_group_num: 2 }).layerCount).toBe(6);
});
