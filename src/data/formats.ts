/**
 * @file Which kind of example the rows of a data file hold, decided by their keys, and the rows in one typed
 * form a kind. The decision is returned to be shown. Tokenises nothing.
 */
import { DeltafitError } from "../errors.ts";
import type { ChatMessage } from "../files/chat-template.ts";
import { quote } from "../files/quote.ts";
import type { Task } from "../models/forward.ts";
import type { AlpacaVariant } from "./alpaca.ts";
import { alpacaPrompt } from "./alpaca.ts";
import type { Row } from "./read-rows.ts";

/** What an example is made of, whatever the file called it. */
export type DataRecord = { readonly row: Row } & (
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "completion"; readonly prompt: string; readonly completion: string }
  | {
      readonly kind: "labelled";
      readonly first: string;
      readonly second?: string;
      readonly label: string | number;
    }
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly tools?: readonly unknown[] }
  | {
      readonly kind: "tagged";
      readonly words: readonly string[];
      readonly tags: readonly (string | number)[];
    }
  | {
      readonly kind: "label-set";
      readonly first: string;
      readonly second?: string;
      /** The labels that hold, or for every label whether it holds. */
      readonly labels: readonly (string | number)[] | readonly boolean[];
    }
  | {
      readonly kind: "question";
      readonly question: string;
      readonly context: string;
      /** The right answers with their first characters in the context. */
      readonly answers: readonly { readonly text: string; readonly start: number }[];
    }
);

export interface DataFormat {
  /** The form's name, such as `alpaca`. */
  readonly name: string;
  /** The keys that are read, and those that are not. */
  readonly used: readonly string[];
  readonly ignored: readonly string[];
  /** The whole decision in one line. */
  readonly decision: string;
}

export interface ParsedData {
  readonly format: DataFormat;
  readonly records: readonly DataRecord[];
}

interface FormatRule {
  readonly name: string;
  readonly required: readonly string[];
  readonly optional?: readonly string[];
  readonly tasks: readonly Task[];
  readonly read: (row: Row, alpaca: AlpacaVariant) => DataRecord;
}

const pairColumns = [
  ["sentence1", "sentence2"],
  ["premise", "hypothesis"],
  ["question1", "question2"],
  ["question", "sentence"],
  ["text_a", "text_b"],
] as const;

const labelTasks = ["classification", "regression"] as const;
/** The tasks of writing one text after another. */
const completionTasks = ["causal-lm", "seq2seq-lm"] as const;

/** The first rule whose keys a row has, among those for the task, is the file's format. */
const formatRules: readonly FormatRule[] = [
  {
    name: "messages",
    required: ["messages"],
    optional: ["tools"],
    tasks: ["causal-lm"],
    read: readChat,
  },
  {
    name: "prompt-completion",
    required: ["prompt", "completion"],
    tasks: completionTasks,
    read: (row) => ({
      row,
      kind: "completion",
      prompt: text(row, "prompt"),
      completion: text(row, "completion"),
    }),
  },
  {
    name: "alpaca",
    required: ["instruction", "output"],
    optional: ["input"],
    tasks: completionTasks,
    read: (row, alpaca) => {
      const input =
        Object.hasOwn(row.values, "input") && row.values["input"] !== null ? text(row, "input") : "";
      const prompt = alpacaPrompt(text(row, "instruction"), input, alpaca);
      return { row, kind: "completion", prompt, completion: text(row, "output") };
    },
  },
  {
    name: "e2e",
    required: ["mr", "ref"],
    tasks: completionTasks,
    // The line break tells the model where the meaning representation ends.
    read: (row) => ({
      row,
      kind: "completion",
      prompt: `${text(row, "mr")}\n`,
      completion: text(row, "ref"),
    }),
  },
  ...pairColumns.map(([first, second]): FormatRule => ({
    name: "labelled-pairs",
    required: [first, second, "label"],
    tasks: labelTasks,
    read: (row) => ({
      row,
      kind: "labelled",
      first: text(row, first),
      second: text(row, second),
      label: label(row),
    }),
  })),
  ...["sentence", "text"].map((column): FormatRule => ({
    name: "labelled-text",
    required: [column, "label"],
    tasks: labelTasks,
    read: (row) => ({ row, kind: "labelled", first: text(row, column), label: label(row) }),
  })),
  ...pairColumns.map(([first, second]): FormatRule => ({
    name: "label-sets-of-pairs",
    required: [first, second, "labels"],
    tasks: ["multi-label-classification"],
    read: (row) => ({
      row,
      kind: "label-set",
      first: text(row, first),
      second: text(row, second),
      labels: labelSet(row),
    }),
  })),
  ...["sentence", "text"].map((column): FormatRule => ({
    name: "label-sets",
    required: [column, "labels"],
    tasks: ["multi-label-classification"],
    read: (row) => ({ row, kind: "label-set", first: text(row, column), labels: labelSet(row) }),
  })),
  ...["tags", "ner_tags", "labels"].map((column): FormatRule => ({
    name: "tagged-words",
    required: ["tokens", column],
    tasks: ["token-classification"],
    read: (row) => readTagged(row, column),
  })),
  {
    name: "questions",
    required: ["question", "context", "answers"],
    tasks: ["question-answering"],
    read: readQuestion,
  },
  ...["text", "sentence"].map((column): FormatRule => ({
    name: "text",
    required: [column],
    tasks: ["causal-lm", "masked-lm"],
    read: (row) => ({ row, kind: "text", text: text(row, column) }),
  })),
];

