import { expect, test } from "vitest";
import { createModel } from "../models/index.ts";
import { headOnly } from "./head-only.ts";
import { surveyModel } from "./survey.ts";

const llama = {
  model_type: "llama",
  vocab_size: 12,
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_hidden_layers: 1,
  max_position_embeddings: 16,
};

function modulesOf(configuration: Readonly<Record<string, unknown>>) {
  return surveyModel(createModel(configuration), { task: "causal-lm", labelCount: 2 });
}

test("a tied output embedding is no head of its own", () => {
  const modules = modulesOf({ ...llama, tie_word_embeddings: true });
  expect(() => headOnly.bind({}, modules)).toThrowErrorMatchingInlineSnapshot(
    `[DeltafitError: Head only: the model has no head of its own; its output embedding is the input embedding's matrix.]`,
  );
});

test("trains the head and nothing else", () => {
  const { parameters } = headOnly.bind({}, modulesOf(llama));
  expect(parameters.map(({ key }) => key)).toEqual(["lm_head.weight"]);
});
