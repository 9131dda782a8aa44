/** @file `deltafit convert`: adapters between PEFT's format and those of other tools. */
import fs from "node:fs";
import path from "node:path";
import type { Adapter } from "../adapters/adapter.ts";
import { saveAdapter } from "../adapters/folder.ts";
import type { Base } from "../base/base.ts";
import {
  adoptForeignAdapter,
  foreignFormatNames,
  openForeignAdapter,
  recogniseForeignFormat,
  writableFormatNames,
  writeForeignAdapter,
} from "../conversion/index.ts";
import type { ForeignFormatName } from "../conversion/index.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Task } from "../models/forward.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, needed, numberIn, optional, text, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { findModel, openAdaptedModel, openModel } from "./model.ts";
import { checkOutputFolder } from "./output-folder.ts";
import { modelFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const formatGroup = "Format:";

const flags = {
  ...modelFlags,
  task: optional(choice(taskNames), "Model:", "what the model is for", "the adapter's task, else causal-lm"),
  from: withDefault(
    choice(["auto", "peft", ...foreignFormatNames]),
    formatGroup,
    "auto",
    "format that is read",
  ),
  to: withDefault(choice(["peft", ...writableFormatNames]), formatGroup, "peft", "format that is written"),
  alpha: optional(
    numberIn({ above: 0 }),
    formatGroup,
    "scale times rank, where the file does not hold it (loralib)",
  ),
  out: needed(text("PATH"), "Output:", "where the converted adapter goes"),
} satisfies FlagTable;

type Values = FlagValues<typeof flags>;

export const convert = defineCommand({
  name: "convert",
  summary: "exchange adapters with loralib, mlx-lm, AdapterHub and ONNX Runtime",
  example:
    "deltafit convert mlx-adapters --model org/name --out my-adapter\n" +
    "deltafit convert my-adapter --model org/name --to mlx --out mlx-adapters",
  argument: { name: "adapter", summary: "file or folder of the adapter" },
  flags,
  run,
});

async function run(values: Values, terminal: Terminal, source: string): Promise<CommandResult> {
  const { from, to, out } = values;
  const format = from === "auto" ? (recogniseForeignFormat(source) ?? "peft") : from;
  if (format !== "loralib" && values.alpha !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      `--alpha is for files that do not hold the scale; ${quote(source)} is read as ${format}.`,
      "Leave it out.",
    );
  if (to === "onnx-adapter") checkOutputFile(out);
  else checkOutputFolder(out);
  const { base, adapter, notes } =
    format === "peft"
      ? await openPeft(values, terminal, source)
      : await openForeign(format, values, terminal, source);
  for (const note of notes) terminal.note(note);
  if (to === "peft") await saveAdapter(out, adapter, base);
  else await writeForeignAdapter(out, to, adapter, base);
  const parameters = adapter.layout.size;
  return {
    json: { from: format, to, out, methodType: adapter.methodType, parameters, notes },
    text: `converted ${adapter.methodType} with ${parameters} parameters from ${format} to ${to}: ${out}`,
  };
}

interface Opened {
  readonly base: Base;
  readonly adapter: Adapter;
  readonly notes: readonly string[];
}

async function openPeft({ model, task }: Values, terminal: Terminal, source: string): Promise<Opened> {
  const { base, adapters } = await openAdaptedModel({ model, adapter: [source], task }, terminal);
  const [adapter] = adapters;
  if (adapter === undefined) throw new DeltafitError("internal", "an adapter folder without an adapter.");
  return { base, adapter, notes: [] };
}

async function openForeign(
  format: ForeignFormatName,
  { model, task, alpha }: Values,
  terminal: Terminal,
  source: string,
): Promise<Opened> {
  const opened = await openForeignAdapter(source, format);
  const { labelCount } = opened;
  const wanted: Task =
    task ?? (labelCount === undefined ? "causal-lm" : labelCount === 1 ? "regression" : "classification");
  const found = await findModel(model, terminal);
  const base = await openModel(found, wanted, wanted === "classification" ? { labelCount } : {});
  return { base, ...adoptForeignAdapter(opened, base, { alpha }) };
}

function checkOutputFile(file: string): void {
  if (fs.existsSync(file) && fs.statSync(file).isDirectory())
    throw new DeltafitError(
      "usage-invalid",
      `--out ${quote(file)} is a folder; expected a file.`,
      `Name it with its end, such as ${quote(path.join(file, "adapter.onnx_adapter"))}.`,
    );
}
