/** @file What Mixtral reads from its configuration. */
import { expect, it } from "vitest";
import { createModel } from "./index.ts";
import { DeltafitError } from "../errors.ts";

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
  let message: string | undefined;
  try {
    createModel({ ...sizes, num_local_experts: 2, num_experts_per_tok: 3 });
  } catch (error) {
    if (DeltafitError.isInstance(error)) message = error.message;
  }
  expect(message).toBe('config.json: "num_experts_per_tok" is 3, but "num_local_experts" is 2.');
});

it("counts tokens only where the balance loss is asked for", () => {
  expect(createModel(sizes).countsTokens).toBe(false);
  expect(createModel({ ...sizes, output_router_logits: true }).countsTokens).toBe(true);
});
