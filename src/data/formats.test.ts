import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { alpacaPrompt } from "./alpaca.ts";
import type { Task } from "../models/forward.ts";
import { parseRows } from "./formats.ts";
import type { Row } from "./read-rows.ts";

const rowsOf = (...values: readonly Record<string, unknown>[]): Row[] =>
  values.map((value, index) => ({ line: index + 1, where: `"d.jsonl", line ${index + 1}`, values: value }));

/** The decision, and the first record without its row. */
function parsed(values: Record<string, unknown>, task: Task): unknown {
  const { format, records } = parseRows(rowsOf(values), task);
  const { row: _row, ...record } = records[0] ?? {};
  return [format.decision, record];
}

describe("recognition", () => {
  test.each<[Task, Record<string, unknown>, string, Record<string, unknown>]>([
    ["causal-lm", { text: "a", id: 3 }, 'text, read from "text", ignoring "id"', { kind: "text", text: "a" }],
    [
      "causal-lm",
      { text: "a", label: 1 },
      'text, read from "text", ignoring "label"',
      { kind: "text", text: "a" },
    ],
    ["masked-lm", { text: "a" }, 'text, read from "text"', { kind: "text", text: "a" }],
    [
      "causal-lm",
      { prompt: "p", completion: "c", text: "t" },
      'prompt-completion, read from "prompt", "completion", ignoring "text"',
      { kind: "completion", prompt: "p", completion: "c" },
    ],
    [
      "causal-lm",
      { mr: "m", ref: "r" },
      'e2e, read from "mr", "ref"',
      { kind: "completion", prompt: "m\n", completion: "r" },
    ],
    [
      "causal-lm",
      { instruction: "i", input: "x", output: "o" },
      'alpaca (stanford prompt), read from "instruction", "input", "output"',
      { kind: "completion", prompt: alpacaPrompt("i", "x"), completion: "o" },
    ],
    [
      "classification",
      { text: "a", label: 1 },
      'labelled-text, read from "text", "label"',
      { kind: "labelled", first: "a", label: 1 },
    ],
    [
      "regression",
      { sentence: "a", label: "2.5", idx: 0 },
      'labelled-text, read from "sentence", "label", ignoring "idx"',
      { kind: "labelled", first: "a", label: "2.5" },
    ],
    ...[
      ["sentence1", "sentence2"],
      ["premise", "hypothesis"],
      ["question1", "question2"],
      ["text_a", "text_b"],
    ].map(([first = "", second = ""]): [Task, Record<string, unknown>, string, Record<string, unknown>] => [
      "classification",
      { [first]: "a", [second]: "b", label: "yes" },
      `labelled-pairs, read from "${first}", "${second}", "label"`,
      { kind: "labelled", first: "a", second: "b", label: "yes" },
    ]),
    [
      "causal-lm",
      {
        messages: [
          { role: "user", content: "u" },
          { role: "assistant", content: null, tool_calls: [] },
        ],
        tools: [{}],
      },
      'messages, read from "messages", "tools"',
      {
        kind: "chat",
        messages: [
          { role: "user", content: "u" },
          { role: "assistant", content: null, tool_calls: [] },
        ],
        tools: [{}],
      },
    ],
    [
      "token-classification",
      { tokens: ["a", "b"], tags: ["O", "B"] },
      'tagged-words, read from "tokens", "tags"',
      { kind: "tagged", words: ["a", "b"], tags: ["O", "B"] },
    ],
    [
      "token-classification",
      { id: "0", tokens: ["a"], pos_tags: [7], ner_tags: [3] },
      'tagged-words, read from "tokens", "ner_tags", ignoring "id", "pos_tags"',
      { kind: "tagged", words: ["a"], tags: [3] },
    ],
    [
      "multi-label-classification",
      { text: "a", labels: ["x", "y"] },
      'label-sets, read from "text", "labels"',
      { kind: "label-set", first: "a", labels: ["x", "y"] },
    ],
    [
      "multi-label-classification",
      { premise: "a", hypothesis: "b", labels: [true, false] },
      'label-sets-of-pairs, read from "premise", "hypothesis", "labels"',
      { kind: "label-set", first: "a", second: "b", labels: [true, false] },
    ],
    [
      "question-answering",
      // Python counts the boat as one character.
      { question: "q", context: "🛶 b b", answers: { text: ["b"], answer_start: [2] } },
      'questions, read from "question", "context", "answers"',
      { kind: "question", question: "q", context: "🛶 b b", answers: [{ text: "b", start: 3 }] },
    ],
  ])("%s: %j", (task, values, decision, record) => {
    expect(parsed(values, task)).toEqual([decision, record]);
  });
});

