import path from "node:path";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { loadTokenizer } from "../files/tokenizer.ts";
import { describeExample } from "./describe-example.ts";
import type { DatasetOptions } from "./examples.ts";
import { tokenizeData } from "./examples.ts";
import type { Task } from "../models/forward.ts";
import { parseRows } from "./formats.ts";
import type { TokenizedExample } from "./tokenized-example.ts";

const fixtures = path.resolve(import.meta.dirname, "../../test/fixtures/tokenizers");
const byteLevel = loadTokenizer(path.join(fixtures, "byte-level"));
const byteFallback = loadTokenizer(path.join(fixtures, "byte-fallback"));
const unigram = loadTokenizer(path.join(fixtures, "unigram"));
const wordPiece = loadTokenizer(path.join(fixtures, "word-piece"));

function dataset(
  task: Task,
  tokenizer: Tokenizer,
  values: readonly Record<string, unknown>[],
  options: Partial<DatasetOptions> = {},
) {
  const rows = values.map((value, index) => ({
    line: index + 1,
    where: `"d.jsonl", line ${index + 1}`,
    values: value,
  }));
  return tokenizeData(parseRows(rows, task), task, tokenizer, { sequenceLength: 64, ...options });
}

/** Tokens one after the other; `*` behind those with their own id as label, `=label` behind those with another. */
function shown(example: TokenizedExample | undefined, tokenizer: Tokenizer): string {
  if (example === undefined) return "none";
  return example.inputIds
    .map((id, position) => {
      const label = "labels" in example ? example.labels[position] : -100;
      const mark = label === -100 ? "" : label === id ? "*" : `=${label}`;
      return `${tokenizer.idToToken(id) ?? ""}${mark}`;
    })
    .join(" ");
}

describe("causal language models", () => {
  test("text is trained on to the end of sequence, but for what nothing predicts", () => {
    const values = [{ text: "quiet river" }];
    expect(shown(dataset("causal-lm", byteLevel, values).examples[0], byteLevel)).toBe(
      "qu iet* Ġr* iver* <|endoftext|>*",
    );
    expect(shown(dataset("causal-lm", byteFallback, values).examples[0], byteFallback)).toBe(
      "<s> ▁quiet* ▁r* iver* </s>*",
    );
  });

  test("of prompt and completion the completion is trained on, on demand the prompt as well", () => {
    const values = [{ prompt: "quiet:", completion: " boats" }];
    const masked = dataset("causal-lm", byteLevel, values);
    expect(shown(masked.examples[0], byteLevel)).toBe("qu iet : Ġb* oat* s* <|endoftext|>*");
    expect(masked.report.supervisedTokens).toBe(4);
    const whole = dataset("causal-lm", byteLevel, values, { trainOnPrompt: true });
    expect(shown(whole.examples[0], byteLevel)).toBe("qu iet* :* Ġb* oat* s* <|endoftext|>*");
  });

  test("prompt and completion are encoded apart", () => {
    const values = [{ prompt: " qui", completion: "et" }];
    const joined = byteLevel.encode(" quiet");
    const [example] = dataset("causal-lm", byteLevel, values).examples;
    expect(joined).toHaveLength(1);
    expect(example?.inputIds).toEqual([...byteLevel.encode(" qui"), ...byteLevel.encode("et"), 0]);
  });

  test("an end of sequence in the data is not doubled; another may be given", () => {
    const [twice] = dataset("causal-lm", byteLevel, [{ text: "a<|endoftext|>" }]).examples;
    expect(twice?.inputIds).toEqual([...byteLevel.encode("a"), 0]);
    const [other] = dataset("causal-lm", byteLevel, [{ text: "a" }], { eosTokenId: 2 }).examples;
    expect(other?.inputIds).toEqual([...byteLevel.encode("a"), 2]);
  });

  test("of a conversation the answers are trained on", () => {
    const messages = [
      { role: "user", content: "quiet" },
      { role: "assistant", content: "12" },
    ];
    const [example] = dataset("causal-lm", byteLevel, [{ messages }]).examples;
    expect(shown(example, byteLevel)).toMatch(/^<\|im_start\|> [^*]* 12\* <\|im_end\|>\* Ċ$/);
  });

  test("the report counts what was cut and names what was dropped", () => {
    const { examples, report } = dataset(
      "causal-lm",
      byteLevel,
      [
        { prompt: " quiet quiet quiet", completion: " quiet" },
        { prompt: " quiet", completion: " quiet quiet quiet" },
        { prompt: "quiet", completion: "" },
        { prompt: "", completion: " quiet" },
      ],
      { sequenceLength: 3 },
    );
    expect(examples.map((example) => shown(example, byteLevel))).toEqual([
      "Ġquiet Ġquiet* Ġquiet*",
      "Ġquiet <|endoftext|>*",
    ]);
    expect(report).toEqual({
      format: {
        name: "prompt-completion",
        used: ["prompt", "completion"],
        ignored: [],
        decision: 'prompt-completion, read from "prompt", "completion"',
      },
      examples: 2,
      tokens: 5,
      supervisedTokens: 3,
      truncated: 1,
      longest: 3,
      dropped: [
        { line: 1, reason: "the sequence length leaves nothing to train on" },
        { line: 3, reason: "it has no text to train on" },
      ],
    });
  });
});

