import { expect, test } from "vitest";
import { DeltafitError } from "../errors.ts";
import { completeConfiguration, createModel, knownModelTypes } from "./index.ts";

test("a configuration that only names an architecture is completed to transformers' default model", () => {
  const models = knownModelTypes.flatMap((modelType) => {
    const { configuration, assumed } = completeConfiguration({ model_type: modelType });
    if (Object.keys(assumed).length === 0) return [];
    const { layerCount, hiddenSize, vocabularySize } = createModel(configuration);
    return [`${modelType}: ${layerCount} layers of ${hiddenSize}, ${vocabularySize} tokens`];
  });
  expect(models).toMatchInlineSnapshot(`
    [
      "albert: 12 layers of 4096, 30000 tokens",
      "bert: 12 layers of 768, 30522 tokens",
      "deberta: 12 layers of 768, 50265 tokens",
      "deberta-v2: 24 layers of 1536, 128100 tokens",
      "distilbert: 6 layers of 768, 30522 tokens",
      "electra: 12 layers of 256, 30522 tokens",
      "gemma2: 26 layers of 2304, 256000 tokens",
      "gemma3_text: 26 layers of 2304, 262208 tokens",
      "gpt2: 12 layers of 768, 50257 tokens",
      "gpt_neox: 44 layers of 6144, 50432 tokens",
      "llama: 32 layers of 4096, 32000 tokens",
      "mistral: 32 layers of 4096, 32000 tokens",
      "mixtral: 32 layers of 4096, 32000 tokens",
      "modernbert: 22 layers of 768, 50368 tokens",
      "olmo2: 32 layers of 4096, 50304 tokens",
      "opt: 12 layers of 768, 50272 tokens",
      "phi3: 32 layers of 3072, 32064 tokens",
      "qwen2: 32 layers of 4096, 151936 tokens",
      "qwen3: 32 layers of 4096, 151936 tokens",
      "roberta: 12 layers of 768, 50265 tokens",
      "smollm3: 36 layers of 2048, 128256 tokens",
      "t5: 6 layers of 512, 32128 tokens",
      "xlm-roberta: 12 layers of 768, 30522 tokens",
    ]
  `);
});

test("what a configuration says stays, and what is assumed is told", () => {
  const given = { model_type: "roberta", hidden_size: 1024, num_attention_heads: 16, vocab_size: 50265 };
  expect(completeConfiguration(given)).toEqual({
    configuration: { ...given, intermediate_size: 3072, num_hidden_layers: 12 },
    assumed: { intermediate_size: 3072, num_hidden_layers: 12 },
  });
});

test("a size that is null is not left out", () => {
  const { configuration } = completeConfiguration({ model_type: "gpt2", n_layer: null });
  let message: string | undefined;
  try {
    createModel(configuration);
  } catch (error) {
    if (DeltafitError.isInstance(error)) message = error.message;
  }
  expect(message).toMatchInlineSnapshot(
    `"config.json: "n_layer" is null: Invalid input: expected number, received null."`,
  );
});
