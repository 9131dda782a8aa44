/** @file The flags of `deltafit train`. */
import { scheduleNames } from "../training/schedule.ts";
import { dataFlags, strideFlags, trainOnPromptFlags } from "./data-set.ts";
import { choice, numberIn, optional, switched, text, texts, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import {
  machineFlags,
  methodFlags,
  modelFlags,
  profileFlags,
  randomWeightsFlags,
  taskNames,
} from "./shared-flags.ts";

const dataGroup = "Data:";
const trainingGroup = "Training:";
const outputGroup = "Output:";

export const trainFlags = {
  ...modelFlags,
  ...randomWeightsFlags,
  task: withDefault(choice(taskNames), "Model:", "causal-lm", "what the model learns"),
  ...dataFlags,
  evalData: optional(text("PATH"), dataGroup, "data to evaluate on", "valid.jsonl where --data is a folder"),
  sequenceLength: optional(wholeNumber(1), dataGroup, "longest row in tokens", "512, or what the model can"),
  ...trainOnPromptFlags,
  pack: switched(dataGroup, "put several examples into a row, none seeing another"),
  groupByLength: switched(dataGroup, "make batches of examples of similar length"),
  ...strideFlags,
  ...methodFlags,
  frozen: optional(
    texts("FOLDER"),
    "Method:",
    "adapter that is active and stays as it is, under what is trained; may be repeated",
  ),
  initialAdapter: optional(
    text("FOLDER"),
    "Method:",
    "adapter to go on training, with its settings, in place of a new one",
  ),
  steps: optional(wholeNumber(1), trainingGroup, "updates"),
  epochs: optional(numberIn({ above: 0 }), trainingGroup, "passes over the data, in place of --steps", "3"),
  batchSize: withDefault(wholeNumber(1), trainingGroup, 8, "rows of a batch"),
  accumulate: withDefault(wholeNumber(1), trainingGroup, 1, "batches of an update"),
  learningRate: optional(
    numberIn({ above: 0 }),
    trainingGroup,
    "at its peak",
    "5e-4 for lora, 5e-5 for full",
  ),
  loraPlusRatio: optional(
    numberIn({ above: 0 }),
    trainingGroup,
    "LoRA+: rate of LoRA's B over that of its A",
    "1",
  ),
  schedule: withDefault(choice(scheduleNames), trainingGroup, "linear", "how the learning rate falls"),
  warmup: withDefault(
    numberIn({ atLeast: 0 }),
    trainingGroup,
    0.06,
    "updates, or below 1 the share, of rising rate",
  ),
  optimizer: withDefault(
    choice(["adamw"], ", the only one so far"),
    trainingGroup,
    "adamw",
    "what applies gradients",
  ),
  weightDecay: withDefault(numberIn({ atLeast: 0 }), trainingGroup, 0.01, "of AdamW"),
  clip: withDefault(numberIn({ atLeast: 0 }), trainingGroup, 1, "largest norm of the gradient; 0 for none"),
  seed: withDefault(wholeNumber(0), trainingGroup, 0, "of initial values, order of the data, dropout"),
  evalEvery: optional(wholeNumber(1), trainingGroup, "evaluate after every N updates", "at the end"),
  saveEvery: optional(wholeNumber(1), outputGroup, "save the state after every N updates", "at the end"),
  out: optional(text("FOLDER"), outputGroup, "where the adapter goes", "nowhere"),
  resume: switched(outputGroup, "go on with the interrupted run in --out"),
  ignoreMemory: switched(outputGroup, "start even if the run is estimated not to fit into memory"),
  dryRun: switched(outputGroup, "say what would be trained, and stop"),
  ...machineFlags,
  ...profileFlags,
} satisfies FlagTable;

export type TrainValues = FlagValues<typeof trainFlags>;
