import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { shapeOf } from "../base/base.ts";
import { checkModelMemory } from "./model-memory.ts";

const shape = shapeOf(
  {
    ...{ model_type: "llama", vocab_size: 1000, hidden_size: 2048, intermediate_size: 8192 },
    ...{ num_hidden_layers: 16, num_attention_heads: 16, max_position_embeddings: 1024 },
  },
  { task: "causal-lm" },
);

test("weights that do not fit are refused with the storages that do, the least loss first", () => {
  const check = (available: number) =>
    failureOf(() => checkModelMemory(shape, { storage: undefined, compute: "float32" }, available));
  expect(check(3e9)).toMatchInlineSnapshot(`
    {
      "code": "memory-exceeded",
      "hint": "These fit: --storage bfloat16 (2.29 GB); --storage int8 (1.22 GB); --storage nf4 (751 MB); --storage nf4-double (701 MB). --ignore-memory starts it all the same.",
      "message": "The run does not fit into memory: expected at most 3.00 GB, which are available, found about 4.44 GB.",
    }
  `);
  expect(check(1e8)).toMatchInlineSnapshot(`
    {
      "code": "memory-exceeded",
      "hint": "No storage makes it fit: use a smaller model. --ignore-memory starts it all the same.",
      "message": "The run does not fit into memory: expected at most 100 MB, which are available, found about 4.44 GB.",
    }
  `);
  expect(() => checkModelMemory(shape, { storage: undefined, compute: "float32" }, 5e9)).not.toThrow();
  for (const storage of ["bfloat16", "int8", "nf4"] as const)
    expect(() => checkModelMemory(shape, { storage, compute: "float32" }, 3e9)).not.toThrow();
});

test("a checkpoint in four bits, and products in eight, take less", () => {
  const quantised = { ...shape, configuration: { ...shape.configuration, quantization_config: {} } };
  expect(() => checkModelMemory(quantised, { storage: undefined, compute: "float32" }, 1e9)).not.toThrow();
  expect(() => checkModelMemory(shape, { storage: undefined, compute: "int8" }, 3e9)).not.toThrow();
});
