/** @file What is refused of the config.json of DeBERTa's later versions. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { debertaV2 } from "./deberta-v2.ts";

const sizes = {
  vocab_size: 11,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
};
const refusal = (changes: Readonly<Record<string, unknown>>) =>
  failureOf(() => debertaV2.create({ ...sizes, ...changes }));

test("heads of another width than their share", () => {
  expect(refusal({ attention_head_size: 8 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "The two have to agree: check both numbers.",
      "message": "config.json: "attention_head_size" gives 16, but "hidden_size" gives 8.",
    }
  `);
});

test("a single bucket", () => {
  expect(refusal({ position_buckets: 1 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "position_buckets" is 1: expected an even number of buckets, or a number below 1 for none.",
    }
  `);
});

test("a convolution without a middle", () => {
  expect(refusal({ conv_kernel_size: 4 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "conv_kernel_size" is 4: expected an odd number, or 0 for no convolution.",
    }
  `);
});

test("a convolution in groups", () => {
  expect(refusal({ conv_kernel_size: 3, conv_groups: 2 })).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "conv_groups" is 2: Invalid input: expected 1.",
    }
  `);
});