/**
 * Recognises the format of rows by the keys of the first one and reads them all by it; further keys are
 * ignored.
 *
 * @param task Only formats that can serve the task are considered.
 * @param options `alpaca` chooses how Alpaca prompts end.
 * @throws DeltafitError `data-invalid` naming the keys found and the formats possible, or the row that breaks
 * the format.
 */
export function parseRows(
  rows: readonly Row[],
  task: Task,
  options: { readonly alpaca?: AlpacaVariant } = {},
): ParsedData {
  const [first] = rows;
  if (first === undefined) throw new DeltafitError("data-invalid", "The data holds no rows.");
  const keys = Object.keys(first.values);
  const candidates = formatRules.filter((rule) => rule.tasks.includes(task));
  const rule = candidates.find(({ required }) => required.every((key) => keys.includes(key)));
  if (rule === undefined) throw unknownFormat(first, keys, candidates, task);
  const read = [...rule.required, ...(rule.optional ?? [])];
  const used = keys.filter((key) => read.includes(key));
  const ignored = keys.filter((key) => !read.includes(key));
  const rest = ignored.length === 0 ? "" : `, ignoring ${ignored.map(quote).join(", ")}`;
  const variant = options.alpaca ?? "stanford";
  const name = rule.name === "alpaca" ? `alpaca (${variant} prompt)` : rule.name;
  const decision = `${name}, read from ${used.map(quote).join(", ")}${rest}`;
  return {
    format: { name: rule.name, used, ignored, decision },
    records: rows.map((row) => rule.read(row, variant)),
  };
}

function unknownFormat(
  row: Row,
  keys: readonly string[],
  rules: readonly FormatRule[],
  task: Task,
): DeltafitError {
  const forms = [...new Set(rules.map((rule) => rule.required.join(" + ")))];
  const found = keys.length === 0 ? "none" : keys.slice(0, 20).map(quote).join(", ");
  const message = `${row.where}: expected the keys of a format for ${task}, found ${found}.`;
  return new DeltafitError("data-invalid", message, `Formats for ${task}: ${forms.join("; ")}.`);
}

function wrongValue(row: Row, key: string, expected: string, value: unknown): DeltafitError {
  const found = Object.hasOwn(row.values, key) ? shown(value) : "nothing";
  return new DeltafitError(
    "data-invalid",
    `${row.where}: ${quote(key)}: expected ${expected}, found ${found}.`,
  );
}

