/** @file `deltafit inspect`: what a model folder, an adapter folder or a data file holds, and what is wrong with it. */
import fs from "node:fs";
import { extname, join } from "node:path";
import { stackFileName } from "../adapters/stack.ts";
import { DeltafitError } from "../errors.ts";
import { readingFrom } from "../files/read.ts";
import { quote } from "../files/quote.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { dataFlags, trainOnPromptFlags } from "./data-set.ts";
import { choice, optional, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { inspectAdapterFolder, inspectStackFolder } from "./inspect-adapter.ts";
import { inspectData } from "./inspect-data.ts";
import { inspectModelFolder } from "./inspect-model.ts";
import { modelFlags, taskNames } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const dataGroup = "Data:";

const flags = {
  task: optional(choice(taskNames), dataGroup, "what the data is for", "what its keys say"),
  model: { ...modelFlags.model, group: dataGroup, summary: "model whose tokenizer reads the data" },
  sequenceLength: withDefault(wholeNumber(1), dataGroup, 512, "longest row in tokens"),
  alpaca: dataFlags.alpaca,
  ...trainOnPromptFlags,
} satisfies FlagTable;

export type InspectValues = FlagValues<typeof flags>;

export const inspect = defineCommand({
  name: "inspect",
  summary: "say what a model folder, an adapter folder or a data file holds",
  example: "deltafit inspect my-adapter\ndeltafit inspect data.jsonl --model org/name",
  argument: { name: "PATH", summary: "folder or file" },
  flags,
  run,
});

const dataExtensions = [".jsonl", ".ndjson", ".json", ".csv", ".tsv"];

async function run(values: InspectValues, terminal: Terminal, path: string): Promise<CommandResult> {
  const isFolder = readingFrom(path, () => fs.statSync(path)).isDirectory();
  if (!isFolder && dataExtensions.includes(extname(path).toLowerCase()))
    return inspectData(path, values, terminal);
  const has = (name: string): boolean => isFolder && fs.existsSync(join(path, name));
  if (has(stackFileName)) return inspectStackFolder(path);
  if (has("adapter_config.json")) return inspectAdapterFolder(path);
  if (has("config.json")) return inspectModelFolder(path);
  if (has("train.jsonl")) return inspectData(path, values, terminal);
  throw new DeltafitError(
    "usage-invalid",
    `${quote(path)} is nothing that can be inspected: expected a folder with config.json, adapter_config.json, ${stackFileName} or train.jsonl, or a data file (${dataExtensions.join(", ")}).`,
    "Name a model folder, an adapter folder or a data file.",
  );
}
