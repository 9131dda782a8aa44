import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { veraDefaults } from "../methods/vera.ts";
import { loraDefaults } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { createAdapter, withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { combineAdapters } from "./combine.ts";
import type { CombineOptions } from "./combine.ts";
import { mergeAdapters } from "./merge.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

function lora(name: string, seed: number, settings: Partial<LoraConfiguration> = {}): Adapter<"LORA"> {
  const configuration = { ...loraDefaults, rank: 2, targets: ["q_proj"], initialWeights: false, ...settings };
  return createAdapter({ base, type: "LORA", configuration, seed, name });
}

/** What merging an adapter adds to every tensor it changes. */
async function changes(adapter: Adapter): Promise<Record<string, number[]>> {
  const merged = mergeAdapters(base, [adapter]);
  try {
    const entries: [string, number[]][] = [];
    for (const { name } of merged.tensors) {
      const before = base.read(name);
      entries.push([name, Array.from(await merged.compute(name), (value, at) => value - before[at]!)]);
    }
    return Object.fromEntries(entries);
  } finally {
    await merged.dispose();
  }
}

function expectClose(found: Record<string, number[]>, expected: Record<string, number[]>): void {
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, values] of Object.entries(expected))
    for (const [index, value] of values.entries()) expect(found[name]![index]).toBeCloseTo(value, 5);
}

async function weightedSum(
  parts: readonly (readonly [Adapter, number])[],
): Promise<Record<string, number[]>> {
  const sum: Record<string, number[]> = {};
  for (const [adapter, weight] of parts)
    for (const [name, values] of Object.entries(await changes(adapter)))
      sum[name] = values.map((value, index) => weight * value + (sum[name]?.[index] ?? 0));
  return sum;
}

describe("combineAdapters", () => {
  it("gives the exact sum of changes by cat and by svd of enough rank, whatever the ranks, scales and targets", async () => {
    const first = lora("first", 1, { alpha: 6, targets: ["q_proj", "o_proj"], rankPattern: { o_proj: 1 } });
    const second = lora("second", 2, {
      rank: 3,
      rankStabilised: true,
      targets: "model\\.layers\\.1\\..*_proj",
    });
    const third = lora("third", 3, { targets: ["embed_tokens", "q_proj"], layersToTransform: [0] });
    const parts = [
      [first, 0.7],
      [second, -0.4],
    ] as const;
    const expected = await weightedSum(parts);
    const adapters = parts.map(([adapter, weight]) => ({ adapter, weight }));
    const cat = combineAdapters({ base, adapters, combinationType: "cat" });
    const { rank, alpha, rankPattern, targets } = cat.configuration;
    expect({ rank, alpha, rankPattern }).toEqual({
      rank: 3,
      alpha: 3,
      rankPattern: {
        "model.layers.0.self_attn.q_proj": 2,
        "model.layers.0.self_attn.o_proj": 1,
        "model.layers.1.self_attn.q_proj": 5,
        "model.layers.1.self_attn.o_proj": 4,
      },
    });
    expect(targets).toHaveLength(9);
    expectClose(await changes(cat), expected);
    expectClose(
      await changes(combineAdapters({ base, adapters, combinationType: "svd", svdRank: 8 })),
      expected,
    );
    const withEmbedding = combineAdapters({
      base,
      adapters: [...adapters, { adapter: third, weight: 2 }],
      combinationType: "svd",
      svdRank: 8,
    });
    expectClose(await changes(withEmbedding), await weightedSum([...parts, [third, 2]]));
  });

  it("adds factors apart by linear, so that products of different adapters appear", async () => {
    const one = lora("one", 1);
    const same = renamed(one, "same");
    const combined = combineAdapters({
      base,
      adapters: [
        { adapter: one, weight: 0.5 },
        { adapter: same, weight: 0.5 },
      ],
      combinationType: "linear",
    });
    // (2 sqrt(1/8) B) (2 sqrt(1/8) A) of factor 1, where each adapter has the factor 4.
    expectClose(await changes(combined), await weightedSum([[one, 2]]));
    expect(combined.configuration).toMatchObject({ rank: 2, alpha: 2, targets: ["q_proj"] });
  });

  it("keeps a module that one adapter trains whole", () => {
    const saving = lora("saving", 1, { modulesToSave: ["lm_head"] });
    const adapters = [
      { adapter: lora("plain", 2), weight: 1 },
      {
        adapter: withValues<"LORA">(
          saving,
          saving.values.map((value) => value + 1),
        ),
        weight: 0.5,
      },
    ];
    const combined = combineAdapters({ base, adapters, combinationType: "ties", density: 0.5 });
    const head = combined.layout.entries.find(({ key }) => key === "lm_head.weight")!;
    expect(combined.values.subarray(head.offset, head.offset + head.size)).toEqual(
      base.read("lm_head.weight").map((value) => value + 1),
    );
    expect(combined.configuration.modulesToSave).toEqual(["lm_head"]);
  });

  it("draws the same for the same seed", () => {
    const adapters = [
      { adapter: lora("one", 1), weight: 1 },
      { adapter: lora("other", 2), weight: 1 },
    ];
    const drawn = (seed: number) =>
      combineAdapters({ base, adapters, combinationType: "dare_ties_svd", density: 0.5, seed }).values;
    expect(drawn(3)).toEqual(drawn(3));
    expect(drawn(3)).not.toEqual(drawn(4));
  });
});

