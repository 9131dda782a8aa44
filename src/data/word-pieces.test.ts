import path from "node:path";
import { expect, test } from "vitest";
import { loadTokenizer } from "../files/tokenizer.ts";
import { placeTokens } from "./word-pieces.ts";

const fixtures = path.resolve(import.meta.dirname, "../../test/fixtures/tokenizers");
const load = (name: string) => loadTokenizer(path.join(fixtures, name));

const text = "The quiet river, “Été” in 1843\nand boats.";

/** Each token's characters, where a token ends inside a word behind a stroke. */
function pieces(name: string): string {
  const { offsets } = placeTokens(text, load(name));
  return offsets.map(([from, to]) => text.slice(from, to)).join("|");
}

test.each(["byte-level", "word-piece", "byte-fallback", "unigram"])(
  "%s: the tokens are those of the whole text",
  (name) => {
    const tokenizer = load(name);
    const plain = "The quiet river, some boats in 1843.";
    expect(placeTokens(plain, tokenizer).ids).toEqual(tokenizer.encode(plain, { addSpecialTokens: false }));
  },
);

test("pieces lie along the characters that they spell", () => {
  expect(pieces("byte-level")).toMatchInlineSnapshot(
    `"The|quiet|r|iver|,||“|“|“|É|É|t|é|”|”|”|in||1|8|4|3||a|nd|b|oat|s|."`,
  );
  expect(pieces("word-piece")).toMatchInlineSnapshot(
    `"The|quiet|river|,|“Été”|“Été”|“Été”|“Été”|in|1843|and|bo|ats|."`,
  );
  expect(pieces("byte-fallback")).toMatchInlineSnapshot(
    `"|The|quiet|r|iver|,||“|“|“|É|É|t|é|”|”|”|in|1|8|4|3|a|nd|b|oat|s|."`,
  );
  expect(pieces("unigram")).toMatchInlineSnapshot(
    `"|T|h|e||qu|ie|t|ri|ver|,|“Été”|“Été”|“Été”|“Été”|“Été”||in|1843|1843|1843|1843|||an|d|bo|at|s|."`,
  );
});

test("a token that is a part of a character stands for all of it", () => {
  expect(placeTokens("🛶s b", load("byte-level")).offsets.map(String)).toEqual([
    ...["0,2", "0,2", "0,2", "0,2"],
    ...["2,3", "4,5"],
  ]);
});

test("unknown words stand whole", () => {
  const { ids, offsets } = placeTokens("a 🛶s b", load("word-piece"));
  expect(ids).toHaveLength(3);
  expect(offsets).toEqual([
    [0, 1],
    [2, 5],
    [6, 7],
  ]);
});