describe("classification", () => {
  test("a text, and a pair with its types", () => {
    const single = dataset("classification", wordPiece, [
      { text: "Quiet", label: "b" },
      { text: "", label: "a" },
    ]);
    expect(single.examples).toEqual([
      { ...wordPiece.addSpecialTokens(wordPiece.encode("quiet", { addSpecialTokens: false })), label: 1 },
      { inputIds: [2, 3], tokenTypeIds: [0, 0], label: 0 },
    ]);
    expect(single.labels).toEqual({ count: 2, names: ["a", "b"] });
    const [pair] = dataset("classification", wordPiece, [
      { premise: "quiet", hypothesis: "boats", label: 2 },
    ]).examples;
    expect(pair).toEqual({ ...wordPiece.encodePair("quiet", "boats"), label: 2 });
  });

  test.each([
    [2, 9, 7, "quiet quiet", "the the"],
    [9, 2, 7, "quiet quiet", "the the"],
    [9, 9, 8, "quiet quiet", "the the the"],
    [1, 9, 8, "quiet", "the the the the"],
  ])(
    "of %i and %i tokens in a length of %i the longer is cut first",
    (first, second, sequenceLength, a, b) => {
      const values = { sentence1: "quiet ".repeat(first), sentence2: "the ".repeat(second), label: 0 };
      const { examples, report } = dataset("classification", wordPiece, [values], { sequenceLength });
      expect(examples).toEqual([{ ...wordPiece.encodePair(a, b), label: 0 }]);
      expect(report.truncated).toBe(1);
    },
  );

  test("regression has numbers as labels", () => {
    const { examples, labels } = dataset("regression", wordPiece, [{ text: "quiet", label: "2.5" }]);
    expect(examples[0]).toMatchObject({ label: 2.5 });
    expect(labels).toBeUndefined();
  });
});

describe("a tokenizer that cuts at the beginning", () => {
  const fromLeft = (tokenizer: Tokenizer): Tokenizer => ({ ...tokenizer, truncationSide: "left" });
  const idsOf = (
    task: Task,
    tokenizer: Tokenizer,
    values: Record<string, unknown>,
    sequenceLength: number,
  ) => {
    const { examples, report } = dataset(task, fromLeft(tokenizer), [values], { sequenceLength });
    expect(report.truncated).toBe(1);
    return shown(examples[0], tokenizer);
  };

  // The kept tokens are those of transformers 5.23 with truncation_side="left".
  test("keeps the end of texts and of both texts of a pair, between their special tokens", () => {
    const text = "Numbers such as quiet boats and gulls";
    expect(idsOf("classification", wordPiece, { text, label: 0 }, 6)).toBe(
      wordPiece
        .encode(text)
        .filter((_, place, all) => place === 0 || place >= all.length - 5)
        .map((id) => wordPiece.idToToken(id))
        .join(" "),
    );
    const pair = {
      sentence1: "a quiet river",
      sentence2: "quiet villages in the quiet of the morning",
      label: 0,
    };
    const first = wordPiece.encode(pair.sentence1, { addSpecialTokens: false });
    const second = wordPiece.encode(pair.sentence2, { addSpecialTokens: false }).slice(-5);
    expect(idsOf("classification", wordPiece, pair, 11)).toBe(
      wordPiece
        .addSpecialTokens(first, second)
        .inputIds.map((id) => wordPiece.idToToken(id))
        .join(" "),
    );
  });

  test("keeps the end of what is trained on, behind the tokens in front", () => {
    const values = { prompt: "quiet river", completion: " boats" };
    expect(idsOf("causal-lm", byteFallback, values, 4)).toBe("<s> oat* s* </s>*");
    expect(idsOf("causal-lm", byteLevel, values, 4)).toBe("Ġb oat* s* <|endoftext|>*");
    expect(idsOf("masked-lm", wordPiece, { text: "quiet boats quiet" }, 4)).toBe("[CLS] ##ats* quiet* [SEP]");
    expect(
      idsOf("token-classification", wordPiece, { tokens: ["a", "boats", "quiet"], tags: ["B", "O", "I"] }, 4),
    ).toBe("[CLS] ##ats quiet=1 [SEP]");
  });
});

