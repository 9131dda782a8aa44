/**
 * @file The methods as the command line offers them: what each is called, which flags it has a use for, and its
 * configuration from them. Fits nothing to a model.
 */
import { usualFeedForward } from "../adapters/default-targets.ts";
import { defaultTargets } from "../adapters/method-table.ts";
import type { MethodConfigurations, MethodType } from "../adapters/method-table.ts";
import { DeltafitError } from "../errors.ts";
import { adaloraDefaults } from "../methods/adalora.ts";
import { boftDefaults } from "../methods/boft.ts";
import { bottleneckDefaults } from "../methods/bottleneck.ts";
import { fourierftDefaults } from "../methods/fourierft.ts";
import { ia3Defaults } from "../methods/ia3.ts";
import { lohaDefaults } from "../methods/loha.ts";
import { lokrDefaults } from "../methods/lokr.ts";
import { loraDefaults } from "../methods/lora.ts";
import { oftDefaults } from "../methods/oft.ts";
import { pTuningDefaults } from "../methods/p-tuning.ts";
import { prefixTuningDefaults } from "../methods/prefix-tuning.ts";
import { promptTuningDefaults } from "../methods/prompt-tuning.ts";
import type { PromptStart } from "../methods/prompt-tuning.ts";
import type { ModuleNames } from "../methods/targets.ts";
import { vbloraDefaults } from "../methods/vblora.ts";
import { veraDefaults } from "../methods/vera.ts";
import type { MethodValues } from "./method-values.ts";

/** A flag of methods. */
export type SettingName = keyof MethodValues;

const targetSettings = ["targets", "targetsPattern", "layersToTransform", "modulesToSave"] as const;
const allocationSettings = [
  "initialRank",
  "initialSteps",
  "finalSteps",
  "allocateEvery",
  "orthogonality",
] as const;
const patternSettings = ["rank", "alpha", "rankPattern", "alphaPattern", "exclude"] as const;

export interface MethodRow<Type extends MethodType> {
  readonly type: Type;
  /** Learning rate where none is given. */
  readonly learningRate: number;
  /** Flags the method has a use for. */
  readonly uses: readonly SettingName[];
  readonly configure: (values: MethodValues, modelType: string) => MethodConfigurations[Type];
}

const row = <Type extends MethodType>(definition: MethodRow<Type>): MethodRow<Type> => definition;

