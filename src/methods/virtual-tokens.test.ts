import { describe, expect, test } from "vitest";
import { createModel } from "../models/index.ts";
import { pTuning, pTuningDefaults } from "./p-tuning.ts";
import { prefixTuning, prefixTuningDefaults } from "./prefix-tuning.ts";
import { promptTuning, promptTuningDefaults } from "./prompt-tuning.ts";
import type { PromptTuningConfiguration } from "./prompt-tuning.ts";
import { surveyForward, surveyModel } from "./survey.ts";

const model = createModel({
  model_type: "llama",
  vocab_size: 12,
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  num_hidden_layers: 2,
  max_position_embeddings: 16,
});
const modules = surveyModel(model, { task: "causal-lm", labelCount: 2 });
/** A network of one linear layer. */
const plain = surveyForward((context) => {
  context.linear("dense", context.builder.input("x", "float32", ["rows", 2]), { in: 2, out: 3 });
});

/** Random numbers that are all in the middle. */
const source = {
  random: {
    uniform: (count: number, from: number, to: number) => new Float32Array(count).fill((from + to) / 2),
    normal: (count: number, mean: number) => new Float32Array(count).fill(mean),
  },
  base: () => Float32Array.from({ length: 12 * 8 }, (_, index) => Math.floor(index / 8)),
  earlier: () => new Float32Array(0),
  fromChange: () => new Float32Array(0),
};

function startOf(initial: PromptTuningConfiguration["initial"]): number[] {
  const [spec] = promptTuning.bind({ virtualTokens: 5, initial }, modules).parameters;
  const values = spec?.initial(source) ?? new Float32Array(0);
  return Array.from({ length: 5 }, (_, row) => values[row * 8] ?? NaN);
}

describe("where prompts start", () => {
  test("rows of the vocabulary", () => {
    expect(startOf("vocabulary")).toEqual([6, 6, 6, 6, 6]);
  });

  test("a text that is repeated, and one that is cut", () => {
    expect(startOf({ text: "a b", tokens: [3, 7], tokenizer: "t" })).toEqual([3, 7, 3, 7, 3]);
    expect(startOf({ text: "long", tokens: [1, 2, 3, 4, 5, 6], tokenizer: "t" })).toEqual([1, 2, 3, 4, 5]);
  });

  test("a text needs tokens of the model", () => {
    expect(() => startOf({ text: "", tokens: [], tokenizer: "t" })).toThrow(
      "Prompt tuning: the text to start from has no tokens.",
    );
    expect(() => startOf({ text: "a", tokens: [12], tokenizer: "t" })).toThrow(
      'Prompt tuning: the token id 12 is outside of "model.embed_tokens", which has 12 rows.',
    );
  });
});

test("a number of virtual tokens that is none", () => {
  expect(() => prefixTuning.bind({ ...prefixTuningDefaults, virtualTokens: 0 }, modules)).toThrow(
    "Prefix tuning: the number of virtual tokens is 0; expected a whole number above 0.",
  );
  expect(() => promptTuning.bind({ ...promptTuningDefaults, virtualTokens: 1.5 }, modules)).toThrow(
    "Prompt tuning: the number of virtual tokens is 1.5; expected a whole number above 0.",
  );
});

test("encoders of no size", () => {
  expect(() => pTuning.bind({ ...pTuningDefaults, encoderWidth: 0 }, modules)).toThrow(
    "P-tuning: the encoder's width is 0; expected a whole number above 0.",
  );
  expect(() => pTuning.bind({ ...pTuningDefaults, encoderDropout: 1 }, modules)).toThrow(
    "P-tuning: the encoder's dropout is 1; expected a share from 0 to below 1.",
  );
});

test("models without attention or tokens", () => {
  expect(() => prefixTuning.bind(prefixTuningDefaults, plain)).toThrow(
    "Prefix tuning: the model has no layers of attention with keys of one size.",
  );
  expect(() => promptTuning.bind(promptTuningDefaults, plain)).toThrow(
    "Prompt tuning: the model looks no tokens up, so there is nothing to put virtual tokens in front of.",
  );
});

test("none of them merges", () => {
  const reasons = [
    prefixTuning.bind(prefixTuningDefaults, modules),
    promptTuning.bind(promptTuningDefaults, modules),
    pTuning.bind(pTuningDefaults, modules),
  ].map(({ merge }) => merge);
  const tokens = { impossible: "tokens in front of the sequence are no change of the base's matrices." };
  expect(reasons).toEqual([
    { impossible: "keys and values in front of the sequence are no change of the base's matrices." },
    tokens,
    tokens,
  ]);
});
