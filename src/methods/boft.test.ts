import { expect, test } from "vitest";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import { interpret } from "../graph/interpret.ts";
import { boft, boftDefaults } from "./boft.ts";
import type { ModuleTable } from "./contract.ts";

/** One linear layer without a bias. */
const modules: ModuleTable = {
  linears: new Map([
    ["q", { path: "q", in: 8, out: 8, bias: false, layout: "out-in" as const, isOutput: false }],
  ]),
  embeddings: new Map(),
  tokenEmbedding: undefined,
  norms: new Map(),
  attentions: [],
  sublayers: [],
  parameters: new Map([["q.weight", { name: "q.weight", stored: "q.weight", shape: [8, 8] }]]),
  headModules: [],
};

// PEFT 0.21.2, BOFTConfig(boft_block_size=2, boft_n_butterfly_factor=3), torch.block_diag in place of its CUDA code,
// boft_R = sin(0, 1, 2, ..): the first of get_delta_weight.
const expected = [
  [0.873374, 0.059306, 0.147702, 0.113462, -0.186666, 0.231355, -0.28258, -0.17547],
  [-0.030125, 0.443644, 0.278876, -0.363033, 0.56845, 0.458646, 0.12837, -0.20673],
  [-0.155485, -0.010558, 0.580862, 0.446208, 0.310292, -0.384578, -0.375174, -0.232966],
  [-0.048534, 0.714735, -0.423906, 0.55183, 0.012509, 0.010093, -0.02545, 0.040986],
  [0.435336, 0.029561, 0.073623, 0.056556, 0.374491, -0.464146, 0.566913, 0.352028],
  [0.036341, -0.535182, -0.336417, 0.437939, 0.471221, 0.380199, 0.106413, -0.171371],
  [-0.137602, -0.009344, 0.514055, 0.394888, -0.350618, 0.434559, 0.423933, 0.263243],
  [0.002471, -0.036393, 0.021584, -0.028098, 0.245678, 0.198222, -0.499833, 0.804942],
];

test("rotates by three factors as PEFT does", () => {
  const { merge } = boft.bind(
    { ...boftDefaults, targets: ["q"], blockSize: 2, butterflyFactors: 3 },
    modules,
  );
  if ("impossible" in merge) throw new Error(merge.impossible);
  const builder = new GraphBuilder();
  const sines = Array.from({ length: 3 * 4 * 2 * 2 }, (_, at) => Math.sin(at));
  const parameter = (key: string) =>
    key === "q.boft_R"
      ? builder.constant("float32", [3, 4, 2, 2], sines)
      : builder.constant("float32", [8, 1], new Array<number>(8).fill(1));
  const identity = Array.from({ length: 64 }, (_, at) => Number(at % 9 === 0));
  // Merging multiplies by the transpose.
  const value = builder.transposeLast(
    merge[0]!.merged({ builder, parameter }, builder.constant("float32", [8, 8], identity)),
  );
  const rotation = interpret(graphOf([{ name: "rotation", value }]), {})["rotation"]!.data;
  for (const [at, element] of expected.flat().entries()) expect(rotation[at]).toBeCloseTo(element, 5);
});
