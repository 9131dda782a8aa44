/** @file SentencePiece's rules of the fixture `xlm-roberta`, which `make_tokenizers.py` lists, and broken ones. */
import path from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { failureOf } from "../../test/support/failure.ts";
import { readJsonFile } from "./json.ts";
import { charsmapNormalizer } from "./precompiled-charsmap.ts";

const fixture = path.resolve(
  import.meta.dirname,
  "../../test/fixtures/tokenizers/xlm-roberta/tokenizer.json",
);
const schema = z.object({
  normalizer: z.object({
    normalizers: z.tuple([z.object({ precompiled_charsmap: z.string() }), z.unknown()]),
  }),
});
const charsmap = schema.parse(readJsonFile(fixture)).normalizer.normalizers[0].precompiled_charsmap;

test("a rule stands for a whole grapheme, and else for its characters", () => {
  const normalize = charsmapNormalizer(charsmap, "rules");
  expect(normalize("ﬁne…\tｆｕｌｌ")).toBe("fine... full");
  // Of three bytes, so looked up whole, and of six, where the rule for both characters is passed over.
  expect(normalize("e\u0301 ｶﾞ")).toBe("é カ\u3099");
  expect(normalize("½x\u0301")).toBe("1⁄2x\u0301");
  // A grapheme of at most five bytes is replaced as a whole by the rule for its beginning.
  expect(normalize("\r\n")).toBe(" ");
  expect(normalize("soft\u00adhyphen \0 zero\u200bwidth")).toBe("softhyphen \0 zerowidth");
});

test("graphemes are whole wherever a long text is cut", () => {
  const normalize = charsmapNormalizer(charsmap, "rules");
  for (let before = 250; before < 260; before += 1)
    expect(normalize(`${"a".repeat(before)}e\u0301${"ｆ".repeat(300)}`)).toBe(
      `${"a".repeat(before)}é${"f".repeat(300)}`,
    );
  const marks = `x${"\u0302".repeat(2000)}`;
  expect(normalize(`${marks}…${marks}`)).toBe(`${marks}...${marks}`);
});

test("rules that cannot be read", () => {
  const numbers = (...values: number[]): string =>
    Buffer.from(Uint32Array.from(values).buffer).toString("base64");
  const trie = (units: readonly number[], replacements: readonly number[]): string =>
    Buffer.concat([
      Buffer.from(numbers(4 * units.length, ...units), "base64"),
      Buffer.from(replacements),
    ]).toString("base64");
  // From the root, offset 1, "a" (0x61) leads to unit 0x60, whose offset 1 leads to the value at 0x61.
  const unitsWith = (value: number): number[] => {
    const units = Array.from({ length: 0x62 }, () => 0);
    units[0] = 1 << 10;
    units[0x60] = (1 << 10) | 0x100 | 0x61;
    units[0x61] = value;
    return units;
  };
  const found: string[] = [];
  for (const [rules, text] of [
    [null, ""],
    ["???", ""],
    ["AAA=", ""],
    [numbers(8, 1), ""],
    [numbers(4, 1 << 10), "a"],
    [trie(unitsWith(3), [0x62, 0]), "a"],
    [trie(unitsWith(0), [0xff, 0]), "a"],
  ] as const)
    found.push(failureOf(() => charsmapNormalizer(rules, "rules")(text)).message);
  expect(found).toMatchInlineSnapshot(`
    [
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that it is no text.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that it is not Base64.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that it has 2 bytes.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that a trie of 8 bytes in 8.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that its trie leads to unit 96 of 1.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that a replacement starts at byte 3 of 2.",
      "rules: expected SentencePiece's rules in precompiled_charsmap, found that a replacement is not UTF-8.",
    ]
  `);
  expect(charsmapNormalizer(trie(unitsWith(0), [0x62, 0]), "rules")("`a`")).toBe("`b`");
});