/** The methods by their names on the command line. */
export const methodRows = {
  lora: row({
    type: "LORA",
    learningRate: 5e-4,
    uses: [
      ...([...targetSettings, ...patternSettings, "dropout", "rankStabilised", "magnitude", "bias"] as const),
      ...(["initialWeights", "loftqIterations", "frozenA", "projectionSeed"] as const),
    ],
    configure(values, modelType) {
      const { rank = loraDefaults.rank, rankStabilised, magnitude } = values;
      // LoftQ's A and B make up for what quantising lost, so they count once.
      const { alpha = values.initialWeights === "loftq" ? rank : 2 * rank } = values;
      const common = given(values, [
        ...patternSettings,
        "dropout",
        "bias",
        "initialWeights",
        "loftqIterations",
      ]);
      return {
        ...loraDefaults,
        ...targeting("LORA", values, modelType),
        ...common,
        rank,
        alpha,
        rankStabilised,
        magnitude,
        frozenA: values.frozenA,
        ...given(values, ["projectionSeed"]),
      };
    },
  }),
  adalora: row({
    type: "ADALORA",
    learningRate: 1e-3,
    uses: [
      ...targetSettings,
      ...allocationSettings,
      "rank",
      "alpha",
      "exclude",
      "dropout",
      "bias",
      "totalSteps",
    ],
    configure(values, modelType) {
      const { rank = adaloraDefaults.rank, alpha = 2 * rank, initialSteps = 0, finalSteps = 0 } = values;
      // The shortest schedule there is, where shapes are all that is asked for.
      const { totalSteps = initialSteps + finalSteps + 1 } = values;
      return {
        ...adaloraDefaults,
        ...targeting("ADALORA", values, modelType),
        // Half as many again, as by default.
        initialRank: Math.ceil(1.5 * rank),
        ...given(values, [...allocationSettings, "exclude", "dropout", "bias"]),
        rank,
        alpha,
        totalSteps,
      };
    },
  }),
  vera: row({
    type: "VERA",
    learningRate: 4e-3,
    uses: [...targetSettings, "rank", "dropout", "bias", "projectionSeed"],
    configure: (values, modelType) => ({
      ...veraDefaults,
      ...targeting("VERA", values, modelType),
      ...given(values, ["rank", "dropout", "bias", "projectionSeed"]),
    }),
  }),
  vblora: row({
    type: "VBLORA",
    learningRate: 1e-2,
    uses: [
      ...targetSettings,
      ...(["exclude", "rank", "dropout", "bias", "vectorCount", "vectorLength", "topVectors"] as const),
      "saveTopOnly",
    ],
    configure: (values, modelType) => ({
      ...vbloraDefaults,
      ...targeting("VBLORA", values, modelType),
      ...given(values, ["exclude", "rank", "dropout", "bias", "vectorCount", "vectorLength", "topVectors"]),
      ...(values.saveTopOnly && { saveTopOnly: true }),
    }),
  }),
  ia3: row({
    type: "IA3",
    learningRate: 5e-3,
    uses: [...targetSettings, "exclude", "feedForward"],
    configure: (values, modelType) => ({
      ...ia3Defaults,
      ...targeting("IA3", values, modelType),
      feedForward: values.feedForward ?? usualFeedForward(modelType, targetsOf(values)),
      ...given(values, ["exclude"]),
    }),
  }),
  loha: row({
    type: "LOHA",
    learningRate: 5e-4,
    uses: [...targetSettings, ...patternSettings],
    configure: (values, modelType) => ({
      ...lohaDefaults,
      ...targeting("LOHA", values, modelType),
      ...given(values, patternSettings),
    }),
  }),
  lokr: row({
    type: "LOKR",
    learningRate: 5e-4,
    uses: [...targetSettings, ...patternSettings],
    configure: (values, modelType) => ({
      ...lokrDefaults,
      ...targeting("LOKR", values, modelType),
      ...given(values, patternSettings),
    }),
  }),
  fourierft: row({
    type: "FOURIERFT",
    learningRate: 5e-2,
    uses: [...targetSettings, "exclude", "bias", "frequencies"],
    configure: (values, modelType) => ({
      ...fourierftDefaults,
      ...targeting("FOURIERFT", values, modelType),
      ...given(values, ["exclude", "bias", "frequencies"]),
    }),
  }),
  "ln-tuning": row({
    type: "LN_TUNING",
    learningRate: 1e-3,
    uses: ["targets", "targetsPattern", "exclude", "modulesToSave"],
    configure: (values, modelType) => ({
      ...given(values, ["exclude", "modulesToSave"]),
      targets: targetsOf(values) ?? defaultTargets("LN_TUNING", modelType),
    }),
  }),
  bitfit: row({
    type: "BITFIT",
    learningRate: 1e-3,
    uses: ["targets", "targetsPattern", "modulesToSave"],
    configure: (values) => ({ ...given(values, ["modulesToSave"]), targets: targetsOf(values) }),
  }),
  "head-only": row({
    type: "HEAD_ONLY",
    learningRate: 1e-3,
    uses: ["modulesToSave"],
    configure: (values) => given(values, ["modulesToSave"]),
  }),
  "trainable-tokens": row({
    type: "TRAINABLE_TOKENS",
    learningRate: 1e-3,
    uses: ["targets", "targetsPattern", "tokens"],
    configure: (values) => ({ tokens: values.tokens ?? [], targets: targetsOf(values) }),
  }),
  "prefix-tuning": row({
    type: "PREFIX_TUNING",
    learningRate: 1e-2,
    uses: ["modulesToSave", "virtualTokens", "projection"],
    configure: (values) => ({
      ...prefixTuningDefaults,
      ...given(values, ["modulesToSave", "virtualTokens"]),
      projection: values.projection,
    }),
  }),
  "prompt-tuning": row({
    type: "PROMPT_TUNING",
    learningRate: 1e-2,
    uses: ["modulesToSave", "virtualTokens", "promptText", "promptStart"],
    configure: (values) => ({
      ...promptTuningDefaults,
      ...given(values, ["modulesToSave", "virtualTokens"]),
      initial: promptStartOf(values),
    }),
  }),
  "p-tuning": row({
    type: "P_TUNING",
    learningRate: 1e-2,
    uses: ["modulesToSave", "virtualTokens"],
    configure: (values) => ({ ...pTuningDefaults, ...given(values, ["modulesToSave", "virtualTokens"]) }),
  }),
  bottleneck: row({
    type: "BOTTLENECK",
    learningRate: 1e-4,
    uses: ["modulesToSave", "dropout", "bottleneck", "reduction"],
    configure: (values) => ({
      ...bottleneckDefaults[values.bottleneck ?? "seq_bn"],
      ...given(values, ["modulesToSave", "dropout", "reduction"]),
    }),
  }),
  oft: row({
    type: "OFT",
    learningRate: 1e-3,
    uses: [...targetSettings, "exclude", "bias", "blockSize", "blockCount", "exactRotation"],
    configure: (values, modelType) => ({
      ...oftDefaults,
      ...targeting("OFT", values, modelType),
      ...given(values, ["exclude", "bias", "blockSize", "blockCount", "exactRotation"]),
    }),
  }),
  boft: row({
    type: "BOFT",
    learningRate: 1e-3,
    uses: [
      ...targetSettings,
      ...(["exclude", "bias", "dropout", "blockSize", "blockCount", "butterflyFactors"] as const),
    ],
    configure: (values, modelType) => ({
      ...boftDefaults,
      ...targeting("BOFT", values, modelType),
      ...given(values, ["exclude", "bias", "dropout", "blockSize", "blockCount", "butterflyFactors"]),
    }),
  }),
  full: row({ type: "FULL", learningRate: 5e-5, uses: [], configure: () => ({}) }),
};

