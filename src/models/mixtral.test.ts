/** @file What Mixtral reads from its configuration. */
import { expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { createModel } from "./index.ts";

const sizes = {
  model_type: "mixtral",
  vocab_size: 16,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};

it("refuses more experts for a token than there are", () => {
  expect(failureOf(() => createModel({ ...sizes, num_local_experts: 2, num_experts_per_tok: 3 })))
    .toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check both numbers.",
      "message": "config.json: "num_experts_per_tok" is 3, but "num_local_experts" is 2.",
    }
  `);
});

it("refuses noise on what the router sees", () => {
  expect(failureOf(() => createModel({ ...sizes, router_jitter_noise: 0.1 }))).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": "Check that the configuration belongs to this architecture and is complete.",
      "message": "config.json: "router_jitter_noise" is 0.1: noise on what the router sees is not implemented; expected 0.",
    }
  `);
});

it("counts tokens only where the balance loss is asked for", () => {
  expect(createModel(sizes).countsTokens).toBe(false);
  expect(createModel({ ...sizes, output_router_logits: true }).countsTokens).toBe(true);
});
