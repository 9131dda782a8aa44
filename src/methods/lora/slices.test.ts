import { expect, test } from "vitest";
import { failureOf } from "../../../test/support/failure.ts";
import { createModel } from "../../models/index.ts";
import type { LoraConfiguration } from "../lora.ts";
import { lora, loraDefaults, loraSites } from "../lora.ts";
import { surveyModel } from "../survey.ts";
import { vera, veraDefaults } from "../vera.ts";

const modules = surveyModel(
  createModel({ model_type: "gpt2", vocab_size: 12, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 16 }),
  { task: "causal-lm", labelCount: 0 },
);
const slices = ["c_attn.query", "c_attn.value"];
const configured = (settings: Partial<LoraConfiguration>): LoraConfiguration => ({
  ...loraDefaults,
  targets: slices,
  ...settings,
});
const sitesOf = (settings: Partial<LoraConfiguration>) => loraSites(configured(settings), modules);
const condensed = (settings: Partial<LoraConfiguration>) => lora.condense?.(configured(settings), modules);

test("a slice has its own matrices, of its own outputs", () => {
  const bound = lora.bind(configured({ rank: 2 }), modules);
  expect(bound.parameters.slice(0, 4).map(({ key, shape }) => [key, shape])).toEqual([
    ["transformer.h.0.attn.c_attn.query.lora_A.weight", [2, 8]],
    ["transformer.h.0.attn.c_attn.query.lora_B.weight", [8, 2]],
    ["transformer.h.0.attn.c_attn.value.lora_A.weight", [2, 8]],
    ["transformer.h.0.attn.c_attn.value.lora_B.weight", [8, 2]],
  ]);
  expect(bound.parameters).toHaveLength(8);
});

test("names, whole paths and patterns mean slices", () => {
  const paths = (targets: LoraConfiguration["targets"]) => [...sitesOf({ targets }).keys()];
  const first = ["transformer.h.0.attn.c_attn.query"];
  expect(paths(["transformer.h.0.attn.c_attn.query"])).toEqual(first);
  expect(paths("transformer\\.h\\.0\\..*\\.query")).toEqual(first);
  expect(paths(["query"])).toEqual([...first, "transformer.h.1.attn.c_attn.query"]);
  expect(paths(".*attn.*")).toEqual(
    [0, 1].flatMap((layer) => [`transformer.h.${layer}.attn.c_attn`, `transformer.h.${layer}.attn.c_proj`]),
  );
  expect(paths("all-linear")).not.toContain(first[0]);
});

test("a slice takes rank and alpha from patterns of its own, then of its layer", () => {
  const scales = [
    ...sitesOf({ rankPattern: { "c_attn.value": 3, c_attn: 2 }, alphaPattern: { c_attn: 6 } }).values(),
  ];
  expect(scales.slice(0, 2).map(({ rank, factor }) => [rank, factor])).toEqual([
    [2, 3],
    [3, 2],
  ]);
});

test("files hold a LoRA on whole layers with the same factor", () => {
  expect(condensed({ rank: 4, alpha: 8, layersToTransform: [1] })).toEqual({
    ...configured({ rank: 8, alpha: 16, targets: ["c_attn"], layersToTransform: [1] }),
    exclude: undefined,
    layersPattern: undefined,
    rankPattern: undefined,
    alphaPattern: undefined,
    frozenA: false,
  });
  const stabilised = condensed({ rank: 2, alpha: 8, rankStabilised: true });
  expect(stabilised?.rank).toBe(4);
  expect(stabilised?.alpha).toBeCloseTo(8 * Math.SQRT2, 12);
  expect(
    condensed({
      rank: 1,
      alpha: 1,
      targets: ["h.0.attn.c_attn.key", "h.1.attn.c_proj"],
      exclude: ["lm_head"],
    }),
  ).toMatchObject({
    targets: ["transformer.h.1.attn.c_proj", "transformer.h.0.attn.c_attn"],
    exclude: undefined,
    rank: 1,
  });
});

test.each<[string, () => unknown, { code: string; message: string; hint: string }]>([
  [
    "a slice that is not there",
    () => sitesOf({ targets: ["c_attn.querry"] }),
    {
      code: "target-unmatched",
      message: 'The target "c_attn.querry" matches no module of the model.',
      hint: 'The slices of "c_attn" are query, key, value.',
    },
  ],
  [
    "a slice and its layer",
    () => sitesOf({ targets: ["c_attn", "c_attn.key"] }),
    {
      code: "target-unmatched",
      message:
        'The targets name the layer "transformer.h.0.attn.c_attn" as a whole and its slice "transformer.h.0.attn.c_attn.key".',
      hint: "Name the whole layer or slices of it.",
    },
  ],
  [
    "a slice for a method of whole layers",
    () => vera.bind({ ...veraDefaults, targets: slices }, modules),
    {
      code: "target-unmatched",
      message: 'The target "c_attn.query" is a slice of a layer, and the method adapts layers as a whole.',
      hint: 'Name "c_attn".',
    },
  ],
  [
    "DoRA",
    () => lora.bind(configured({ magnitude: true }), modules),
    {
      code: "method-unsupported",
      message:
        'LoRA: "transformer.h.0.attn.c_attn.query" is a slice of a layer: magnitudes (DoRA) are of the whole layer\'s matrix.',
      hint: 'Adapt "transformer.h.0.attn.c_attn" as a whole, or leave it out.',
    },
  ],
  [
    "a bias of B",
    () => lora.bind(configured({ loraBias: true }), modules),
    {
      code: "method-unsupported",
      message:
        'LoRA: "transformer.h.0.attn.c_attn.query" is a slice of a layer: a bias of B is of the whole layer\'s outputs.',
      hint: 'Adapt "transformer.h.0.attn.c_attn" as a whole, or leave it out.',
    },
  ],
  [
    "PiSSA",
    () => lora.bind(configured({ initialWeights: "pissa" }), modules),
    {
      code: "method-unsupported",
      message:
        'LoRA: "transformer.h.0.attn.c_attn.query" is a slice of a layer: "pissa" starts from the whole layer\'s matrix.',
      hint: 'Adapt "transformer.h.0.attn.c_attn" as a whole, or start in the default or the gaussian way.',
    },
  ],
])("refuses %s", (_name, act, expected) => {
  expect(failureOf(act)).toEqual(expected);
});