/** The same adapter under another name. */
function renamed(adapter: Adapter<"LORA">, name: string): Adapter<"LORA"> {
  const entries = adapter.layout.entries.map((entry) => ({ ...entry, adapter: name }));
  return { ...adapter, name, layout: { ...adapter.layout, entries } };
}

describe("combineAdapters refuses", () => {
  const failure = (options: Partial<CombineOptions>) =>
    failureOf(() =>
      combineAdapters({
        base,
        adapters: [
          { adapter: lora("a", 1), weight: 1 },
          { adapter: lora("b", 2), weight: 1 },
        ],
        combinationType: "linear",
        ...options,
      }),
    );

  it("settings that the kind has no use for, or that it lacks", () => {
    expect([
      failure({ density: 0.5 }),
      failure({ combinationType: "cat", svdRank: 3 }),
      failure({ combinationType: "magnitude_prune", density: 0.5, majoritySignMethod: "total" }),
      failure({ combinationType: "ties" }),
      failure({ combinationType: "dare_linear", density: 0 }),
      failure({ combinationType: "svd", svdRank: 1.5 }),
      failure({ combinationType: "svd", svdClamp: 2 }),
      failure({ adapters: [] }),
      failure({ adapters: [{ adapter: lora("a", 1), weight: NaN }] }),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "usage-invalid",
          "hint": "Leave it out.",
          "message": "Combining adapters: linear has no use for a density.",
        },
        {
          "code": "usage-invalid",
          "hint": "Leave it out.",
          "message": "Combining adapters: cat has no use for svdRank.",
        },
        {
          "code": "usage-invalid",
          "hint": "Leave it out.",
          "message": "Combining adapters: magnitude_prune has no use for majoritySignMethod.",
        },
        {
          "code": "usage-invalid",
          "hint": "Common densities are 0.2 to 0.7.",
          "message": "Combining adapters: ties keeps a share of the entries: expected a density above 0 and at most 1, found none.",
        },
        {
          "code": "usage-invalid",
          "hint": "Common densities are 0.2 to 0.7.",
          "message": "Combining adapters: dare_linear keeps a share of the entries: expected a density above 0 and at most 1, found 0.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Combining adapters: svdRank is 1.5; expected a whole number above 0.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Combining adapters: svdClamp is 2; expected a quantile above 0 and at most 1.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Combining adapters: there is no adapter; expected at least one.",
        },
        {
          "code": "usage-invalid",
          "hint": undefined,
          "message": "Combining adapters: the weight of "a" is NaN; expected a number.",
        },
      ]
    `);
  });

  it("adapters that are no plain LoRA", () => {
    const plain = lora("biased", 1);
    const biased = { ...plain, configuration: { ...plain.configuration, loraBias: true } };
    const alone = (adapter: Adapter) => failure({ adapters: [{ adapter, weight: 1 }] });
    const vera = createAdapter({
      base,
      type: "VERA",
      configuration: { ...veraDefaults, rank: 2, targets: ["q_proj"] },
      seed: 0,
      name: "vera",
    });
    expect([
      alone(vera),
      alone(lora("dora", 1, { magnitude: true })),
      alone(biased),
      alone(lora("tokens", 1, { tokens: { ids: [1] } })),
      alone(lora("biases", 1, { bias: "all" })),
      alone(lora("frozen", 1, { frozenA: true, initialWeights: true })),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "method-unsupported",
          "hint": "Convert it to a LoRA first, or merge adapters into the base one after the other.",
          "message": "The adapter "vera" cannot be combined: its method is VERA; expected LORA.",
        },
        {
          "code": "method-unsupported",
          "hint": "Convert it to a plain LoRA first.",
          "message": "The adapter "dora" cannot be combined: it trains magnitudes (DoRA), which are no sum.",
        },
        {
          "code": "method-unsupported",
          "hint": "Convert it to a plain LoRA first.",
          "message": "The adapter "biased" cannot be combined: its B has a bias, which the product of A and B does not hold.",
        },
        {
          "code": "method-unsupported",
          "hint": "Convert it to a plain LoRA first.",
          "message": "The adapter "tokens" cannot be combined: it trains rows of the token embedding as well.",
        },
        {
          "code": "method-unsupported",
          "hint": "Merge it into the base instead.",
          "message": "The adapter "biases" cannot be combined: it trains biases of the base as well.",
        },
        {
          "code": "method-unsupported",
          "hint": "Save it, and combine what loading gives.",
          "message": "The adapter "frozen" cannot be combined: its values are not yet those of a plain LoRA.",
        },
      ]
    `);
  });

  it("ranks that linear cannot add, and modules that two train whole", () => {
    const saving = (name: string) => lora(name, 1, { modulesToSave: ["lm_head"] });
    expect([
      failure({
        adapters: [
          { adapter: lora("a", 1), weight: 1 },
          { adapter: lora("b", 2, { rank: 4 }), weight: 1 },
        ],
      }),
      failure({
        combinationType: "cat",
        adapters: [
          { adapter: saving("a"), weight: 1 },
          { adapter: saving("b"), weight: 1 },
        ],
      }),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "usage-invalid",
          "hint": "Combine by cat or svd, which take any ranks.",
          "message": "Combining by linear needs adapters of one rank, but at "model.layers.0.self_attn.q_proj" they have 2 and 4.",
        },
        {
          "code": "method-unsupported",
          "hint": "What replaces the base's weights cannot be added. Combine adapters of which one at most trains a module or a head.",
          "message": "Combining by cat: the adapters "a" and "b" both train "lm_head.weight" whole.",
        },
      ]
    `);
  });
});
