/** @file Tests of the bundled tokenizer as the library reads it, and of the trainer that made it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "../../src/files/tokenizer.ts";
import { byteCharacters, splitWords, trainMerges } from "./byte-pair.ts";
import { specialTokens } from "./chat-template.ts";
import { generateDocuments } from "./corpus.ts";
import { generationConfigFile, modelConfigFile, parameterCount, vocabularySize } from "./model-files.ts";
import { specialTokensFile, tokenizerConfigFile, tokenizerFile } from "./tokenizer-files.ts";

function read(name: string): object {
  const content: unknown = JSON.parse(readFileSync(new URL(`../../base/${name}`, import.meta.url), "utf8"));
  if (typeof content !== "object" || content === null) {
    throw new TypeError(`base/${name} does not hold an object.`);
  }
  return content;
}

const file = read("tokenizer.json") as ReturnType<typeof tokenizerFile>;
const tokenizer = loadTokenizer(fileURLToPath(new URL("../../base/", import.meta.url)));
const everyCharacter = Array.from({ length: 0x500 }, (_, code) => String.fromCodePoint(code)).join("");

describe("the bundled tokenizer", () => {
  it("has one entry for every id", () => {
    const ids = Object.values(file.model.vocab).sort((left, right) => left - right);
    expect(ids).toEqual(Array.from({ length: vocabularySize }, (_, id) => id));
  });

  it.each([
    ["documents", [...generateDocuments(9, 100)].join("\n")],
    ["white space", "  a  b \n\n\t c \r\n d\u00a0\u3000 e  "],
    ["other scripts", "日本語 العربية हिन्दी 😀👨‍👩‍👧 e\u0301 İ ½²٣"],
    ["every character to U+04FF", everyCharacter],
    ["the ends of the planes", "\u{10FFFF}\u{E000}\ufeff\uffff"],
    ["special tokens", "<|user|>\nHi<|end|>\n<|endoftext|><|pad|><|user| <||>"],
  ])("gives %s back unchanged", (_, text) => {
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("keeps special tokens whole and adds none", () => {
    expect(tokenizer.encode("<|user|><|assistant|><|end|><|endoftext|><|pad|>")).toEqual([2, 3, 4, 0, 1]);
    expect(tokenizer.encode("")).toEqual([]);
  });

  it("spells numbers digit by digit", () => {
    expect(tokenizer.encode("£25.90").map((id) => tokenizer.decode([id]))).toEqual([
      "£",
      "2",
      "5",
      ".",
      "9",
      "0",
    ]);
  });

  it("fits its corpus", () => {
    const text = [...generateDocuments(9, 200)].join("");
    expect(text.length / tokenizer.encode(text).length).toBeGreaterThan(3.4);
  });
});

describe("the files of the base", () => {
  it("are what the scripts write", () => {
    expect(read("config.json")).toEqual(modelConfigFile());
    expect(read("generation_config.json")).toEqual(generationConfigFile());
    expect(read("tokenizer_config.json")).toEqual(tokenizerConfigFile());
    expect(read("special_tokens_map.json")).toEqual(specialTokensFile());
    expect(file).toEqual(tokenizerFile(file.model.merges));
  });

  it("describe a model that fits into 8 MB", () => {
    expect(parameterCount(modelConfigFile())).toBe(2_755_008);
    expect(2 * parameterCount(modelConfigFile())).toBeLessThan(8_000_000);
  });
});

describe("the trainer", () => {
  it("merges the most frequent pair first and smaller ones first among equals", () => {
    expect(trainMerges(["ab ab ab cb"], 3)).toEqual([
      ["a", "b"],
      ["Ġ", "ab"],
    ]);
    expect(trainMerges(["xy xy", "ab ab"], 1)).toEqual([["a", "b"]]);
  });

  it("splits digits, words with their space, signs and white space", () => {
    expect(splitWords("It's £12, isn't it?\n\nYes")).toEqual([
      "It",
      "'s",
      " £",
      "1",
      "2",
      ",",
      " isn",
      "'t",
      " it",
      "?",
      "\n",
      "\n",
      "Yes",
    ]);
  });

  it("has a character of its own for every byte", () => {
    expect(new Set(byteCharacters()).size).toBe(256);
    expect(byteCharacters()[32]).toBe("Ġ");
    expect(specialTokens.length + 256).toBeLessThan(vocabularySize);
  });
});
