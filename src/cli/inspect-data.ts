/** @file What a data file holds, for `deltafit inspect`: its format, and one example as the model will see it. */
import { describeExample } from "../data/describe-example.ts";
import { tokenizeData } from "../data/examples.ts";
import type { Dataset } from "../data/examples.ts";
import { parseRows } from "../data/formats.ts";
import type { TokenizedExample } from "../data/tokenized-example.ts";
import { readRowFile } from "../data/read-rows.ts";
import type { Row } from "../data/read-rows.ts";
import { loadTokenizer } from "../files/tokenizer.ts";
import type { Task } from "../models/forward.ts";
import type { CommandResult } from "./command.ts";
import { describeReport } from "./data-set.ts";
import type { InspectValues } from "./inspect.ts";
import { findModel } from "./model.ts";
import type { Terminal } from "./terminal.ts";

/** Tokens of the example that is shown to a person. */
const tokensShown = 40;

export async function inspectData(
  path: string,
  values: InspectValues,
  terminal: Terminal,
): Promise<CommandResult> {
  const file = readRowFile(path);
  const task = values.task ?? taskOf(file.rows);
  const data = parseRows(file.rows, task, values);
  const tokenizer = loadTokenizer((await findModel(values.model, terminal)).path);
  const dataset = tokenizeData(data, task, tokenizer, values);
  const labels = countLabels(dataset);
  const [first] = dataset.examples;
  const example = first ? describeExample(first, tokenizer, terminal.json ? undefined : tokensShown) : [];
  return {
    json: {
      kind: "data",
      path: file.path,
      fileKind: file.kind,
      notes: file.notes,
      task,
      ...dataset.report,
      labels,
      example,
    },
    text: [
      `data: ${file.path}, for ${task}`,
      ...file.notes,
      ...describeReport("format", dataset.report),
      ...Object.entries(labels ?? {}).map(([name, count]) => `  label ${name}: ${count}`),
      "",
      "the first example:",
      ...example,
    ].join("\n"),
  };
}

/** The task that the keys of the first row are made for: a label is taken as a class unless it is a fraction. */
function taskOf(rows: readonly Row[]): Task {
  const keys = Object.keys(rows[0]?.values ?? {});
  if (keys.includes("tokens") && ["tags", "ner_tags", "labels"].some((key) => keys.includes(key)))
    return "token-classification";
  if (["question", "context", "answers"].every((key) => keys.includes(key))) return "question-answering";
  if (keys.includes("labels")) return "multi-label-classification";
  if (!keys.includes("label")) return "causal-lm";
  const isFraction = ({ values }: Row): boolean => {
    const label = Number(values["label"]);
    return Number.isFinite(label) && !Number.isInteger(label);
  };
  return rows.some(isFraction) ? "regression" : "classification";
}

function labelsOf(example: TokenizedExample): readonly number[] {
  if ("labels" in example) return example.labels;
  if ("labelSet" in example) return example.labelSet;
  return "label" in example ? [example.label] : [];
}

/** How often each class occurs, by name or id; `undefined` where there are no classes. */
function countLabels({ examples, labels }: Dataset): Record<string, number> | undefined {
  if (labels === undefined) return undefined;
  const names = Array.from({ length: labels.count }, (_, id) => labels.names?.[id] ?? String(id));
  const counts = names.map(() => 0);
  for (const example of examples)
    for (const id of labelsOf(example)) if (id >= 0) counts[id] = (counts[id] ?? 0) + 1;
  return Object.fromEntries(names.map((name, id) => [name, counts[id] ?? 0]));
}
