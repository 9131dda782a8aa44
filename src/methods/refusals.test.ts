import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { createModel } from "../models/index.ts";
import { adalora, adaloraDefaults } from "./adalora.ts";
import { boft, boftDefaults } from "./boft.ts";
import type { BoundMethod, ModuleTable } from "./contract.ts";
import { fourierft, fourierftDefaults } from "./fourierft.ts";
import { ia3, ia3Defaults } from "./ia3.ts";
import { loha, lohaDefaults } from "./loha.ts";
import { factorise, lokr, lokrDefaults } from "./lokr.ts";
import { lora, loraDefaults } from "./lora.ts";
import { nearestDivisor, oft, oftDefaults } from "./oft.ts";
import { surveyModel } from "./survey.ts";
import { trainableTokens } from "./trainable-tokens.ts";
import { vblora, vbloraDefaults } from "./vblora.ts";
import { vera, veraDefaults } from "./vera.ts";

const modules: ModuleTable = surveyModel(
  createModel({
    model_type: "llama",
    vocab_size: 12,
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 16,
  }),
  { task: "causal-lm", labelCount: 0 },
);
const targets = ["q_proj"];

/** What is asked for, and the whole text of the answer. */
const cases: readonly (readonly [
  string,
  () => BoundMethod,
  { code: string; message: string; hint: string | undefined },
])[] = [
  [
    "VB-LoRA with vectors that do not fill a matrix",
    () => vblora.bind({ ...vbloraDefaults, targets, vectorLength: 3 }, modules),
    {
      code: "config-invalid",
      message:
        'VB-LoRA: vectors of length 3 do not fill the matrix of "model.layers.0.self_attn.q_proj", [8, 8].',
      hint: "Choose a length that divides the sizes of all adapted layers.",
    },
  ],
  [
    "VB-LoRA of more vectors than there are",
    () => vblora.bind({ ...vbloraDefaults, targets, vectorCount: 2, topVectors: 3 }, modules),
    {
      code: "config-invalid",
      message: "VB-LoRA: topVectors is 3, and the bank has 2 vectors.",
      hint: "Mix each piece of fewer vectors.",
    },
  ],
  [
    "VB-LoRA without a rank",
    () => vblora.bind({ ...vbloraDefaults, targets, rank: 0 }, modules),
    {
      code: "config-invalid",
      message: "VB-LoRA: rank is 0; expected a whole number above 0.",
      hint: "Common values are 4, 256, 256 and 2.",
    },
  ],
  [
    "VeRA without a rank",
    () => vera.bind({ ...veraDefaults, targets, rank: 0 }, modules),
    {
      code: "config-invalid",
      message: "VeRA: the rank is 0; expected a whole number above 0.",
      hint: "Common ranks are 64 to 1024.",
    },
  ],
  [
    "VeRA with excluded modules",
    () => vera.bind({ ...veraDefaults, targets: "all-linear", exclude: ["q_proj"] }, modules),
    {
      code: "config-invalid",
      message: "VeRA: modules cannot be excluded: its files have no field for it.",
      hint: "Name the targets without them.",
    },
  ],
  [
    "VeRA on an embedding",
    () => vera.bind({ ...veraDefaults, targets: ["embed_tokens"] }, modules),
    {
      code: "target-unmatched",
      message: 'The target "embed_tokens" matches no module of the model.',
      hint: "The modules are down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj.",
    },
  ],
  [
    "VeRA with a seed that is no whole number",
    () => vera.bind({ ...veraDefaults, targets, projectionSeed: 0.5 }, modules),
    {
      code: "config-invalid",
      message: "VeRA: projectionSeed is 0.5; expected a whole number.",
      hint: "Any whole number will do.",
    },
  ],
  [
    "DoRA with a bias of B",
    () => lora.bind({ ...loraDefaults, targets, magnitude: true, loraBias: true }, modules),
    {
      code: "config-invalid",
      message: "LoRA: a bias of B cannot be had with a trained magnitude (DoRA).",
      hint: "Leave one of them out.",
    },
  ],
  [
    "LoRA on the embedding whose rows are trained",
    () => lora.bind({ ...loraDefaults, targets: ["embed_tokens"], tokens: { ids: [1] } }, modules),
    {
      code: "config-invalid",
      message: 'LoRA: "model.embed_tokens" cannot be adapted and have trained tokens at once.',
      hint: "Leave it out of the targets, or train no tokens.",
    },
  ],
  [
    "(IA)3 with a feed-forward module that is no target",
    () => ia3.bind({ ...ia3Defaults, targets, feedForward: ["down_proj"] }, modules),
    {
      code: "config-invalid",
      message: '(IA)3: the feed-forward module "down_proj" is none of the targets.',
      hint: "The targets are q_proj.",
    },
  ],
  [
    "LoHa with a dropout of everything",
    () => loha.bind({ ...lohaDefaults, targets, rankDropout: 1 }, modules),
    {
      code: "config-invalid",
      message: "LoHa: dropout is 1; expected a share from 0 to below 1.",
      hint: undefined,
    },
  ],
  [
    "LoKr with a fraction of a rank",
    () => lokr.bind({ ...lokrDefaults, targets, rank: 2.5 }, modules),
    {
      code: "config-invalid",
      message: "LoKr: the rank is 2.5; expected a whole number above 0.",
      hint: undefined,
    },
  ],
  [
    "AdaLoRA without an update to choose ranks in",
    () =>
      adalora.bind({ ...adaloraDefaults, targets, totalSteps: 10, initialSteps: 7, finalSteps: 3 }, modules),
    {
      code: "config-invalid",
      message: "AdaLoRA: of 10 updates 7 at the start and 3 at the end leave none to choose ranks in.",
      hint: "Lower initialSteps or finalSteps, or train longer.",
    },
  ],
  [
    "AdaLoRA with chosen ranks of another initial rank",
    () =>
      adalora.bind(
        {
          ...adaloraDefaults,
          targets,
          totalSteps: 10,
          ranks: { "model.layers.0.self_attn.q_proj": [true, false] },
        },
        modules,
      ),
    {
      code: "config-invalid",
      message:
        'AdaLoRA: the chosen ranks of "model.layers.0.self_attn.q_proj" are 2 entries; expected 12, the initial rank.',
      hint: "Check that the configuration is complete.",
    },
  ],
  [
    "AdaLoRA with chosen ranks of a module that is no target",
    () => adalora.bind({ ...adaloraDefaults, targets, totalSteps: 10, ranks: { "model.norm": [] } }, modules),
    {
      code: "config-invalid",
      message: 'AdaLoRA: there are chosen ranks of "model.norm", which is no target.',
      hint: "Check that the configuration is that of the model's adapter.",
    },
  ],
  [
    "AdaLoRA with a decay of one",
    () => adalora.bind({ ...adaloraDefaults, targets, totalSteps: 10, sensitivityDecay: 1 }, modules),
    {
      code: "config-invalid",
      message: "AdaLoRA: sensitivityDecay is 1; expected a number between 0 and 1.",
      hint: "A common value is 0.85.",
    },
  ],
  [
    "OFT with both settings of its blocks",
    () => oft.bind({ ...oftDefaults, targets, blockSize: 4, blockCount: 2 }, modules),
    {
      code: "config-invalid",
      message: "OFT: blockSize and blockCount exclude each other.",
      hint: "Give one: the other follows from it.",
    },
  ],
  [
    "OFT in blocks of one element",
    () => oft.bind({ ...oftDefaults, targets, blockCount: 8 }, modules),
    {
      code: "config-invalid",
      message:
        'OFT: the blocks of "model.layers.0.self_attn.q_proj" would have the extent 1, in which nothing can be rotated.',
      hint: "Choose blocks that fit the width 8.",
    },
  ],
  [
    "OFT with a series of one term",
    () => oft.bind({ ...oftDefaults, targets, neumannTerms: 1 }, modules),
    {
      code: "config-invalid",
      message: "OFT: neumannTerms is 1; expected a whole number from 2 to 64.",
      hint: "A common number of terms is 5.",
    },
  ],
  [
    "BOFT in blocks that do not divide the width",
    () => boft.bind({ ...boftDefaults, targets, blockSize: 3 }, modules),
    {
      code: "config-invalid",
      message: 'BOFT: the width 8 of "model.layers.0.self_attn.q_proj" is not made of blocks of 3.',
      hint: "Choose blocks that divide the widths of all targets.",
    },
  ],
  [
    "BOFT with more factors than its blocks allow",
    () => boft.bind({ ...boftDefaults, targets, blockSize: 4, butterflyFactors: 3 }, modules),
    {
      code: "config-invalid",
      message:
        'BOFT: 3 factors need blocks of even extent whose number is a multiple of 4; "model.layers.0.self_attn.q_proj" has 2 of the extent 4.',
      hint: "Choose fewer factors, or other blocks.",
    },
  ],
  [
    "FourierFT with more frequencies than there are",
    () => fourierft.bind({ ...fourierftDefaults, targets, frequencies: 65 }, modules),
    {
      code: "config-invalid",
      message:
        'FourierFT: "model.layers.0.self_attn.q_proj" shall have 65 frequencies; expected a whole number from 1 to 64.',
      hint: "Lower the number of frequencies, or give this module its own by a pattern.",
    },
  ],
  [
    "no tokens",
    () => trainableTokens.bind({ tokens: [] }, modules),
    {
      code: "config-invalid",
      message: "Trained tokens: there are none.",
      hint: "Give each token's id once.",
    },
  ],
  [
    "a token twice",
    () => trainableTokens.bind({ tokens: [3, 4, 3] }, modules),
    {
      code: "config-invalid",
      message: "Trained tokens: the id 3 occurs twice.",
      hint: "Give each token's id once.",
    },
  ],
  [
    "a token outside of the vocabulary",
    () => trainableTokens.bind({ tokens: [12] }, modules),
    {
      code: "config-invalid",
      message: 'Trained tokens: the id 12 is outside of "model.embed_tokens", which has 12 rows.',
      hint: "Give each token's id once.",
    },
  ],
  [
    "tokens of another module",
    () => trainableTokens.bind({ tokens: [1], targets: ["lm_head"] }, modules),
    {
      code: "target-unmatched",
      message: 'Trained tokens: ["lm_head"] does not name the token embedding.',
      hint: 'The token embedding is "model.embed_tokens".',
    },
  ],
];

test.each(cases)("%s", (_name, bind, expected) => {
  expect(failureOf(bind)).toEqual(expected);
});

test.each([
  [128, -1, [8, 16]],
  [127, -1, [1, 127]],
  [128, 4, [4, 32]],
  [16, 8, [8, 2]],
  [12, -1, [3, 4]],
  [128, 5, [4, 32]],
])("splits %i by %i", (extent, factor, expected) => {
  expect(factorise(extent, factor)).toEqual(expected);
});

test.each([
  [40, 8, 8],
  [40, 9, 8],
  [40, 32, 40],
  [40, 64, 40],
  [40, 15, 10],
  [36, 15, 12],
  [7, 4, 1],
])("divides the width %i near %i", (width, number, expected) => {
  expect(nearestDivisor(width, number)).toBe(expected);
});

test("VeRA draws its matrices once, and for the widest layers", () => {
  const bound = vera.bind({ ...veraDefaults, targets: "all-linear", rank: 4 }, modules);
  const [a, b] = bound.constants ?? [];
  expect([a?.shape, b?.shape]).toEqual([
    [4, 16],
    [16, 4],
  ]);
  expect(a?.values()).toBe(a?.values());
});