export type MethodName = keyof typeof methodRows;

/** Which modules are adapted: what the flags name, else PEFT's choice for the architecture. */
function targeting(type: MethodType, values: MethodValues, modelType: string) {
  const { layersToTransform, modulesToSave } = values;
  return { targets: targetsOf(values) ?? defaultTargets(type, modelType), layersToTransform, modulesToSave };
}

/** What a prompt starts from. @throws DeltafitError `usage-invalid` for a text and another start at once. */
function promptStartOf({ promptText: text, promptSource, promptStart }: MethodValues): PromptStart {
  if (text === undefined) return promptStart ?? promptTuningDefaults.initial;
  if (promptStart === undefined) return { text, tokenizer: "", ...promptSource };
  throw new DeltafitError(
    "usage-invalid",
    "--prompt-text and --prompt-start exclude each other.",
    "Leave one of them out.",
  );
}

/** The settings whose flags were given. */
function given<Name extends SettingName>(
  values: MethodValues,
  settings: readonly Name[],
): { [K in Name]?: NonNullable<MethodValues[K]> } {
  const result: { [K in Name]?: NonNullable<MethodValues[K]> } = {};
  for (const name of settings) {
    const value = values[name];
    if (value !== undefined) result[name] = value;
  }
  return result;
}

function targetsOf({ targets, targetsPattern }: MethodValues): ModuleNames | undefined {
  if (targets !== undefined && targetsPattern !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--targets and --targets-pattern exclude each other.",
      "Leave one of them out.",
    );
  if (targets?.length === 1 && targets[0]?.toLowerCase() === "all-linear") return "all-linear";
  return targets ?? targetsPattern;
}
