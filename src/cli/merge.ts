/** @file `deltafit merge`: a model of its own from a base and adapters. */
import { writeMergedModel } from "../adapters/merged-model.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { openBase } from "../base/base.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { adapterWeightFlags, weightedAdapters } from "./adapter-weights.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, needed, optional, text, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { probeLogits } from "./logits-probe.ts";
import { openAdaptedModel } from "./model.ts";
import { checkOutputFolder } from "./output-folder.ts";
import { adapterFlags, modelFlags, storageFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";
import { writeTrainingNotes } from "./training-notes.ts";

const flags = {
  ...modelFlags,
  ...adapterFlags,
  ...adapterWeightFlags,
  task: optional(
    choice(taskNames),
    "Model:",
    "what the model is for",
    "the adapter's task, else the one in which the model writes text",
  ),
  out: needed(text("FOLDER"), "Output:", "where the merged model goes"),
  dtype: withDefault(
    choice(["as-stored", "float32", "float16", "bfloat16"]),
    "Output:",
    "as-stored",
    "how weights are written",
  ),
  ...storageFlags,
} satisfies FlagTable;

export const merge = defineCommand({
  name: "merge",
  summary: "put adapters into the model's weights, for tools that know no adapters",
  example: "deltafit merge --model org/name --adapter my-adapter --out merged-model",
  flags,
  run,
});

async function run(values: FlagValues<typeof flags>, terminal: Terminal): Promise<CommandResult> {
  const { out, adapter, dtype } = values;
  if (adapter === undefined)
    throw new DeltafitError("usage-invalid", "--adapter is needed: there is nothing to merge without one.");
  checkOutputFolder(out);
  const { base, groups, notes } = await openAdaptedModel(values, terminal);
  const adapters = weightedAdapters(groups, base);
  const { modules, untied, changedWith, bytes } = await writeMergedModel(base, adapters, out, { dtype });
  if (notes !== undefined) writeTrainingNotes(out, notes);
  if (untied.length > 0)
    terminal.note(`no longer shared, because an adapter changes one use of them: ${untied.join(", ")}`);
  if (changedWith.length > 0)
    terminal.warn(
      `merging also changes ${changedWith.join(", ")}, which share an adapted tensor: the merged model differs from base and adapter`,
    );
  if (base.storage !== "float32")
    terminal.note(
      `the difference is to the base as ${base.storage}; merged matrices are made from the checkpoint's own numbers and are not ${base.storage}`,
    );
  const maxAbsLogitDifference = await measureDifference(base, adapters, out);
  return {
    json: { out, mergedModules: modules.length, maxAbsLogitDifference, bytes, untied, changedWith },
    text: [
      `merged ${modules.length} modules into ${out} (${(bytes / 1e6).toFixed(1)} MB)`,
      `largest difference of a logit from base and adapter: ${maxAbsLogitDifference.toExponential(2)}`,
    ].join("\n"),
  };
}

/** The merged model as it was written, against the base with the adapters beside it. */
async function measureDifference(base: Base, adapters: readonly Adapter[], out: string): Promise<number> {
  const { task, labelCount } = base.settings;
  const merged = await openBase({ path: out, task, labelCount });
  const [expected, found] = [await probeLogits(base, adapters), await probeLogits(merged, [])];
  return expected.reduce(
    (largest, value, index) => Math.max(largest, Math.abs(value - (found[index] ?? NaN))),
    0,
  );
}
