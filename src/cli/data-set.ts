/** @file From --data to tokenised examples, and what became of the rows in words. */
import type { AlpacaVariant } from "../data/alpaca.ts";
import { tokenizeData } from "../data/examples.ts";
import type { Dataset, DatasetReport } from "../data/examples.ts";
import { parseRows } from "../data/formats.ts";
import { readRowFile } from "../data/read-rows.ts";
import type { DataSplit } from "../data/read-rows.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import type { Task } from "../models/forward.ts";
import { choice, needed, optional, switched, text, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable } from "./flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Data:";

export const dataFlags = {
  data: needed(text("PATH"), group, "JSON lines, JSON, CSV, TSV, or a folder with train.jsonl"),
  alpaca: withDefault(
    choice(["stanford", "response-newline"]),
    group,
    "stanford",
    "how prompts of Alpaca data end",
  ),
} satisfies FlagTable;

export const trainOnPromptFlags = {
  trainOnPrompt: switched(group, "train on prompts as well, not on answers alone"),
} satisfies FlagTable;

export const strideFlags = {
  stride: optional(
    wholeNumber(0),
    group,
    "tokens that the windows of a question's long context share",
    "128, or half of what fits",
  ),
} satisfies FlagTable;

export interface DataSource {
  readonly path: string;
  readonly split: DataSplit;
  readonly task: Task;
  readonly alpaca: AlpacaVariant;
  readonly sequenceLength: number;
  readonly trainOnPrompt: boolean;
  readonly eosTokenId: number | undefined;
  readonly stride?: number | undefined;
  readonly labelNames?: readonly string[] | undefined;
  readonly labelCount?: number | undefined;
}

/** @throws DeltafitError what reading, parsing and tokenising throw. */
export function loadDataset(source: DataSource, tokenizer: Tokenizer, terminal: Terminal): Dataset {
  const { path, split, task, alpaca } = source;
  const file = readRowFile(path, { split });
  for (const note of file.notes) terminal.note(`${file.path}: ${note}`);
  return tokenizeData(parseRows(file.rows, task, { alpaca }), task, tokenizer, source);
}

const droppedShown = 5;

/** Lines that tell what became of the rows. */
export function describeReport(title: string, report: DatasetReport): string[] {
  const { format, examples, tokens, supervisedTokens, truncated, longest, dropped } = report;
  const cut = truncated === 0 ? "" : `; ${truncated} cut to the sequence length`;
  const shown = dropped
    .slice(0, droppedShown)
    .map(({ line, reason }) => `  row ${line} is left out: ${reason}`);
  const rest = dropped.length - shown.length;
  return [
    `${title}: ${format.decision}`,
    `  ${examples} examples, ${tokens} tokens, ${supervisedTokens} of them supervised; longest ${longest}${cut}`,
    ...shown,
    ...(rest > 0 ? [`  and ${rest} rows more`] : []),
  ];
}