function shown(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

function text(row: Row, key: string): string {
  const value = Object.hasOwn(row.values, key) ? row.values[key] : undefined;
  if (typeof value === "string") return value;
  throw wrongValue(row, key, "text", value);
}

function label(row: Row): string | number {
  const value = Object.hasOwn(row.values, "label") ? row.values["label"] : undefined;
  if (
    (typeof value === "string" && value.trim() !== "") ||
    (typeof value === "number" && Number.isFinite(value))
  )
    return value;
  throw wrongValue(row, "label", "a number or a name", value);
}

function labelSet(row: Row): readonly (string | number)[] | readonly boolean[] {
  const value = Object.hasOwn(row.values, "labels") ? row.values["labels"] : undefined;
  const isFlags = (list: readonly unknown[]): list is boolean[] =>
    list.length > 0 && list.every((entry) => typeof entry === "boolean");
  const isLabels = (list: readonly unknown[]): list is (string | number)[] =>
    list.every((entry) => (typeof entry === "string" && entry.trim() !== "") || Number.isInteger(entry));
  if (Array.isArray(value) && (isFlags(value) || isLabels(value))) return value;
  throw wrongValue(row, "labels", "an array of names or ids, or of a true or false for every label", value);
}

/** SQuAD's answers: the texts, and where each begins in the context, counted in characters. */
function readQuestion(row: Row): DataRecord {
  const { answers } = row.values;
  const context = text(row, "context");
  const expected = 'an object with the arrays "text" and "answer_start" of one length';
  if (typeof answers !== "object" || answers === null || !("text" in answers && "answer_start" in answers))
    throw wrongValue(row, "answers", expected, answers);
  const { text: texts, answer_start: starts } = answers;
  if (!Array.isArray(texts) || !Array.isArray(starts) || texts.length !== starts.length)
    throw wrongValue(row, "answers", expected, answers);
  const found = texts.map((answer: unknown, index) => {
    const start: unknown = starts[index];
    if (typeof answer !== "string" || typeof start !== "number" || !Number.isInteger(start) || start < 0)
      throw wrongValue(row, "answers", expected, answers);
    return { text: answer, start: placeOf(row, context, answer, start) };
  });
  return { row, kind: "question", question: text(row, "question"), context, answers: found };
}

/** Where an answer begins in UTF-16 units: Python counts code points, JavaScript these units. */
function placeOf(row: Row, context: string, answer: string, start: number): number {
  const place = Array.from(context).slice(0, start).join("").length;
  if (context.startsWith(answer, place)) return place;
  if (context.startsWith(answer, start)) return start;
  throw new DeltafitError(
    "data-invalid",
    `${row.where}: expected the answer ${quote(answer)} at character ${start} of the context, found ${quote(context.slice(place, place + answer.length))}.`,
    "Count answer_start in characters from the beginning of the context, from 0.",
  );
}

function readTagged(row: Row, column: string): DataRecord {
  const { tokens: words, [column]: tags } = row.values;
  const isTexts = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((entry) => typeof entry === "string");
  const isTags = (value: unknown): value is (string | number)[] =>
    Array.isArray(value) && value.every((entry) => typeof entry === "string" || Number.isInteger(entry));
  if (!isTexts(words)) throw wrongValue(row, "tokens", "an array of texts", words);
  if (!isTags(tags)) throw wrongValue(row, column, "an array of names or integers", tags);
  if (words.length === tags.length) return { row, kind: "tagged", words, tags };
  const found = `${tags.length} tags and ${words.length} tokens`;
  throw new DeltafitError("data-invalid", `${row.where}: expected as many tags as tokens, found ${found}.`);
}

function readChat(row: Row): DataRecord {
  const { messages, tools } = row.values;
  if (!Array.isArray(messages)) throw wrongValue(row, "messages", "an array of messages", messages);
  const read = messages.map((message: unknown, index) => readMessage(row, message, index));
  if (tools === undefined || tools === null) return { row, kind: "chat", messages: read };
  if (!Array.isArray(tools)) throw wrongValue(row, "tools", "an array", tools);
  return { row, kind: "chat", messages: read, tools };
}

function readMessage(row: Row, message: unknown, index: number): ChatMessage {
  if (typeof message === "object" && message !== null && "role" in message) {
    const { role } = message;
    const content = "content" in message ? message.content : null;
    if (typeof role === "string" && (typeof content === "string" || content === null))
      return { ...message, role, content };
  }
  const expected = 'expected an object with the texts "role" and "content"';
  throw new DeltafitError(
    "data-invalid",
    `${row.where}: message ${index + 1}: ${expected}, found ${shown(message)}.`,
  );
}
