import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readJsonFile } from "./json.ts";
import { assertTokenizerFits, loadTokenizer } from "./tokenizer.ts";

const repository = path.resolve(import.meta.dirname, "../..");
const fixtures = path.join(repository, "test/fixtures/tokenizers");
const shared = process.env["DELTAFIT_SHARED"] ?? path.resolve(repository, "../shared");

const expectationSchema = z.object({
  vocabularySize: z.number(),
  texts: z.array(
    z.object({
      text: z.string(),
      ids: z.array(z.number()),
      special: z.array(z.number()),
      decoded: z.string(),
      plain: z.string(),
    }),
  ),
  pairs: z.array(
    z.object({
      first: z.string(),
      second: z.string(),
      ids: z.array(z.number()),
      typeIds: z.array(z.number()),
    }),
  ),
});

const readExpectation = (name: string) =>
  expectationSchema.parse(readJsonFile(path.join(fixtures, `expected-${name}.json`)));

const fixture = (name: string) => loadTokenizer(path.join(fixtures, name));

/** Texts that the library encodes otherwise than Python's tokenizers; `make_tokenizers.py` has the whole list. */
const knownEncodings: Readonly<Record<string, readonly string[]>> = {
  // Of two segmentations with the same score the library takes the other one.
  unigram: ["\n\n\n  \n"],
};
/** Texts that the library decodes otherwise. */
const knownDecodings: Readonly<Record<string, readonly string[]>> = {
  // A byte order mark spelled in byte tokens is lost.
  "byte-fallback": ["\ufeffbyte order mark", "mid\ufeffdle"],
  // Python writes a normalised added token as it was normalised, "hello"; the library as it was added.
  "added-tokens": ["hello   world", "say hello HELLO Hello helloes"],
};

/** Texts that are refused, because the library has no tokens that count as whole words only. */
const refusedEncodings: Readonly<Record<string, readonly string[]>> = {
  "added-tokens": ["the whole of it, wholesome, unwhole whole"],
};

const folders: Readonly<Record<string, string>> = {
  "byte-level": path.join(fixtures, "byte-level"),
  "word-piece": path.join(fixtures, "word-piece"),
  unigram: path.join(fixtures, "unigram"),
  "byte-fallback": path.join(fixtures, "byte-fallback"),
  ...Object.fromEntries(
    [
      "roberta",
      "modernbert",
      "qwen2",
      "llama3",
      "t5",
      "albert",
      "deberta-v3",
      "xlm-roberta",
      "added-tokens",
    ].map((family) => [family, path.join(fixtures, family)]),
  ),
  gpt2: path.join(shared, "data/tokenizers/gpt2"),
  minilm: process.env["DELTAFIT_MINILM"] ?? path.join(shared, "minilm"),
};

describe.each(Object.entries(folders))("%s, against Python's tokenizers", (name, folder) => {
  test("encodes, decodes and streams awkward texts alike", (context) => {
    if (!fs.existsSync(folder))
      context.skip(`needs the tokenizer in ${folder} (DELTAFIT_SHARED, DELTAFIT_MINILM)`);
    const tokenizer = loadTokenizer(folder);
    const expected = readExpectation(name);
    const otherIds: string[] = [];
    const otherTexts: string[] = [];
    for (const { text, ids, special, decoded, plain } of expected.texts) {
      if (refusedEncodings[name]?.includes(text)) continue;
      const isSame = tokenizer.encode(text, { addSpecialTokens: false }).join() === ids.join();
      if (!isSame || tokenizer.encode(text).join() !== special.join()) otherIds.push(text);
      const isDecoded = tokenizer.decode(ids) === decoded;
      if (!isDecoded || tokenizer.decode(ids, { skipSpecialTokens: true }) !== plain) otherTexts.push(text);
      const stream = tokenizer.createStreamDecoder();
      const pieces = [...ids.map((id) => stream.push(id)), stream.flush()];
      expect(pieces.join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens: true }));
    }
    expect(otherIds).toEqual(knownEncodings[name] ?? []);
    expect(otherTexts).toEqual(knownDecodings[name] ?? []);
    expect(tokenizer.vocabularySize).toBe(expected.vocabularySize);
  });

  test("puts the special tokens and types of a pair alike", (context) => {
    if (!fs.existsSync(folder))
      context.skip(`needs the tokenizer in ${folder} (DELTAFIT_SHARED, DELTAFIT_MINILM)`);
    const tokenizer = loadTokenizer(folder);
    for (const { first, second, ids, typeIds } of readExpectation(name).pairs) {
      expect(tokenizer.encodePair(first, second)).toEqual({ inputIds: ids, tokenTypeIds: typeIds });
    }
  });
});

