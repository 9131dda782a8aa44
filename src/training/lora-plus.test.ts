import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { loraPlusGroups } from "./lora-plus.ts";

const norms = new Map([["ln", { path: "ln", size: 4, epsilon: 1e-5, kind: "layer", offset: 0 }]] as const);
const entry = (key: string, shape: readonly number[]) => ({
  adapter: "default",
  key,
  shape,
  offset: 0,
  size: 1,
});

test.each([
  ["q.lora_A.weight", [2, 4], 1, 1],
  ["q.lora_B.weight", [4, 2], 16, 1],
  ["q.lora_B.bias", [4], 16, 0],
  ["q.lora_magnitude_vector", [4], 16, 1],
  ["wte.lora_embedding_A", [2, 9], 0.5, 1],
  ["wte.lora_embedding_B", [4, 2], 0.5, 1],
  ["q.bias", [4], 16, 0],
  ["ln.weight", [4], 16, 0],
  ["classifier.weight", [3, 4], 1, 1],
])("%s", (key, shape, rate, decay) => {
  const groups = loraPlusGroups({ ratio: 16, embeddingRatio: 0.5 }, { norms });
  expect([groups.rate(entry(key, shape)), groups.decay(entry(key, shape))]).toEqual([rate, decay]);
});

test("a ratio that is none", () => {
  expect(failureOf(() => loraPlusGroups({ ratio: 0, embeddingRatio: 1 }, { norms }))).toEqual({
    code: "config-invalid",
    message: "LoRA+: ratio is 0; expected a number above 0.",
    hint: "Common ratios are 4 to 16.",
  });
});
