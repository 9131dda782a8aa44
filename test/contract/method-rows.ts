/** @file The table of methods that the contract is held against: a configuration each, and what is known of it. */
import { defaultTargets } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import { adaloraDefaults } from "../../src/methods/adalora.ts";
import { boftDefaults } from "../../src/methods/boft.ts";
import { bottleneckDefaults } from "../../src/methods/bottleneck.ts";
import { fourierftDefaults } from "../../src/methods/fourierft.ts";
import { ia3Defaults } from "../../src/methods/ia3.ts";
import { lohaDefaults } from "../../src/methods/loha.ts";
import { lokrDefaults } from "../../src/methods/lokr.ts";
import { oftDefaults } from "../../src/methods/oft.ts";
import { prefixTuningDefaults } from "../../src/methods/prefix-tuning.ts";
import { pTuningDefaults } from "../../src/methods/p-tuning.ts";
import { vbloraDefaults } from "../../src/methods/vblora.ts";
import { veraDefaults } from "../../src/methods/vera.ts";
import { loraRows } from "./lora-rows.ts";
import { adapted, lowRank, row, sum } from "./method-row.ts";

/** Two matrices with their biases. */
const bottleneckSize = (size: number, width: number) => 2 * size * width + width + size;

/** An encoder-decoder has as many rows again, which nothing reads. */
const rowsOf = (base: Base, virtualTokens: number) => (base.model.encoderDecoder ? 2 : 1) * virtualTokens;
/** An encoder-decoder has its layers on both sides. */
const layersOf = ({ model }: Base) => (model.encoderDecoder ? 2 : 1) * model.layerCount;

const targets = "all-linear";
const rank = 2;
/** The extents of a Kronecker product's two factors for the widths of the tiny models. */
const splits: Readonly<Record<number, readonly [number, number]>> = {
  4: [2, 2],
  8: [2, 4],
  12: [3, 4],
  16: [4, 4],
  24: [4, 6],
};