describe("facts", () => {
  test("special tokens, limits and the ids around a text", () => {
    const { folder: _folder, fingerprint, ...facts } = fixture("word-piece");
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(
      Object.fromEntries(Object.entries(facts).filter(([, value]) => typeof value !== "function")),
    ).toEqual({
      vocabularySize: 300,
      bosTokenId: undefined,
      eosTokenId: undefined,
      padTokenId: 0,
      unkTokenId: 1,
      clsTokenId: 2,
      sepTokenId: 3,
      maskTokenId: 4,
      leadingTokenIds: [2],
      trailingTokenIds: [3],
      modelMaximumLength: 64,
      truncationSide: "right",
      chatTemplate: undefined,
    });
  });

  test("1e30 is no limit; a token may be named by an object", () => {
    expect(fixture("byte-level").modelMaximumLength).toBeUndefined();
    expect(fixture("byte-level").chatTemplate?.startsWith("{% for message in messages %}")).toBe(true);
    expect(fixture("unigram").eosTokenId).toBe(2);
  });

  test("tokens are found by their spelling and ids by number", () => {
    const tokenizer = fixture("byte-level");
    const id = tokenizer.tokenToId("Ġ");
    expect(id !== undefined && tokenizer.idToToken(id)).toBe("Ġ");
    expect(tokenizer.idToToken(100_000)).toBeUndefined();
    expect(tokenizer.decode([100_000])).toBe("");
    expect([tokenizer.isSpecialToken(0), tokenizer.isSpecialToken(100)]).toEqual([true, false]);
  });
});

describe("stream decoder", () => {
  test("holds a character back until all its tokens are there", () => {
    const tokenizer = fixture("byte-level");
    const stream = tokenizer.createStreamDecoder();
    const pieces = tokenizer.encode("a😀b").map((id) => stream.push(id));
    expect(pieces).toEqual(["a", "", "", "", "😀", "b"]);
    expect(stream.flush()).toBe("");
  });

  test("an unfinished character comes out at the end; endless broken bytes do not pile up", () => {
    const tokenizer = fixture("byte-level");
    const [first = 0] = tokenizer.encode("😀");
    const stream = tokenizer.createStreamDecoder();
    expect([stream.push(first), stream.flush(), stream.flush()]).toEqual(["", "\ufffd", ""]);
    const pieces = Array.from({ length: 16 }, () => stream.push(first));
    expect(pieces.map((piece) => piece.length)).toEqual([0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 8]);
  });
});