describe("Alpaca prompts", () => {
  test("with input, in Stanford's spelling", () => {
    expect(alpacaPrompt("Add.", "1 2")).toBe(
      "Below is an instruction that describes a task, paired with an input that provides further context. " +
        "Write a response that appropriately completes the request.\n\n" +
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:",
    );
  });

  test("without input, with the line break of torchtune and axolotl", () => {
    expect(alpacaPrompt("Add.", "", "response-newline")).toBe(
      "Below is an instruction that describes a task. " +
        "Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n",
    );
  });

  test("the variant is part of the decision", () => {
    const rows = rowsOf({ instruction: "i", output: "o" });
    const { format, records } = parseRows(rows, "causal-lm", { alpaca: "response-newline" });
    expect(format.decision).toBe('alpaca (response-newline prompt), read from "instruction", "output"');
    expect(records[0]).toMatchObject({ prompt: alpacaPrompt("i", "", "response-newline") });
  });
});

test("refusals name the row, the key, and what was expected", () => {
  const refused = (task: Task, ...values: readonly Record<string, unknown>[]) =>
    failureOf(() => parseRows(rowsOf(...values), task));
  expect(refused("classification", { review: "a", stars: 3 })).toEqual({
    code: "data-invalid",
    message: '"d.jsonl", line 1: expected the keys of a format for classification, found "review", "stars".',
    hint:
      "Formats for classification: sentence1 + sentence2 + label; premise + hypothesis + label; " +
      "question1 + question2 + label; question + sentence + label; text_a + text_b + label; sentence + label; text + label.",
  });
  expect(
    [
      refused("causal-lm", { text: "a" }, { text: 3 }),
      refused("causal-lm", { text: "a" }, { prompt: "b" }),
      refused("classification", { text: "a", label: null }),
      refused("token-classification", { tokens: ["a"], tags: [] }),
      refused("token-classification", { tokens: "a", tags: [] }),
      refused("multi-label-classification", { text: "a", labels: ["x", true] }),
      refused("question-answering", { question: "q", context: "c", answers: ["c"] }),
      refused("question-answering", {
        question: "q",
        context: "c",
        answers: { text: ["c"], answer_start: [-1] },
      }),
      refused("question-answering", {
        question: "q",
        context: "ab",
        answers: { text: ["c"], answer_start: [1] },
      }),
      refused("causal-lm", { messages: "hello" }),
      refused("causal-lm", { messages: [{ role: "user", content: ["x"] }] }),
      refused("causal-lm"),
    ].map(({ message }) => message),
  ).toMatchInlineSnapshot(`
    [
      ""d.jsonl", line 2: "text": expected text, found 3.",
      ""d.jsonl", line 2: "text": expected text, found nothing.",
      ""d.jsonl", line 1: "label": expected a number or a name, found null.",
      ""d.jsonl", line 1: expected as many tags as tokens, found 0 tags and 1 tokens.",
      ""d.jsonl", line 1: "tokens": expected an array of texts, found "a".",
      ""d.jsonl", line 1: "labels": expected an array of names or ids, or of a true or false for every label, found an array of 2.",
      ""d.jsonl", line 1: "answers": expected an object with the arrays "text" and "answer_start" of one length, found an array of 1.",
      ""d.jsonl", line 1: "answers": expected an object with the arrays "text" and "answer_start" of one length, found an object.",
      ""d.jsonl", line 1: expected the answer "c" at character 1 of the context, found "b".",
      ""d.jsonl", line 1: "messages": expected an array of messages, found "hello".",
      ""d.jsonl", line 1: message 1: expected an object with the texts "role" and "content", found an object.",
      "The data holds no rows.",
    ]
  `);
});
