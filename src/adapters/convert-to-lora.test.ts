import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { fourierftDefaults } from "../methods/fourierft.ts";
import { ia3Defaults } from "../methods/ia3.ts";
import { lokrDefaults } from "../methods/lokr.ts";
import { loraDefaults } from "../methods/lora.ts";
import { prefixTuningDefaults } from "../methods/prefix-tuning.ts";
import { veraDefaults } from "../methods/vera.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { createAdapter, withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { convertToLora } from "./convert-to-lora.ts";
import { mergeAdapters } from "./merge.ts";
import type { MethodConfigurations, MethodType } from "./method-table.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path, { configuration: { initializer_range: 0.4, attention_bias: true } });
});
afterAll(() => scratch.dispose());

/** An adapter away from its start. */
function moved<Type extends MethodType>(
  type: Type,
  configuration: MethodConfigurations[Type],
  of = base,
): Adapter {
  const adapter = createAdapter<MethodType>({ base: of, type, configuration, seed: 1 });
  const noise = new TorchGenerator(2).normal(adapter.layout.size, 0, 0.2);
  return withValues<MethodType>(
    adapter,
    adapter.values.map((value, index) => value + noise[index]!),
  );
}

async function merged(adapter: Adapter): Promise<Map<string, Float32Array>> {
  const weights = mergeAdapters(base, [adapter]);
  try {
    const values = new Map<string, Float32Array>();
    for (const { name } of weights.tensors) values.set(name, await weights.compute(name));
    return values;
  } finally {
    await weights.dispose();
  }
}

const targets = ["q_proj", "down_proj"];

describe("convertToLora", () => {
  const cases: readonly (readonly [string, () => Adapter])[] = [
    ["VeRA", () => moved("VERA", { ...veraDefaults, rank: 4, targets, initialD: 0.5 })],
    ["LoKr", () => moved("LOKR", { ...lokrDefaults, rank: 2, targets })],
    ["FourierFT", () => moved("FOURIERFT", { ...fourierftDefaults, frequencies: 12, targets })],
    ["(IA)3, with its biases", () => moved("IA3", { ...ia3Defaults, targets, feedForward: ["down_proj"] })],
    ["DoRA", () => moved("LORA", { ...loraDefaults, rank: 2, targets, magnitude: true })],
    [
      "a LoRA with an embedding and a head",
      () =>
        moved("LORA", {
          ...loraDefaults,
          rank: 2,
          targets: [...targets, "embed_tokens"],
          modulesToSave: ["lm_head"],
        }),
    ],
  ];

  it.each(cases)("gives %s whole at full rank", async (_name, create) => {
    const adapter = create();
    const converted = await convertToLora({ base, adapter, rank: 8 });
    expect(converted.adapter.configuration).toMatchObject({ rank: 8, alpha: 8 });
    for (const { relative, largest } of converted.modules) {
      expect(relative).toBeLessThan(1e-6);
      expect(largest).toBeLessThan(1e-5);
    }
    const [expected, found] = [await merged(adapter), await merged(converted.adapter)];
    for (const [name, values] of expected)
      for (const [index, value] of values.entries()) expect(found.get(name)![index]).toBeCloseTo(value, 5);
  });

  it("says how far a low rank is off, and takes the rank that an energy needs", async () => {
    const adapter = moved("LOKR", { ...lokrDefaults, rank: 2, targets: ["q_proj"] });
    const at = async (rank: number | { energy: number }) =>
      (await convertToLora({ base, adapter, rank })).modules[0]!;
    const errors = [await at(1), await at(2), await at(8)].map(({ relative }) => relative);
    expect(errors[0]).toBeGreaterThan(errors[1]!);
    expect(errors[1]).toBeGreaterThan(errors[2]!);
    for (const energy of [0.3, 0.7, 0.999, 1]) {
      const { rank, relative } = await at({ energy });
      // The energy that is lost is the square of the relative error.
      expect(relative ** 2).toBeLessThanOrEqual(1 - energy + 1e-6);
      if (rank > 1) expect((await at(rank - 1)).relative ** 2).toBeGreaterThan(1 - energy - 1e-6);
    }
  });

  it("has the error that subtracting the changes shows", async () => {
    const adapter = moved("VERA", { ...veraDefaults, rank: 6, targets: ["q_proj"], initialD: 0.5 });
    const converted = await convertToLora({ base, adapter, rank: 2 });
    const name = "model.layers.0.self_attn.q_proj.weight";
    const [expected, found] = [await merged(adapter), await merged(converted.adapter)];
    const before = base.read(name);
    let [squared, whole, largest] = [0, 0, 0];
    for (const [index, value] of expected.get(name)!.entries()) {
      const difference = value - found.get(name)![index]!;
      squared += difference ** 2;
      whole += (value - before[index]!) ** 2;
      largest = Math.max(largest, Math.abs(difference));
    }
    expect(converted.modules[0]!.module).toBe("model.layers.0.self_attn.q_proj");
    expect(converted.modules[0]!.relative).toBeCloseTo(Math.sqrt(squared / whole), 5);
    expect(converted.modules[0]!.largest).toBeCloseTo(largest, 5);
  });

  it("refuses what no LoRA can be", async () => {
    const failure = (adapter: Adapter, rank: number | { energy: number } = 2, of = base) =>
      rejectionOf(() => convertToLora({ base: of, adapter, rank }));
    const loraAdapter = moved("LORA", { ...loraDefaults, rank: 2, targets });
    const tied = await tinyBase(scratch.path, { configuration: { tie_word_embeddings: true } });
    expect([
      await failure(moved("LN_TUNING", { targets: ["input_layernorm"] })),
      await failure(moved("PREFIX_TUNING", { ...prefixTuningDefaults, virtualTokens: 2 })),
      await failure(moved("LORA", { ...loraDefaults, rank: 2, targets: ["embed_tokens"] }, tied), 2, tied),
      await failure(loraAdapter, 9),
      await failure(loraAdapter, 0),
      await failure(loraAdapter, { energy: 1.5 }),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "method-unsupported",
          "hint": "Use it as it is, or merge it into the base.",
          "message": "The adapter "default" (LN_TUNING) cannot be converted to a LoRA: it changes no matrix, which is what a LoRA does.",
        },
        {
          "code": "method-unsupported",
          "hint": "Use the base with the adapter beside it.",
          "message": "The adapter "default" (PREFIX_TUNING) cannot be merged: keys and values in front of the sequence are no change of the base's matrices.",
        },
        {
          "code": "method-unsupported",
          "hint": "Use it as it is, or merge it into the base.",
          "message": "The adapter "default" (LORA) cannot be converted to a LoRA: it changes "model.embed_tokens.weight", which "model.embed_tokens.weight" and "lm_head.weight" share, and a LoRA adapts one of them.",
        },
        {
          "code": "usage-invalid",
          "hint": "Choose a lower rank, or the share of the energy that ranks have to hold.",
          "message": "Converting to LoRA: the rank is 9, but the matrix of "model.layers.0.self_attn.q_proj" is [8, 8]; expected at most 8.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Converting to LoRA: the rank is 0; expected a whole number above 0.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Converting to LoRA: the energy is 1.5; expected a share above 0 and at most 1.",
        },
      ]
    `);
  });
});