describe("refusals", () => {
  const written = (tokenizer: object, config: object = {}): string => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
    fs.writeFileSync(path.join(folder, "tokenizer_config.json"), JSON.stringify(config));
    return folder;
  };
  const small = { added_tokens: [], model: { type: "WordPiece", unk_token: "?", vocab: { "?": 0, a: 1 } } };
  const messageOf = (folder: string, action: () => unknown): string => failureOf(action, folder).message;

  test("a folder without a fast tokenizer", () => {
    const folder = temporaryFolder();
    expect(failureOf(() => loadTokenizer(folder), folder)).toMatchInlineSnapshot(`
      {
        "code": "file-missing",
        "hint": "deltafit reads fast tokenizers; save the tokenizer with transformers' save_pretrained to get the file.",
        "message": ""FOLDER" holds no tokenizer.json.",
      }
    `);
  });

  test("a tokenizer whose regular expression never ends", () => {
    const pattern = { Regex: "(a|aa)+$" };
    const splitter = { type: "Split", pattern, behavior: "Isolated", invert: false };
    const folder = written({ ...small, pre_tokenizer: splitter });
    const text = `${"a".repeat(60)}!`;
    expect(messageOf(folder, () => loadTokenizer(folder).encode(text))).toMatchInlineSnapshot(
      `""FOLDER/tokenizer.json" cannot encode the text "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!": it took more than 2003 ms."`,
    );
  }, 20_000);

  test("broken vocabularies", () => {
    const load = (vocab: unknown): unknown => {
      const folder = written({ ...small, model: { type: "WordPiece", unk_token: "?", vocab } });
      return messageOf(folder, () => loadTokenizer(folder));
    };
    expect([load({}), load({ a: -1 }), load({ a: 1e15 }), load({ a: 1, b: 1 }), load([3])])
      .toMatchInlineSnapshot(`
      [
        ""FOLDER/tokenizer.json": model.vocab holds no tokens.",
        ""FOLDER/tokenizer.json": model.vocab: expected tokens with ids from 0 to 16777216, found "\\"a\\": -1".",
        ""FOLDER/tokenizer.json": model.vocab: expected tokens with ids from 0 to 16777216, found "\\"a\\": 1000000000000000".",
        ""FOLDER/tokenizer.json": model.vocab gives the id 1 to both "a" and "b".",
        ""FOLDER/tokenizer.json": model.vocab: expected tokens with ids from 0 to 16777216, found "3: 0".",
      ]
    `);
  });

  test("an unknown kind of tokenizer, and a special token that does not exist", () => {
    const unknown = written({ ...small, normalizer: { type: "Reverse" } });
    const unnamed = written(small, { eos_token: "</s>" });
    expect([
      messageOf(unknown, () => loadTokenizer(unknown)),
      messageOf(unnamed, () => loadTokenizer(unnamed)),
    ]).toMatchInlineSnapshot(`
      [
        ""FOLDER/tokenizer.json" does not describe a usable tokenizer: Unknown Normalizer type: Reverse.",
        ""FOLDER": the eos_token "</s>" is not in the vocabulary of tokenizer.json.",
      ]
    `);
  });

  test("a token that counts as a whole word only, inside another word", () => {
    const tokenizer = fixture("added-tokens");
    expect(tokenizer.encode("the whole, whole.", { addSpecialTokens: false })).toContain(
      tokenizer.tokenToId("whole"),
    );
    for (const text of ["wholesome", "unwhole", "whole\u0301"])
      expect(failureOf(() => tokenizer.encode(text)).message.replace(/^.*cannot/, "cannot")).toBe(
        `cannot encode the text "${text}": "whole", a token that counts as a whole word only, is part of a longer one.`,
      );
  });

  test("texts that are too long or no text", () => {
    const folder = written(small);
    const tokenizer = loadTokenizer(folder);
    expect([
      messageOf(folder, () => tokenizer.encode("a".repeat(2 ** 23 + 1))),
      messageOf(folder, () => tokenizer.encode("a\ud800")),
    ]).toMatchInlineSnapshot(`
      [
        ""FOLDER/tokenizer.json" cannot encode the text "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...": expected at most 8388608 UTF-16 units, found 8388609.",
        ""FOLDER/tokenizer.json" cannot encode the text "a\\ud800": it holds half of a surrogate pair, which is no character.",
      ]
    `);
  });

  test("a tokenizer of another model", () => {
    const tokenizer = fixture("byte-level");
    const names = { tokenizer: "tokenizer", model: "model" };
    expect(() => assertTokenizerFits(tokenizer, 420, names)).not.toThrow();
    expect(failureOf(() => assertTokenizerFits(tokenizer, 419, names))).toMatchInlineSnapshot(`
      {
        "code": "tokenizer-mismatch",
        "hint": "Use the tokenizer that belongs to the model.",
        "message": "The tokenizer "tokenizer" does not fit the model "model": expected ids below 419, the rows of the embedding, found ids up to 419 ("¼cke").",
      }
    `);
  });
});
