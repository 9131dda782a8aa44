/** @file `deltafit combine`: one LoRA adapter from several with weights. */
import { combinationKinds, combineAdapters } from "../adapters/combine.ts";
import type { CombinationType } from "../adapters/combine.ts";
import { saveAdapter } from "../adapters/folder.ts";
import { majoritySignMethods } from "../adapters/task-vectors.ts";
import { DeltafitError } from "../errors.ts";
import { namedReferences } from "./adapter-names.ts";
import { adapterWeightFlags, withWeights } from "./adapter-weights.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, needed, numberIn, optional, text, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { openAdaptedModel } from "./model.ts";
import { checkOutputFolder, refuseOverwriting } from "./output-folder.ts";
import { adapterFlags, modelFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";
import { writeTrainingNotes } from "./training-notes.ts";

const group = "Combination:";
const types = Object.keys(combinationKinds) as CombinationType[];

const flags = {
  ...modelFlags,
  ...adapterFlags,
  ...adapterWeightFlags,
  task: optional(choice(taskNames), "Model:", "what the model is for", "the adapters' task, else causal-lm"),
  combinationType: withDefault(choice(types), group, "svd", "how adapters are put together"),
  density: optional(
    numberIn({ above: 0, atMost: 1 }),
    group,
    "share of entries that ties, dare and prune keep",
  ),
  majoritySignMethod: optional(choice(majoritySignMethods), group, "how ties elects signs", "total"),
  svdRank: optional(wholeNumber(1), group, "rank of the result of svd kinds", "the largest of the adapters"),
  svdClamp: optional(numberIn({ above: 0, atMost: 1 }), group, "quantile at which svd kinds clamp factors"),
  seed: optional(wholeNumber(0), group, "of what dare draws", "0"),
  out: needed(text("FOLDER"), "Output:", "where the new adapter goes"),
} satisfies FlagTable;

export const combine = defineCommand({
  name: "combine",
  summary: "make one LoRA adapter of several with weights",
  example: `deltafit combine --adapter a --adapter b --adapter-weight 0.7,0.4 --out both
deltafit combine --adapter a --adapter b --combination-type ties --density 0.5 --out both`,
  flags,
  run,
});

async function run(values: FlagValues<typeof flags>, terminal: Terminal): Promise<CommandResult> {
  const { adapter: references, out, combinationType } = values;
  if (references === undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--adapter is needed: there is nothing to combine without one.",
      "Name each adapter with an --adapter of its own.",
    );
  checkOutputFolder(out);
  refuseOverwriting(out, [
    ...namedReferences(references).map(({ reference }) => reference),
    ...(values.model === undefined ? [] : [values.model]),
  ]);
  const { base, adapters, groups, notes } = await openAdaptedModel(values, terminal);
  const { density, majoritySignMethod, svdRank, svdClamp, seed } = values;
  const weighted = withWeights(groups);
  const combined = combineAdapters({
    base,
    adapters: adapters.map((adapter, index) => ({ adapter, weight: weighted[index]?.weight ?? 1 })),
    ...{ combinationType, density, majoritySignMethod, svdRank, svdClamp, seed },
  });
  await saveAdapter(out, combined, base, (folder) => {
    if (notes !== undefined) writeTrainingNotes(folder, notes);
  });
  const { rank } = combined.configuration;
  const parameters = combined.layout.size;
  const parts = groups.map(({ reference: adapter, weight }) => ({ adapter, weight }));
  return {
    json: {
      out,
      combinationType,
      adapters: parts,
      rank,
      parameters,
      adapterBytes: parameters * Float32Array.BYTES_PER_ELEMENT,
    },
    text: `combined ${parts.map(({ adapter, weight }) => `${weight} x ${adapter}`).join(" + ")} by ${combinationType} into ${out} (rank ${rank})`,
  };
}
