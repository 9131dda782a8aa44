/**
 * @file The state of an interrupted run on disk: parameters, optimiser and progress, so that a resumed run gives
 * the numbers of one that never stopped. Written whole or not at all.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { BatchCursor } from "../data/batches.ts";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic, restoreInterruptedSwap } from "../files/atomic.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { OptimiserState } from "../training/optimiser.ts";
import type { TrainingProgress } from "../training/run.ts";

const vectorsName = "training_state.safetensors";
const progressName = "training_state.json";

export interface TrainingState {
  readonly parameters: Float32Array;
  readonly optimiser: OptimiserState;
  /** What the methods' rules keep; empty where there are none. */
  readonly ruleState: Float32Array;
  readonly progress: TrainingProgress<BatchCursor>;
  /** Names what the run depends on; a run with other settings cannot go on from here. */
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
}

const evaluationSchema = z.strictObject({ step: z.int(), metrics: z.record(z.string(), z.number()) });

const schema = z.strictObject({
  format: z.literal(1),
  optimiserStep: z.int().nonnegative(),
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  progress: z.strictObject({
    step: z.int().nonnegative(),
    cursor: z.strictObject({ epoch: z.int().nonnegative(), index: z.int().nonnegative() }),
    losses: z.array(z.number()),
    evaluations: z.array(evaluationSchema),
    tokens: z.number(),
    supervisedTokens: z.number(),
    stepSeconds: z.number(),
    best: evaluationSchema.optional(),
  }),
});

/** Writes the state into a folder, with what `addFiles` puts beside it; an older state is replaced as a whole. */
export async function writeTrainingState(
  folder: string,
  { parameters, optimiser, ruleState, progress, settings }: TrainingState,
  addFiles: (folder: string) => void,
): Promise<void> {
  const entry = (name: string, data: Float32Array) => ({ name, tensor: float32Tensor([data.length], data) });
  await writeFolderAtomic(folder, (temporary) => {
    writeSafetensors(join(temporary, vectorsName), [
      entry("parameters", parameters),
      entry("first_moment", optimiser.firstMoment),
      entry("second_moment", optimiser.secondMoment),
      ...(ruleState.length > 0 ? [entry("rule_state", ruleState)] : []),
    ]);
    writeFileAtomic(
      join(temporary, progressName),
      JSON.stringify({ format: 1, optimiserStep: optimiser.step, settings, progress }),
    );
    addFiles(temporary);
  });
}

/**
 * Reads a state, or gives `undefined` where there is none.
 * @throws DeltafitError `usage-invalid` naming the first setting that differs; what reading the files throws.
 */
export function readTrainingState(
  folder: string,
  settings: TrainingState["settings"],
): TrainingState | undefined {
  restoreInterruptedSwap(folder);
  const path = join(folder, progressName);
  if (!existsSync(path)) return undefined;
  const state = parseWithSchema(schema, readJsonFile(path), quote(path));
  for (const [name, value] of Object.entries(settings))
    if (state.settings[name] !== value)
      throw new DeltafitError(
        "usage-invalid",
        `Cannot resume from ${quote(folder)}: ${name} was ${JSON.stringify(state.settings[name] ?? null)} and is now ${JSON.stringify(value)}.`,
        "Resume with the settings and the data of the interrupted run, or start anew without --resume.",
      );
  const vectors = openSafetensors(join(folder, vectorsName));
  const read = (name: string) => readFloat32(vectors, name);
  const { best, ...progress } = state.progress;
  return {
    parameters: read("parameters"),
    optimiser: {
      step: state.optimiserStep,
      firstMoment: read("first_moment"),
      secondMoment: read("second_moment"),
    },
    ruleState: vectors.tensors.has("rule_state") ? read("rule_state") : new Float32Array(),
    progress: { ...progress, best },
    settings: state.settings,
  };
}