export const methodRows = [
  ...loraRows,
  row({
    name: "VeRA",
    type: "VERA",
    configuration: () => ({ ...veraDefaults, rank: 3, targets }),
    parameterCount: (base) => sum(adapted(base).map(({ out }) => out + 3)),
  }),
  row({
    name: "VB-LoRA",
    type: "VBLORA",
    configuration: () => ({
      ...vbloraDefaults,
      rank,
      vectorCount: 5,
      vectorLength: 4,
      initialVectorBound: 0.5,
      targets,
    }),
    parameterCount: (base) => 5 * 4 + lowRank(base, rank) * (5 / 4),
    startsElsewhere: true,
  }),
  row({
    name: "(IA)3",
    type: "IA3",
    configuration(base) {
      const { model } = base;
      const own = [...base.modules.linears.keys()].filter((path) =>
        /down_proj|\.w2$|mlp\.c_proj|[0-9]\.output\.dense|\.wo$/.test(path),
      );
      return { ...ia3Defaults, targets: defaultTargets("IA3", model.modelType), feedForward: own };
    },
    parameterCount(base) {
      const { hiddenSize } = base.model;
      const widths: Readonly<Record<string, number>> = {
        // Per layer: keys and values, and the input of the feed-forward block's second layer.
        llama: 2 * 4 + 12,
        mixtral: 2 * 4 + 4 * 12,
        gpt2: 3 * hiddenSize + 4 * hiddenSize,
        // The attention's output layer matches "output.dense" as well.
        bert: 3 * hiddenSize + 12,
        roberta: 3 * hiddenSize + 12,
        // Once for the encoder; the decoder attends twice.
        t5: 2 * hiddenSize + 12 + 4 * hiddenSize + 12,
      };
      return base.model.layerCount * (widths[base.model.modelType] ?? NaN);
    },
  }),
  row({
    name: "LoHa",
    type: "LOHA",
    configuration: () => ({ ...lohaDefaults, rank, alpha: 3, targets }),
    parameterCount: (base) => 2 * lowRank(base, rank),
  }),
  row({
    name: "LoKr",
    type: "LOKR",
    configuration: () => ({ ...lokrDefaults, rank: 8, alpha: 3, targets }),
    parameterCount: (base) =>
      sum(
        adapted(base).map((site) => {
          const [out, from] = [splits[site.out] ?? [NaN, NaN], splits[site.in] ?? [NaN, NaN]];
          return out[0] * from[0] + out[1] * from[1];
        }),
      ),
  }),
  row({
    name: "FourierFT from the base",
    type: "FOURIERFT",
    configuration: () => ({
      ...fourierftDefaults,
      frequencies: 5,
      scaling: 20,
      targets,
      initialWeights: true,
    }),
    parameterCount: (base) => 5 * adapted(base).length,
  }),
  row({
    name: "LayerNorm tuning",
    type: "LN_TUNING",
    configuration: (base) => ({ targets: [...base.modules.norms.keys()] }),
    parameterCount: ({ modules }) =>
      sum(
        [...modules.norms.values()]
          .filter(({ path }) => !modules.headModules.includes(path.split(".")[0] ?? ""))
          .map(({ size, kind }) => (kind === "rms" ? size : 2 * size)),
      ),
  }),
  row({
    name: "trainable tokens",
    type: "TRAINABLE_TOKENS",
    configuration: () => ({ tokens: [3, 5] }),
    parameterCount: ({ model }) => 2 * model.hiddenSize,
  }),
  row({
    name: "BitFit",
    type: "BITFIT",
    configuration: () => ({}),
    parameterCount: ({ modules }) =>
      sum(
        [...modules.parameters.values()]
          .filter(
            ({ name }) => name.endsWith(".bias") && !modules.headModules.includes(name.split(".")[0] ?? ""),
          )
          .map(({ shape }) => shape[0] ?? NaN),
      ),
    fits: ({ model_type: type }) => !["llama", "mixtral", "t5"].includes(String(type)),
  }),
  row({
    name: "the head only",
    type: "HEAD_ONLY",
    configuration: () => ({}),
    parameterCount: () => 0,
    // Its head is its own where the output embedding is not the input embedding.
    fits: ({ model_type: type, tie_word_embeddings: isTied }) => type !== "gpt2" && isTied !== true,
  }),
  row({
    name: "prefix tuning",
    type: "PREFIX_TUNING",
    configuration: () => ({ ...prefixTuningDefaults, virtualTokens: 3 }),
    parameterCount: ({ model }) => 3 * 2 * model.layerCount * model.keyValue.heads * model.keyValue.size,
    startsElsewhere: true,
  }),
  row({
    name: "prefix tuning with an encoder",
    type: "PREFIX_TUNING",
    configuration: () => ({ ...prefixTuningDefaults, virtualTokens: 3, projection: true, encoderWidth: 5 }),
    parameterCount({ model: { layerCount, keyValue } }) {
      const width = keyValue.heads * keyValue.size;
      return 3 * width + (width + 1) * 5 + (5 + 1) * 2 * layerCount * width;
    },
    startsElsewhere: true,
  }),
  row({
    name: "prompt tuning",
    type: "PROMPT_TUNING",
    configuration: () => ({ virtualTokens: 3, initial: "vocabulary" }),
    parameterCount: (base) => rowsOf(base, 3) * base.model.hiddenSize,
    startsElsewhere: true,
  }),
  row({
    name: "P-tuning",
    type: "P_TUNING",
    configuration: () => ({ ...pTuningDefaults, virtualTokens: 3, encoderWidth: 5 }),
    parameterCount(base) {
      const { hiddenSize } = base.model;
      return rowsOf(base, 3) * hiddenSize + (hiddenSize + 1) * 5 + (5 + 1) * 5 + (5 + 1) * hiddenSize;
    },
    startsElsewhere: true,
  }),
  row({
    name: "P-tuning with an LSTM",
    type: "P_TUNING",
    configuration: () => ({
      ...pTuningDefaults,
      virtualTokens: 3,
      encoder: "lstm",
      encoderWidth: 2,
      encoderLayers: 2,
    }),
    parameterCount(base) {
      const { hiddenSize } = base.model;
      const layer = (from: number) => 2 * 4 * 2 * (from + 2 + 2);
      return rowsOf(base, 3) * hiddenSize + layer(hiddenSize) + layer(4) + (4 + 1) * 4 + (4 + 1) * hiddenSize;
    },
    startsElsewhere: true,
  }),
  row({
    name: "parallel bottlenecks",
    type: "BOTTLENECK",
    configuration: () => bottleneckDefaults.par_bn,
    parameterCount(base) {
      const { hiddenSize: size } = base.model;
      return layersOf(base) * bottleneckSize(size, size / 2);
    },
  }),
  row({
    name: "Houlsby's bottlenecks",
    type: "BOTTLENECK",
    configuration: () => ({ ...bottleneckDefaults.double_seq_bn, reduction: 4, initial: "mam_adapter" }),
    parameterCount(base) {
      const { hiddenSize: size } = base.model;
      return 2 * layersOf(base) * bottleneckSize(size, size / 4);
    },
  }),
  row({
    name: "bottlenecks between norms of their own, added to the sum",
    type: "BOTTLENECK",
    // The stream counts twice: it is in the sum, and joins what comes out.
    startsElsewhere: true,
    configuration: () => ({
      ...bottleneckDefaults.seq_bn,
      ...{ reduction: 2, normBefore: true, normAfter: true, skipFrom: "sum" },
    }),
    parameterCount(base) {
      const { hiddenSize: size } = base.model;
      return layersOf(base) * (bottleneckSize(size, size / 2) + 4 * size);
    },
  }),
  row({
    name: "AdaLoRA",
    type: "ADALORA",
    configuration: () => ({
      ...adaloraDefaults,
      rank: 2,
      initialRank: 3,
      alpha: 3,
      targets,
      totalSteps: 8,
      initialSteps: 2,
      finalSteps: 2,
    }),
    parameterCount: (base) => sum(adapted(base).map((site) => 3 * (site.in + 1 + site.out))),
  }),
  row({
    name: "OFT",
    type: "OFT",
    configuration: () => ({ ...oftDefaults, blockSize: 2, targets, exactRotation: true }),
    parameterCount: (base) => sum(adapted(base).map((site) => site.in / 2)),
  }),
  row({
    name: "OFT by a series",
    type: "OFT",
    configuration: () => ({ ...oftDefaults, blockSize: 4, targets, sharedBlocks: true }),
    parameterCount: (base) => 6 * adapted(base).length,
  }),
  row({
    name: "OFT on embeddings",
    type: "OFT",
    configuration: (base) => ({
      ...oftDefaults,
      blockCount: 1,
      targets: [base.modules.tokenEmbedding ?? ""],
    }),
    parameterCount: ({ model: { hiddenSize: size } }) => (size * (size - 1)) / 2,
    // Merging changes what a tied output embedding reads as well.
    fits: ({ model_type: type, tie_word_embeddings: isTied }) =>
      type === "roberta" || (type === "llama" && isTied !== true),
  }),
  row({
    name: "BOFT",
    type: "BOFT",
    configuration: () => ({ ...boftDefaults, blockSize: 4, targets }),
    parameterCount: (base) => sum(adapted(base).map((site) => 4 * site.in + site.out)),
  }),
  row({
    name: "BOFT in two factors",
    type: "BOFT",
    configuration: () => ({ ...boftDefaults, blockSize: 2, butterflyFactors: 2, targets }),
    parameterCount: (base) => sum(adapted(base).map((site) => 2 * 2 * site.in + site.out)),
  }),
  row({
    name: "full fine-tuning",
    type: "FULL",
    configuration: () => ({}),
    parameterCount: ({ modules }) =>
      sum(
        [...modules.parameters.values()]
          .filter(
            ({ name, stored }) => name === stored && !modules.headModules.includes(name.split(".")[0] ?? ""),
          )
          .map(({ shape }) => shape.reduce((a, b) => a * b, 1)),
      ),
  }),
] as const;
