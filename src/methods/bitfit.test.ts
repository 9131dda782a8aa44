import { expect, test } from "vitest";
import { createModel } from "../models/index.ts";
import { bitFit } from "./bitfit.ts";
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

test("a model without biases has nothing for BitFit", () => {
  expect(() => bitFit.bind({}, modulesOf(llama))).toThrowErrorMatchingInlineSnapshot(
    `[DeltafitError: BitFit: the model has no biases.]`,
  );
});

test("BitFit names the modules with a bias where a target has none", () => {
  const modules = modulesOf({ ...llama, attention_bias: true });
  expect(() => bitFit.bind({ targets: ["q_porj"] }, modules)).toThrowErrorMatchingInlineSnapshot(
    `[DeltafitError: BitFit: the target "q_porj" matches no module with a bias.]`,
  );
  const { parameters } = bitFit.bind({ targets: ["q_proj"] }, modules);
  expect(parameters.map(({ key }) => key)).toEqual(["model.layers.0.self_attn.q_proj.bias"]);
});