test("of a tagged word the first piece has the label", () => {
  const values = [{ tokens: ["Fuchs", "quiet", "boatsboats"], tags: ["B", "O", "O"] }];
  const { examples, labels } = dataset("token-classification", wordPiece, values);
  expect(shown(examples[0], wordPiece)).toBe("[CLS] fuch=0 ##s quiet=1 bo=1 ##ats ##b ##o ##ats [SEP]");
  expect(labels).toEqual({ count: 2, names: ["B", "O"] });
});

test("labels are the ids that hold, by name, id or flag", () => {
  const sets = (rows: readonly unknown[]) => {
    const values = rows.map((labels) => ({ text: "quiet", labels }));
    const { examples, labels, report } = dataset("multi-label-classification", wordPiece, values);
    expect(report.supervisedTokens).toBe(rows.length);
    return [labels, examples.map((example) => ("labelSet" in example ? example.labelSet : undefined))];
  };
  expect(sets([["y", "x"], [], ["z", "z"]])).toEqual([
    { count: 3, names: ["x", "y", "z"] },
    [[0, 1], [], [2]],
  ]);
  expect(sets([[3, 1], [0]])).toEqual([{ count: 4, names: undefined }, [[1, 3], [0]]]);
  expect(
    sets([
      [true, false, true],
      [false, false, false],
    ]),
  ).toEqual([{ count: 3, names: undefined }, [[0, 2], []]]);
  expect(failureOf(() => sets([[true, false], [true]])).message).toBe(
    '"d.jsonl", line 2: expected true or false for each of 2 labels, found 1 of them.',
  );
});

test("words of byte-level tokenizers begin with a space, those of others bring it themselves", () => {
  const values = [{ tokens: ["quiet", "quiet"], tags: [1, 0] }];
  expect(shown(dataset("token-classification", byteLevel, values).examples[0], byteLevel)).toBe(
    "Ġquiet=1 Ġquiet=0",
  );
  expect(shown(dataset("token-classification", byteFallback, values).examples[0], byteFallback)).toBe(
    "<s> ▁quiet=1 ▁quiet=0",
  );
});

test("for masked language models all but special tokens have their own ids as labels", () => {
  const [example] = dataset("masked-lm", wordPiece, [{ text: "quiet [SEP] quiet" }], {
    sequenceLength: 4,
  }).examples;
  expect(shown(example, wordPiece)).toBe("[CLS] quiet* [SEP] [SEP]");
});

test("refusals name the row", () => {
  const messageOf = (action: () => unknown): string => failureOf(action, fixtures).message;
  const conversation = [{ role: "user", content: "a" }];
  expect([
    messageOf(() => dataset("causal-lm", byteLevel, [{ text: "" }, { text: "" }])),
    messageOf(() => dataset("causal-lm", byteLevel, [{ text: "a" }, { text: "\ud800" }])),
    messageOf(() => dataset("causal-lm", byteLevel, [{ messages: conversation }])),
    messageOf(() => dataset("causal-lm", wordPiece, [{ text: "a" }])),
    messageOf(() => dataset("classification", wordPiece, [{ text: "a", label: 3 }], { labelCount: 2 })),
    messageOf(() => dataset("classification", wordPiece, [{ text: "a", label: 0 }], { sequenceLength: 3 })),
    messageOf(() =>
      tokenizeData(
        parseRows([{ line: 1, where: "row", values: { text: "" } }], "causal-lm"),
        "masked-lm",
        wordPiece,
        { sequenceLength: 9 },
      ),
    ),
  ]).toMatchInlineSnapshot(`
    [
      "All 2 rows were dropped; the first ("d.jsonl", line 1): it has no text to train on.",
      ""d.jsonl", line 2: "FOLDER/byte-level/tokenizer.json" cannot encode the text "\\ud800": it holds half of a surrogate pair, which is no character.",
      "All 1 rows were dropped; the first ("d.jsonl", line 1): it has no turn of the assistant to train on.",
      ""d.jsonl", line 1: The tokenizer "FOLDER/word-piece" names no end-of-sequence token, with which examples end.",
      ""d.jsonl", line 1: expected a label from 0 to 1, found "3".",
      "Sequence length: expected an integer above 3, the special tokens of a pair, found 3.",
      "All 1 rows were dropped; the first (row): it has no text.",
    ]
  `);
});

