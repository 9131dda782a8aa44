/** @file Flags that several commands have, so that they mean the same everywhere. */
import { z } from "zod";
import { loraStart, loraStarts } from "../methods/lora/start.ts";
import type { LoraStart } from "../methods/lora/start.ts";
import {
  choice,
  names,
  numberIn,
  numbersByName,
  optional,
  switched,
  switchedOrAuto,
  text,
  texts,
  wholeNumber,
  wholeNumbers,
  withDefault,
} from "./flags.ts";
import type { FlagTable, Kind } from "./flags.ts";
import { computeNames, storageNames } from "../base/weight-storage.ts";
import type { Task } from "../models/forward.ts";
import { methodNames } from "./methods.ts";
import type { MethodName } from "./method-rows.ts";

/** The tasks that some architecture has a head for. */
export const taskNames = [
  "causal-lm",
  "seq2seq-lm",
  "classification",
  "multi-label-classification",
  "regression",
  "token-classification",
  "question-answering",
  "masked-lm",
] as const satisfies readonly Task[];

const modelGroup = "Model:";

export const modelFlags = {
  model: optional(
    text("MODEL"),
    modelGroup,
    "folder, or org/name[@revision] of the hub",
    "the small base that comes with deltafit",
  ),
} satisfies FlagTable;

/** For commands that can do without trained weights. */
export const randomWeightsFlags = {
  randomWeights: optional(
    wholeNumber(0),
    modelGroup,
    "random weights from this seed; --model may then be a config.json",
  ),
} satisfies FlagTable;

export const adapterFlags = {
  adapter: optional(
    texts("[NAME=]FOLDER"),
    modelGroup,
    "adapter in PEFT's format, and what it is called; may be repeated",
  ),
} satisfies FlagTable;

const methodGroup = "Method:";

/** Names with a plus between them: all are trained, the first nearest to the base. */
const methodStack: Kind<readonly MethodName[]> = {
  placeholder: "NAME+...",
  choices: methodNames,
  expected: `one or several of ${methodNames.join(", ")} with + between them, each once`,
  schema: z
    .array(z.enum(methodNames))
    .min(1)
    .refine((given) => new Set(given).size === given.length),
  fromText: (given) => given.split("+").map((name) => name.trim()),
};

const startOfLora: Kind<LoraStart> = {
  placeholder: "NAME",
  expected: `one of ${loraStarts.join(", ")}`,
  schema: z.custom<LoraStart>((given) => typeof given === "string" && loraStart(given) !== undefined),
  fromText: (given) => given,
};

/** What is trained where nothing names it. */
export const defaultMethods: readonly MethodName[] = ["lora"];

