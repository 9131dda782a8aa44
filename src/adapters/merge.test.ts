import { afterAll, beforeAll, expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { loraDefaults } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { createAdapter } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { mergeAdapters } from "./merge.ts";
import { withMergedWeights } from "./merged-base.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

const path = "model.layers.1.self_attn.q_proj";

function loraAdapter(
  of: Base,
  settings: Partial<LoraConfiguration>,
  seed: number,
  name = "default",
): Adapter {
  const configuration = {
    ...loraDefaults,
    rank: 2,
    alpha: 4,
    targets: ["q_proj"],
    initialWeights: false,
    ...settings,
  };
  return createAdapter({ base: of, type: "LORA", configuration, seed, name });
}

/** W + (alpha / rank) B A by hand, for one matrix [8, 8] and rank 2. */
function added(weights: Float32Array, { layout, values, name }: Adapter, factor: number): Float32Array {
  const [a, b] = ["lora_A", "lora_B"].map((part) =>
    entryValues(values, findEntry(layout, name, `${path}.${part}.weight`)),
  );
  return weights.map((value, index) => {
    const [row, column] = [Math.floor(index / 8), index % 8];
    return value + factor * (b![2 * row]! * a![column]! + b![2 * row + 1]! * a![8 + column]!);
  });
}

function expectClose(values: Float32Array, wanted: Float32Array): void {
  expect(values.length).toBe(wanted.length);
  for (const [index, value] of values.entries()) expect(value).toBeCloseTo(wanted[index]!, 5);
}

it("adds the changes of several adapters, one tensor at a time", async () => {
  const first = loraAdapter(base, {}, 1, "first");
  const second = loraAdapter(base, { alpha: 6, targets: [path] }, 2, "second");
  const merged = mergeAdapters(base, [first, second]);
  expect(merged.modules).toEqual(["model.layers.0.self_attn.q_proj", path]);
  expect(merged.untied).toEqual([]);
  const wanted = added(added(base.read(`${path}.weight`), first, 2), second, 3);
  expectClose(await merged.compute(`${path}.weight`), wanted);
  await merged.dispose();
});

it("computes all layers of one shape with one graph", () => {
  const merged = mergeAdapters(base, [loraAdapter(base, { targets: ["q_proj", "v_proj"] }, 1)]);
  expect(merged.tensors).toHaveLength(4);
  expect(new Set(merged.tensors.map(({ graphHash }) => graphHash)).size).toBe(2);
});

it("unties the output embedding where only one of both is trained", async () => {
  const tied = await tinyBase(scratch.path, { configuration: { tie_word_embeddings: true } });
  const adapter = loraAdapter(tied, { modulesToSave: ["lm_head"] }, 1);
  entryValues(adapter.values, findEntry(adapter.layout, "default", "lm_head.weight")).fill(7);
  const merged = mergeAdapters(tied, [adapter]);
  expect(merged.untied).toEqual(["model.embed_tokens.weight"]);
  expect(await merged.compute("lm_head.weight")).toEqual(new Float32Array(96).fill(7));
  expect(await merged.compute("model.embed_tokens.weight")).toEqual(tied.read("model.embed_tokens.weight"));

  const mergedBase = await withMergedWeights(tied, [adapter]);
  expect(mergedBase.configuration["tie_word_embeddings"]).toBe(false);
  expect(mergedBase.modules.parameters.get("lm_head.weight")?.stored).toBe("lm_head.weight");
  expect(mergedBase.read("lm_head.weight")).toEqual(new Float32Array(96).fill(7));
  expect(mergedBase.read("model.embed_tokens.weight")).toEqual(tied.read("model.embed_tokens.weight"));
});

it("changes a shared embedding for all that use it, as PEFT does, and says so", async () => {
  const tied = await tinyBase(scratch.path, { configuration: { tie_word_embeddings: true } });
  const merged = mergeAdapters(tied, [loraAdapter(tied, { targets: ["embed_tokens"] }, 1)]);
  expect(merged.untied).toEqual([]);
  expect(merged.changedWith).toEqual(["lm_head.weight"]);
  expect(merged.tensors.map(({ name }) => name)).toEqual(["model.embed_tokens.weight"]);
});

it("makes a base of its own in memory and leaves the old one alone", async () => {
  const adapter = loraAdapter(base, {}, 1);
  const before = base.read(`${path}.weight`);
  const merged = await withMergedWeights(base, [adapter]);
  expectClose(merged.read(`${path}.weight`), added(before, adapter, 2));
  expect(merged.locate(`${path}.weight`).byteLength).toBe(256);
  expect(merged.locate("model.norm.weight")).toEqual(base.locate("model.norm.weight"));
  expect(base.read(`${path}.weight`)).toEqual(before);
  // The same adapter is found in the cache; another one has weights of its own.
  expect((await withMergedWeights(base, [adapter])).locate(`${path}.weight`)).toEqual(
    merged.locate(`${path}.weight`),
  );
  expect((await withMergedWeights(base, [loraAdapter(base, {}, 2)])).locate(`${path}.weight`)).not.toEqual(
    merged.locate(`${path}.weight`),
  );
});

it("refuses a method that cannot merge", () => {
  const adapter = loraAdapter(base, {}, 1, "mine");
  const impossible: Adapter = {
    ...adapter,
    method: { ...adapter.method, merge: { impossible: "it adds positions to the sequence." } },
  };
  expect(failureOf(() => mergeAdapters(base, [impossible]))).toEqual({
    code: "method-unsupported",
    message: 'The adapter "mine" (LORA) cannot be merged: it adds positions to the sequence.',
    hint: "Use the base with the adapter beside it.",
  });
});

it("finds numbers that are not finite", async () => {
  const adapter = loraAdapter(base, {}, 1);
  adapter.values.fill(3e38);
  const merged = mergeAdapters(base, [adapter]);
  await expect(merged.compute(`${path}.weight`)).rejects.toThrow(
    `Merging gives numbers in "${path}.weight" that are not finite (NaN or infinity).`,
  );
  await merged.dispose();
});