test("a tokenizer that never ends is stopped, and the row named", () => {
  const endless: Tokenizer = {
    ...byteLevel,
    encode: (text) => {
      while (text === "b");
      return [9];
    },
  };
  expect(failureOf(() => dataset("causal-lm", endless, [{ text: "a" }, { text: "b" }]))).toEqual({
    code: "tokenizer-mismatch",
    message: '"d.jsonl", line 2: encoding the rows up to here took more than 2000 ms.',
    hint: "A regular expression in tokenizer.json or a loop in the chat template may be at fault.",
  });
}, 20_000);

test("an example is shown token by token", () => {
  const [completion] = dataset("causal-lm", byteLevel, [{ prompt: "quiet:", completion: " boats" }]).examples;
  const [labelled] = dataset("classification", wordPiece, [{ text: "quiet river", label: 1 }]).examples;
  if (completion === undefined || labelled === undefined) throw new Error("expected examples");
  expect(describeExample(completion, byteLevel).join("\n")).toMatchInlineSnapshot(`
    "token         |  id | label
    qu            | 269 |
    iet           | 280 |
    :             |  29 |
    Ġb            | 270 | trained
    oat           | 392 | trained
    s             |  86 | trained
    <|endoftext|> |   0 | trained"
  `);
  expect(describeExample(labelled, wordPiece, 2).join("\n")).toMatchInlineSnapshot(`
    "token |  id | label
    [CLS] |   2 |
    quiet | 136 |
    ... 2 more tokens
    label of the example: 1"
  `);
});

describe("encoder-decoders", () => {
  const values = [{ prompt: "quiet river", completion: "boats" }];
  const names = (ids: readonly number[], tokenizer: Tokenizer) =>
    ids.map((id) => tokenizer.idToToken(id)).join(" ");
  const pairOf = (tokenizer: Tokenizer, options: Partial<DatasetOptions> = {}) => {
    const [example] = dataset("seq2seq-lm", tokenizer, values, options).examples;
    if (!example || !("targets" in example)) throw new Error("expected a pair");
    return [names(example.inputIds, tokenizer), names(example.targets, tokenizer)];
  };

  test("prompt and completion each have their special tokens, and what is written ends", () => {
    expect(pairOf(unigram)).toMatchInlineSnapshot(`
      [
        "<s> ▁ qu ie t ▁ri ver </s>",
        "<s> ▁bo at s </s>",
      ]
    `);
    expect(pairOf(byteLevel)).toMatchInlineSnapshot(`
      [
        "qu iet Ġr iver",
        "bo at s <|endoftext|>",
      ]
    `);
    const { report, examples } = dataset("seq2seq-lm", byteLevel, values);
    expect([report.tokens, report.supervisedTokens, report.truncated]).toEqual([8, 4, 0]);
    expect(describeExample(examples[0]!, byteLevel).join("\n")).toMatchInlineSnapshot(`
      "token |  id | label
      qu    | 269 |
      iet   | 280 |
      Ġr    | 293 |
      iver  | 376 |

      written after reading it:
      token         |  id | label
      bo            | 297 | trained
      at            | 357 | trained
      s             |  86 | trained
      <|endoftext|> |   0 | trained"
    `);
  });

  test("each is cut by itself, and keeps its end", () => {
    expect(pairOf(byteLevel, { sequenceLength: 3 })).toMatchInlineSnapshot(`
      [
        "qu iet Ġr",
        "bo at <|endoftext|>",
      ]
    `);
    expect(dataset("seq2seq-lm", byteLevel, values, { sequenceLength: 3 }).report.truncated).toBe(1);
  });

  test("there is nothing to train on in prompts, and no other kind of data", () => {
    expect(failureOf(() => dataset("seq2seq-lm", byteLevel, values, { trainOnPrompt: true })))
      .toMatchInlineSnapshot(`
      {
        "code": "usage-invalid",
        "hint": undefined,
        "message": "An encoder-decoder cannot be trained on prompts: it reads them and predicts none of their tokens.",
      }
    `);
    expect(failureOf(() => dataset("seq2seq-lm", byteLevel, [{ text: "quiet" }]))).toMatchInlineSnapshot(`
      {
        "code": "data-invalid",
        "hint": "Formats for seq2seq-lm: prompt + completion; instruction + output; mr + ref.",
        "message": ""d.jsonl", line 1: expected the keys of a format for seq2seq-lm, found "text".",
      }
    `);
  });
});
