import path from "node:path";
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { loadTokenizer } from "../files/tokenizer.ts";
import { encodeQuestion } from "./answer-windows.ts";
import type { QuestionRecord } from "./answer-windows.ts";
import type { SpanExample } from "./tokenized-example.ts";

const tokenizer = loadTokenizer(
  path.resolve(import.meta.dirname, "../../test/fixtures/tokenizers/word-piece"),
);
const context = "the quiet river is a river of boats";

function question(answer: string): QuestionRecord {
  const start = context.indexOf(answer);
  const row = { line: 1, where: '"d.jsonl", line 1', values: {} };
  const answers = answer === "" ? [] : [{ text: answer, start }];
  return { row, kind: "question", question: "river", context, answers };
}

/** The characters that an example's span stands for, and those of its window. */
function shown({ span, window, inputIds }: SpanExample): { answer: string; window: string; tokens: number } {
  const text = (first: number, last: number) =>
    context.slice(window.offsets[first]?.[0], window.offsets[last]?.[1]);
  const own = (position: number) => position - window.contextStart;
  return {
    answer: span.start === 0 ? "" : text(own(span.start), own(span.end)),
    window: text(0, window.offsets.length - 1),
    tokens: inputIds.length,
  };
}

test("a short context is one example, with its answer", () => {
  const [example, ...others] = encodeQuestion(question("quiet river"), tokenizer, 64, undefined);
  expect(others).toEqual([]);
  expect(example && shown(example).answer).toBe("quiet river");
  expect(example && shown(example).window).toBe(context);
  const types = example?.tokenTypeIds ?? [];
  expect(types.indexOf(1)).toBe(example?.window.contextStart);
});

test("a long context is cut into windows that overlap, and those without the answer point to the first token", () => {
  const examples = encodeQuestion(question("river of"), tokenizer, 9, 3);
  expect(examples.map(shown)).toMatchInlineSnapshot(`
    [
      {
        "answer": "",
        "tokens": 9,
        "window": "the quiet river is",
      },
      {
        "answer": "",
        "tokens": 9,
        "window": "river is a river",
      },
      {
        "answer": "river of",
        "tokens": 9,
        "window": "s a river of bo",
      },
      {
        "answer": "river of",
        "tokens": 8,
        "window": "river of boats",
      },
    ]
  `);
});

test("a question without an answer points to the first token", () => {
  expect(encodeQuestion(question(""), tokenizer, 64, undefined).map(({ span }) => span)).toEqual([
    { start: 0, end: 0 },
  ]);
});

test("a question that leaves no room has no example", () => {
  expect(encodeQuestion(question("quiet"), tokenizer, 4, undefined)).toEqual([]);
});

test("windows must have something new", () => {
  expect(failureOf(() => encodeQuestion(question("quiet"), tokenizer, 8, 60))).toMatchInlineSnapshot(`
    {
      "code": "usage-invalid",
      "hint": "Lower the stride, or raise the sequence length.",
      "message": "Windows that share 60 tokens would have no new ones: expected below 4, what the sequence length leaves beside the question.",
    }
  `);
});