/** What adapts the model. What a method has no use for is refused when it is given. */
export const methodFlags = {
  method: {
    ...optional(methodStack, methodGroup, "what is trained; several act together", "lora"),
    whenMissing: (): readonly MethodName[] => defaultMethods,
  },
  rank: optional(wholeNumber(1), methodGroup, "rank", "8; of VeRA 256, of VB-LoRA 4"),
  alpha: optional(numberIn({ above: 0 }), methodGroup, "the change is scaled by alpha / rank", "2 x rank"),
  dropout: optional(
    numberIn({ atLeast: 0, below: 1 }),
    methodGroup,
    "share of inputs left out in training",
    "0",
  ),
  targets: optional(
    names(),
    methodGroup,
    "adapted modules by name, or all-linear",
    "PEFT's choice for the architecture",
  ),
  targetsPattern: optional(text("REGEX"), methodGroup, "adapted modules by their whole path"),
  exclude: optional(names(), methodGroup, "modules that are not adapted"),
  layersToTransform: optional(wholeNumbers, methodGroup, "adapt these layers only"),
  rankPattern: optional(numbersByName, methodGroup, "rank of single modules"),
  alphaPattern: optional(numbersByName, methodGroup, "alpha of single modules"),
  rankStabilised: switched(methodGroup, "scale by alpha / sqrt(rank): rsLoRA"),
  magnitude: switched(methodGroup, "train lengths apart from directions: DoRA"),
  frozenA: switched(methodGroup, "train LoRA's B alone: LoRA-FA"),
  initialWeights: optional(
    startOfLora,
    methodGroup,
    `how LoRA starts: ${loraStarts.join(", ")}`,
    "A random, B zero",
  ),
  loftqIterations: optional(wholeNumber(1), methodGroup, "turns of LoftQ", "1"),
  feedForward: optional(names(), methodGroup, "(IA)3's targets that scale their input"),
  vectorCount: optional(wholeNumber(1), methodGroup, "vectors of VB-LoRA's bank", "256"),
  vectorLength: optional(wholeNumber(1), methodGroup, "length of each; divides every adapted width", "256"),
  topVectors: optional(wholeNumber(1), methodGroup, "vectors that a piece is mixed of", "2"),
  saveTopOnly: switched(methodGroup, "write the shares of those vectors alone"),
  frequencies: optional(wholeNumber(1), methodGroup, "entries of the spectrum FourierFT trains", "1000"),
  initialRank: optional(wholeNumber(1), methodGroup, "AdaLoRA's rank before ranks are dropped", "1.5 x rank"),
  totalSteps: optional(wholeNumber(1), methodGroup, "updates of AdaLoRA's schedule", "those of the run"),
  initialSteps: optional(wholeNumber(0), methodGroup, "updates before AdaLoRA drops ranks", "0"),
  finalSteps: optional(wholeNumber(0), methodGroup, "updates after AdaLoRA has dropped ranks", "0"),
  allocateEvery: optional(wholeNumber(1), methodGroup, "updates from one choice of ranks to the next", "1"),
  orthogonality: optional(
    numberIn({ atLeast: 0 }),
    methodGroup,
    "weight of AdaLoRA's term of the loss",
    "0.5",
  ),
  blockSize: optional(wholeNumber(1), methodGroup, "extent of the blocks that rotate", "32; of BOFT 4"),
  blockCount: optional(wholeNumber(1), methodGroup, "blocks of a layer, in place of their extent"),
  exactRotation: switched(methodGroup, "rotate by OFT's inverse instead of a series"),
  butterflyFactors: optional(wholeNumber(1), methodGroup, "factors of BOFT's rotation", "1"),
  tokens: optional(wholeNumbers, methodGroup, "ids of the tokens that are trained"),
  bottleneck: optional(
    choice(["seq_bn", "double_seq_bn", "par_bn"]),
    methodGroup,
    "which bottleneck adapters: Pfeiffer's, Houlsby's, or parallel ones",
    "seq_bn",
  ),
  reduction: optional(
    wholeNumber(1),
    methodGroup,
    "the model's width by that of a bottleneck",
    "16; of par_bn 2",
  ),
  virtualTokens: optional(wholeNumber(1), methodGroup, "length of a prefix or prompt", "20"),
  promptText: optional(text("TEXT"), methodGroup, "text whose embeddings a prompt starts from"),
  promptStart: optional(
    choice(["random", "vocabulary"]),
    methodGroup,
    "how a prompt starts without a text",
    "random",
  ),
  projection: switched(methodGroup, "train a prefix through an encoder"),
  projectionSeed: optional(
    wholeNumber(0),
    methodGroup,
    "seed of VeRA's shared matrices, or of a frozen A",
    "0",
  ),
  bias: optional(
    choice(["none", "all", "adapted"]),
    methodGroup,
    "biases of the base that are trained as well",
    "none",
  ),
  modulesToSave: optional(names(), methodGroup, "modules that are trained whole"),
} satisfies FlagTable;

const machineGroup = "Machine:";
const soFar = ", the only one so far";

export const threadFlags = {
  threads: optional(wholeNumber(1), machineGroup, "threads", "one for each physical core"),
} satisfies FlagTable;

/** For every command that runs a model. */
export const storageFlags = {
  storage: optional(
    choice(storageNames),
    machineGroup,
    "how frozen matrices are kept",
    "as the checkpoint has them if it is quantised, else float32",
  ),
  compute: withDefault(
    choice(computeNames),
    machineGroup,
    "float32",
    "how products with frozen matrices are computed",
  ),
} satisfies FlagTable;

/** For every command that runs a model without training. */
export const memoryFlags = {
  ignoreMemory: switched(machineGroup, "start even if the weights are too large for the memory there is"),
} satisfies FlagTable;

/** For every command that trains. */
export const profileFlags = {
  profileMemory: optional(text("FILE"), machineGroup, "write a page that shows the run's memory over time"),
} satisfies FlagTable;

export const machineFlags = {
  ...threadFlags,
  recompute: switchedOrAuto(
    machineGroup,
    "compute layers again in the backward pass, for less memory; with auto where the run would not fit otherwise",
  ),
  device: withDefault(choice(["cpu"], soFar), machineGroup, "cpu", "where the model runs"),
  ...storageFlags,
} satisfies FlagTable;
