/** @file `deltafit convert-to-lora`: an adapter of any method that merges as a plain LoRA, with the error of each module. */
import { convertToLora } from "../adapters/convert-to-lora.ts";
import type { ConvertedModule } from "../adapters/convert-to-lora.ts";
import type { EnergyShare } from "../adapters/low-rank.ts";
import { saveAdapter } from "../adapters/folder.ts";
import { DeltafitError } from "../errors.ts";
import { namedReferences } from "./adapter-names.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, needed, numberIn, optional, text, wholeNumber } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { openAdaptedModel } from "./model.ts";
import { checkOutputFolder, refuseOverwriting } from "./output-folder.ts";
import { adapterFlags, modelFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";
import { writeTrainingNotes } from "./training-notes.ts";

const group = "Conversion:";

const flags = {
  ...modelFlags,
  adapter: { ...adapterFlags.adapter, summary: "adapter in PEFT's format" },
  task: optional(choice(taskNames), "Model:", "what the model is for", "the adapter's task, else causal-lm"),
  rank: optional(wholeNumber(1), group, "rank of every module", "8"),
  energy: optional(
    numberIn({ above: 0, atMost: 1 }),
    group,
    "in place of --rank: share of each change's squared singular values to keep",
  ),
  out: needed(text("FOLDER"), "Output:", "where the LoRA adapter goes"),
} satisfies FlagTable;

type Values = FlagValues<typeof flags>;

export const convertToLoraCommand = defineCommand({
  name: "convert-to-lora",
  summary: "approximate an adapter of another method by a plain LoRA",
  example: `deltafit convert-to-lora --adapter my-vera --rank 8 --out my-lora
deltafit convert-to-lora --adapter my-vera --energy 0.95 --out my-lora`,
  flags,
  run,
});

const usualRank = 8;

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  const { out } = values;
  const rank = wantedRank(values);
  const [reference, another] = values.adapter ?? [];
  if (reference === undefined || another !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      `--adapter: expected one adapter to convert, found ${values.adapter?.length ?? 0}.`,
      "Convert one at a time; `deltafit combine` makes one LoRA of several.",
    );
  checkOutputFolder(out);
  const inputs = namedReferences([reference]).map((named) => named.reference);
  refuseOverwriting(out, [...inputs, ...(values.model === undefined ? [] : [values.model])]);
  const { base, adapters, notes } = await openAdaptedModel(values, terminal);
  const [adapter, other] = adapters;
  if (adapter === undefined || other !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      `${JSON.stringify(reference)} holds ${adapters.length} adapters; expected one to convert.`,
      "Name the folder of one of them.",
    );
  const converted = await convertToLora({ base, adapter, rank });
  await saveAdapter(out, converted.adapter, base, (folder) => {
    if (notes !== undefined) writeTrainingNotes(folder, notes);
  });
  const parameters = converted.adapter.layout.size;
  return {
    json: {
      out,
      methodType: adapter.methodType,
      rank: converted.adapter.configuration.rank,
      modules: converted.modules.map(({ module, rank: own, relative, largest }) => ({
        module,
        rank: own,
        relativeError: relative,
        largestError: largest,
      })),
      parameters,
      adapterBytes: parameters * Float32Array.BYTES_PER_ELEMENT,
    },
    text: describe(converted.modules, out),
  };
}

function wantedRank({ rank, energy }: Values): number | EnergyShare {
  if (rank !== undefined && energy !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--rank and --energy exclude each other.",
      "Leave one of them out.",
    );
  return energy === undefined ? (rank ?? usualRank) : { energy };
}

function describe(modules: readonly ConvertedModule[], out: string): string {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  const lines = modules.map(
    ({ module, rank, relative, largest }) =>
      `  ${module}: rank ${rank}, off by ${percent(relative)} of the change, ${largest.toExponential(2)} at most`,
  );
  const worst = Math.max(...modules.map(({ relative }) => relative));
  return [
    ...lines,
    `converted ${modules.length} modules into ${out}; the largest error is ${percent(worst)} of a change`,
  ].join("\n");
}
