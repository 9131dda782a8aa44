import { expect, test } from "vitest";
import { bindNewAdapter } from "../adapters/adapter.ts";
import type { MethodConfigurations, MethodType } from "../adapters/method-table.ts";
import { shapeOf } from "../base/base.ts";
import { loraDefaults } from "../methods/lora.ts";
import { veraDefaults } from "../methods/vera.ts";
import type { Task } from "../models/forward.ts";
import { completeConfiguration } from "../models/index.ts";
import { countParameters } from "./parameter-counts.ts";

function countsOf<Type extends MethodType>(
  given: Readonly<Record<string, unknown>>,
  task: Task,
  type: Type,
  configuration: MethodConfigurations[Type],
) {
  const { modules, settings } = shapeOf(completeConfiguration(given).configuration, { task });
  const base = { modules, settings, newParameters: [] };
  return countParameters(modules, bindNewAdapter({ base, type, configuration }).method);
}

const robertaBase = { model_type: "roberta", max_position_embeddings: 514, type_vocab_size: 1 };
const robertaLarge = {
  ...robertaBase,
  ...{ hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096 },
};
const gpt2Medium = { model_type: "gpt2", n_embd: 1024, n_layer: 24, n_head: 16 };
const gpt3 = { model_type: "gpt2", n_positions: 2048, n_embd: 12288, n_layer: 96, n_head: 96 };
const queryAndValue = { ...loraDefaults, rank: 8, targets: ["query", "value"] };

test("LoRA on RoBERTa as in the LoRA paper's table 2: 0.3 and 0.8 million besides the head", () => {
  expect(countsOf(robertaBase, "classification", "LORA", queryAndValue)).toEqual({
    baseParameters: 124_647_170,
    trainableParameters: 294_912,
    headParameters: 592_130,
    totalParameters: 124_942_082,
  });
  expect(countsOf(robertaLarge, "classification", "LORA", queryAndValue).trainableParameters).toBe(786_432);
});

test("LoRA of rank 4 on GPT-2 medium and large as in the LoRA paper's table 3: 0.35 and 0.77 million", () => {
  // The paper rounds 393,216 down; it adapts the query and value slices of the one matrix that the checkpoint has.
  const slices = { ...loraDefaults, rank: 4, targets: ["c_attn.query", "c_attn.value"] };
  const trained = (model: typeof gpt2Medium) =>
    countsOf(model, "causal-lm", "LORA", slices).trainableParameters;
  expect(trained(gpt2Medium)).toBe(24 * 2 * 4 * (1024 + 1024));
  expect(trained({ ...gpt2Medium, n_embd: 1280, n_layer: 36, n_head: 20 })).toBe(36 * 2 * 4 * (1280 + 1280));
  const whole = countsOf(gpt2Medium, "causal-lm", "LORA", { ...slices, targets: ["c_attn"] });
  expect(whole.trainableParameters).toBe(24 * 4 * (1024 + 3 * 1024));
});

test("LoRA on GPT-3 as in the LoRA paper's table 4: 4.7 and 37.7 million of 175 billion", () => {
  const ranks = [1, 8].map((rank) =>
    countsOf(gpt3, "causal-lm", "LORA", { ...loraDefaults, rank, targets: ["c_attn"] }),
  );
  expect(ranks.map(({ trainableParameters }) => trainableParameters)).toEqual([4_718_592, 37_748_736]);
  expect(ranks.map(({ baseParameters }) => baseParameters)).toEqual([174_604_259_328, 174_604_259_328]);
});

test("Mixtral 8x7B as published: 46.7 billion, experts that a token does not see included", () => {
  const counts = countsOf({ model_type: "mixtral" }, "causal-lm", "LORA", {
    ...loraDefaults,
    rank: 8,
    targets: ["q_proj", "v_proj"],
  });
  expect(counts.baseParameters).toBe(46_702_792_704);
  expect(counts.trainableParameters).toBe(32 * 8 * (4096 + 4096 + 4096 + 1024));
});

test("VeRA's two vectors a matrix as in the VeRA paper's table 1: 24.6 and 61.4 thousand at rank 256", () => {
  const vera = { ...veraDefaults, rank: 256, targets: ["query", "value"] };
  expect(countsOf(robertaBase, "classification", "VERA", vera).trainableParameters).toBe(
    12 * 2 * (768 + 256),
  );
  expect(countsOf(robertaLarge, "classification", "VERA", vera).trainableParameters).toBe(
    24 * 2 * (1024 + 256),
  );
});

test("single biases of a head that is not trained whole are the method's own", () => {
  const deberta = {
    model_type: "deberta-v2",
    hidden_size: 8,
    num_attention_heads: 2,
    intermediate_size: 16,
    num_hidden_layers: 1,
    vocab_size: 20,
  };
  const { headParameters } = countsOf(deberta, "classification", "BITFIT", {});
  expect(headParameters).toBe(2 * 8 + 2);
});
