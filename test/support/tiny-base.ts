/** @file A tiny random base for tests that need a whole model and no particular numbers. */
import fs from "node:fs";
import os from "node:os";
import { join } from "node:path";
import { openBase } from "../../src/base/base.ts";
import type { Base } from "../../src/base/base.ts";
import type { Compute, Storage } from "../../src/base/weight-storage.ts";
import type { Task } from "../../src/models/forward.ts";

/** A Llama of two layers, 8 wide, with a vocabulary of 12. */
const tinyLlama: Readonly<Record<string, unknown>> = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 12,
  hidden_size: 8,
  intermediate_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 32,
  tie_word_embeddings: false,
};

/** A folder of its own for a test, with the cache in it; `dispose` removes it. */
export function scratchFolder(): { readonly path: string; readonly dispose: () => void } {
  const path = fs.mkdtempSync(join(os.tmpdir(), "deltafit-"));
  const earlier = process.env["DELTAFIT_CACHE"];
  process.env["DELTAFIT_CACHE"] = join(path, "cache");
  return {
    path,
    dispose() {
      if (earlier === undefined) delete process.env["DELTAFIT_CACHE"];
      else process.env["DELTAFIT_CACHE"] = earlier;
      fs.rmSync(path, { recursive: true, force: true });
    },
  };
}

export interface TinyBaseOptions {
  readonly configuration?: Readonly<Record<string, unknown>>;
  readonly task?: Task;
  readonly labelCount?: number;
  readonly storage?: Storage;
  readonly compute?: Compute;
}

/** The tiny Llama, or another configuration, with random weights. */
export async function tinyBase(folder: string, options: TinyBaseOptions = {}): Promise<Base> {
  const { configuration = {}, task = "causal-lm", labelCount, storage, compute } = options;
  const path = join(folder, "config.json");
  fs.writeFileSync(path, JSON.stringify({ ...tinyLlama, ...configuration }));
  return openBase({ path, name: "tiny/llama", task, labelCount, storage, compute, randomWeights: 0 });
}
