/** @file The rows of LoRA and of what starts, trains or scales it in other ways. */
import type { Base } from "../../src/base/base.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { slicesOf } from "../../src/methods/slices.ts";
import type { LayerSlice } from "../../src/methods/slices.ts";
import { adapted, lowRank, row, sum } from "./method-row.ts";

const targets = "all-linear";
const rank = 2;

/** The first and the last slice of every fused layer. */
function adaptedSlices({ modules }: Base): ReadonlyMap<string, LayerSlice> {
  const isMiddle = ({ layer: { out: whole }, start, out }: LayerSlice) => start > 0 && start + out < whole;
  return new Map([...slicesOf(modules)].filter(([, slice]) => !isMiddle(slice)));
}

export const loraRows = [
  row({
    name: "LoRA",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets }),
    parameterCount: (base) => lowRank(base, rank),
  }),
  row({
    name: "LoRA on slices of fused layers",
    type: "LORA",
    configuration: (base) => ({
      ...loraDefaults,
      rank,
      alpha: 3,
      targets: [...adaptedSlices(base).keys()],
      bias: "adapted",
    }),
    parameterCount(base) {
      const slices = [...adaptedSlices(base).values()];
      const biases = new Map(slices.map(({ layer }) => [layer.path, layer.bias ? layer.out : 0]));
      return sum(slices.map(({ layer, out }) => rank * (layer.in + out))) + sum([...biases.values()]);
    },
    fits: ({ model_type: type }) => type === "gpt2" || type === "phi3" || type === "modernbert",
  }),
  row({
    name: "rsLoRA with biases",
    type: "LORA",
    configuration: () => ({
      ...loraDefaults,
      rank,
      alpha: 3,
      targets,
      rankStabilised: true,
      bias: "adapted",
    }),
    parameterCount: (base) =>
      lowRank(base, rank) + sum(adapted(base).map(({ bias, out }) => (bias ? out : 0))),
  }),
  row({
    name: "DoRA",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, magnitude: true }),
    parameterCount: (base) => lowRank(base, rank) + sum(adapted(base).map(({ out }) => out)),
  }),
  row({
    name: "LoRA-FA",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, frozenA: true }),
    parameterCount: (base) => sum(adapted(base).map(({ out }) => rank * out)),
  }),
  row({
    name: "LoRA from an orthogonal start",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, initialWeights: "orthogonal" }),
    parameterCount: (base) => lowRank(base, rank),
  }),
  row({
    name: "PiSSA",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, initialWeights: "pissa" }),
    parameterCount: (base) => lowRank(base, rank),
  }),
  row({
    name: "PiSSA by a sketch, with DoRA",
    type: "LORA",
    configuration: () => ({
      ...loraDefaults,
      rank,
      alpha: 3,
      targets,
      initialWeights: "pissa_niter_2",
      magnitude: true,
    }),
    parameterCount: (base) => lowRank(base, rank) + sum(adapted(base).map(({ out }) => out)),
  }),
  row({
    name: "OLoRA",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, initialWeights: "olora" }),
    parameterCount: (base) => lowRank(base, rank),
  }),
  row({
    name: "LoftQ",
    type: "LORA",
    configuration: () => ({
      ...loraDefaults,
      rank,
      alpha: 2,
      targets,
      initialWeights: "loftq",
      loftqIterations: 3,
    }),
    parameterCount: (base) => lowRank(base, rank),
    startsElsewhere: true,
  }),
  row({
    name: "LoRA with trained tokens",
    type: "LORA",
    configuration: () => ({ ...loraDefaults, rank, alpha: 3, targets, tokens: { ids: [3, 5] } }),
    parameterCount: (base) => lowRank(base, rank) + 2 * base.model.hiddenSize,
  }),
];
