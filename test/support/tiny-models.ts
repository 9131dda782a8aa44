/** @file Tiny decoders with random weights, and LoRA adapters with random values, for tests that run a whole model. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { vi } from "vitest";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import type { GenerationAdapter } from "../../src/generation/generate.ts";
import { layOut } from "../../src/methods/layout.ts";
import { lora, loraDefaults } from "../../src/methods/lora.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** Large initial weights: with the usual small ones a random model repeats its last token. */
const common = { initializer_range: 0.4, eos_token_id: 2 };

export const tinyConfigurations = {
  llama: {
    ...common,
    model_type: "llama",
    vocab_size: 97,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 600,
  },
  gpt2: { ...common, model_type: "gpt2", vocab_size: 97, n_embd: 24, n_layer: 2, n_head: 3, n_positions: 40 },
  mixtral: {
    ...common,
    model_type: "mixtral",
    vocab_size: 97,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_local_experts: 3,
    output_router_logits: true,
    max_position_embeddings: 600,
  },
} as const;

/** Opens a tiny model for causal-lm; its weights depend on the configuration and `seed`. */
export async function tinyBase(configuration: Readonly<Record<string, unknown>>, seed = 1): Promise<Base> {
  const folder = temporaryFolder();
  vi.stubEnv("DELTAFIT_CACHE", path.join(folder, "cache"));
  const file = path.join(folder, "config.json");
  writeFileSync(file, JSON.stringify(configuration));
  return openBase({ path: file, name: "tiny", task: "causal-lm", randomWeights: seed });
}

/** A LoRA adapter over every linear layer with random values, so that it changes what the model says. */
export function randomLora(
  base: Base,
  name: string,
  seed: number,
  settings: { readonly alpha?: number; readonly modulesToSave?: readonly string[] } = {},
): GenerationAdapter {
  const method = lora.bind({ ...loraDefaults, rank: 2, targets: "all-linear", ...settings }, base.modules);
  const layout = layOut(method.parameters.map((spec) => ({ adapter: name, spec })));
  return { name, method, layout, values: new TorchGenerator(seed).normal(layout.size, 0, 0.3) };
}
