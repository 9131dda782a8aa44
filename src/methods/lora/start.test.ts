import { describe, expect, test } from "vitest";
import { failureOf } from "../../../test/support/failure.ts";
import { createModel } from "../../models/index.ts";
import { TorchGenerator } from "../../tensor/random.ts";
import { matrixProduct } from "../../tensor/vectors.ts";
import type { RandomSource } from "../contract.ts";
import { lora, loraDefaults } from "../lora.ts";
import type { LoraConfiguration } from "../lora.ts";
import { orthonormalPart, principalPart, quantisationRest } from "./decompositions.ts";
import type { DecomposedMatrix } from "./decompositions.ts";
import { loraStart } from "./start.ts";
import { surveyModel } from "../survey.ts";

const size = { out: 24, in: 16, rank: 4, factor: 2 };
const weight = new TorchGenerator(1).normal(size.out * size.in);
const matrix = { ...size, weight };
const generator = new TorchGenerator(2);
const random: RandomSource = {
  uniform: (count, from, to) => generator.uniform(count, from, to),
  normal: (count, mean, deviation) => generator.normal(count, mean, deviation),
};

/** W' + s B A */
function whole({ a, b, weight: rest }: DecomposedMatrix, factor: number): Float32Array {
  const product = matrixProduct(b, a, size.rank);
  return rest.map((value, place) => value + factor * (product[place] ?? NaN));
}

function distance(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return Math.sqrt(a.reduce((sum, value, place) => sum + (value - (b[place] ?? NaN)) ** 2, 0));
}

const zero = new Float32Array(weight.length);

describe("a frozen matrix and its start", () => {
  test.each([
    ["PiSSA", principalPart(matrix, random)],
    ["PiSSA by a sketch", principalPart(matrix, random, 4)],
    ["OLoRA", orthonormalPart(matrix)],
  ])("%s: their sum is the matrix", (_name, parts) => {
    expect(distance(whole(parts, size.factor), weight)).toBeLessThan(1e-5);
    expect(distance(parts.weight, zero)).toBeLessThan(distance(weight, zero));
  });

  test("PiSSA: no other part of the rank leaves less, and a sketch comes near it", () => {
    const [exact, rough, finer] = [undefined, 0, 32].map((iterations) =>
      distance(principalPart(matrix, random, iterations).weight, zero),
    );
    // What is left has the squares of all singular values but the largest four.
    expect(exact).toBeCloseTo(
      Math.sqrt(weight.reduce((sum, value) => sum + value ** 2, 0) - largestSquares()),
      4,
    );
    expect(rough).toBeGreaterThan(exact ?? NaN);
    expect((finer ?? NaN) / (exact ?? NaN)).toBeLessThan(1.001);
  });

  test("LoftQ: every turn brings what is quantised and its rest nearer to the matrix", () => {
    const plain = { ...matrix, factor: 1 };
    const [one, five] = [1, 5].map((turns) => distance(whole(quantisationRest(plain, turns), 1), weight));
    const alone = distance(quantisationRest(plain, 1).weight, weight);
    expect(one).toBeLessThan(alone);
    expect(five).toBeLessThan(one ?? NaN);
  });
});

/** s B A of PiSSA holds the largest singular values: their squares add up to its own. */
function largestSquares(): number {
  const { a, b } = principalPart(matrix, random);
  const product = matrixProduct(b, a, size.rank);
  return product.reduce((sum, value) => sum + (size.factor * value) ** 2, 0);
}

test("the names of starts", () => {
  const texts = [
    "gaussian",
    "orthogonal",
    "pissa",
    "pissa_niter_16",
    "olora",
    "loftq",
    "pissa_niter_",
    "eva",
    "default",
  ];
  expect(texts.map(loraStart)).toEqual([
    ...["gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora", "loftq"],
    ...[undefined, undefined, undefined],
  ]);
});

const modules = surveyModel(
  createModel({
    model_type: "llama",
    vocab_size: 12,
    hidden_size: 8,
    intermediate_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    max_position_embeddings: 16,
    tie_word_embeddings: true,
  }),
  { task: "causal-lm", labelCount: 0 },
);

function refusal(configuration: Partial<LoraConfiguration>) {
  return failureOf(() => lora.bind({ ...loraDefaults, targets: ["q_proj"], ...configuration }, modules));
}

describe("what cannot start", () => {
  test("orthogonally with an odd rank", () => {
    expect(refusal({ rank: 3, initialWeights: "orthogonal" })).toEqual({
      code: "method-unsupported",
      message:
        'LoRA: "model.layers.0.self_attn.q_proj" cannot start as "orthogonal": the rank is 3, expected an even one.',
      hint: "Choose another rank.",
    });
  });

  test("as a part of a matrix with fewer singular values", () => {
    expect(refusal({ rank: 9, initialWeights: "pissa" })).toEqual({
      code: "method-unsupported",
      message:
        'LoRA: "model.layers.0.self_attn.q_proj" cannot start as "pissa": the rank is 9, and its matrix [8, 8] has no more than 8.',
      hint: "Choose a rank of at most 8.",
    });
  });

  test("as a part of a tied matrix", () => {
    expect(refusal({ targets: ["lm_head"], initialWeights: "olora" })).toEqual({
      code: "method-unsupported",
      message:
        'LoRA: "lm_head" cannot start as "olora": its matrix is model.embed_tokens.weight, which other modules use as it is.',
      hint: "Leave it out of the targets, or start in another way.",
    });
  });

  test("with a quantised embedding, or no turns of quantising", () => {
    expect(refusal({ targets: ["embed_tokens"], initialWeights: "loftq" })).toEqual({
      code: "method-unsupported",
      message: 'LoRA: "model.embed_tokens" cannot start as "loftq": an embedding is not quantised.',
      hint: "Leave embeddings out of the targets.",
    });
    expect(refusal({ initialWeights: "loftq", loftqIterations: 0 })).toEqual({
      code: "config-invalid",
      message: "LoRA: loftqIterations is 0; expected a whole number above 0.",
      hint: "A common value is 1 to 5.",
    });
  });
});

describe("what cannot keep its A", () => {
  test.each<[string, Partial<LoraConfiguration>, string, string]>([
    [
      "another start",
      { initialWeights: "olora" },
      'it starts as "olora"',
      "Leave the start out, or take the gaussian one.",
    ],
    ["DoRA", { magnitude: true }, "magnitudes are trained (DoRA)", "Leave one of them out."],
    [
      "an embedding",
      { targets: ["embed_tokens"] },
      '"model.embed_tokens" is an embedding, whose A starts at zero',
      "Leave embeddings out of the targets.",
    ],
    [
      "half a seed",
      { projectionSeed: 0.5 },
      "projectionSeed is 0.5, expected a whole number",
      "Any whole number will do.",
    ],
  ])("%s", (_name, configuration, why, what) => {
    expect(refusal({ ...configuration, frozenA: true })).toEqual({
      code: "method-unsupported",
      message: `LoRA: A cannot stay as it starts (frozenA): ${why}.`,
      hint: what,
    });
  });
});
