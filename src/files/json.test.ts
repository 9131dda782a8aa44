import { writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { findJsonProblem } from "./json-text.ts";
import { parseJson, parseWithSchema, readJsonFile } from "./json.ts";

describe("parseJson", () => {
  test.each([
    '{"a": [1, -0.5e+3, true, null, "\\u00e9\\n"], "b": {}, "c": []}',
    " [ ] ",
    '"text"',
    "0",
    "\uFEFF{}",
    '{"__proto__": {"x": 1}}',
  ])("reads %s", (text) => {
    expect(parseJson(text, "x")).toEqual(JSON.parse(text.replace("\uFEFF", "")));
  });

  test.each([
    ["{", "expected a key in double quotes, found the end of the text (line 1, column 2)"],
    ['{"a":1,}', 'expected a key in double quotes, found "}" (line 1, column 8)'],
    ['{\n  "a": 1\n  "b": 2\n}', 'expected "," or "}", found "\\"" (line 3, column 3)'],
    ['{"a" 1}', 'expected ":", found "1" (line 1, column 6)'],
    ["[1,]", 'expected a value, found "]" (line 1, column 4)'],
    ["[01]", 'expected "," or "]", found "1" (line 1, column 3)'],
    ["[1}", 'expected "," or "]", found "}" (line 1, column 3)'],
    ["1 2", 'expected the end, found "2" (line 1, column 3)'],
    ["", "expected a value, found the end of the text (line 1, column 1)"],
    ['"abc', "a string is not closed (line 1, column 1)"],
    ['"a\nb"', "a string holds a raw control character (line 1, column 3)"],
    ['"\\x"', "a string holds an unknown escape (line 1, column 2)"],
    ['{"a":1, "\\u0061":2}', 'the key "a" occurs twice in one object (line 1, column 9)'],
    ["[".repeat(129), "it is nested more than 128 deep (line 1, column 129)"],
  ])("refuses %j", (text, reason) => {
    expect(failureOf(() => parseJson(text, '"a.json"'))).toEqual({
      code: "file-invalid",
      message: `"a.json" is not valid JSON: ${reason}.`,
      hint: undefined,
    });
  });

  test.each(["NaN", "Infinity", "-Infinity"])("says where %s comes from", (literal) => {
    expect(failureOf(() => parseJson(`{"loss": ${literal}}`, '"a.json"'))).toEqual({
      code: "file-invalid",
      message: `"a.json" is not valid JSON: it holds the literal ${literal} (line 1, column 10).`,
      hint: "Python's json module writes it for a number that JSON cannot hold; replace it by a number or null.",
    });
  });

  test("the check agrees with JSON.parse on thousands of broken texts", () => {
    const random = new TorchGenerator(5);
    const alphabet = [
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "\\",
      "a",
      "1",
      "-",
      ".",
      "e",
      "0",
      " ",
      "true",
      "null",
      '"k"',
    ];
    let valid = 0;
    for (let iteration = 0; iteration < 20_000; iteration++) {
      const text = [...random.integers(1 + (iteration % 7), 0, alphabet.length)]
        .map((at) => alphabet[at])
        .join("");
      let isJson = true;
      try {
        JSON.parse(text);
        valid++;
      } catch {
        isJson = false;
      }
      const problem = findJsonProblem(text, 100);
      const isDuplicate = problem?.reason.includes("occurs twice") === true;
      expect([text, problem === undefined || isDuplicate]).toEqual([text, isJson]);
    }
    expect(valid).toBeGreaterThan(500);
  });
});

describe("readJsonFile", () => {
  test("reads a file with a byte order mark", () => {
    const file = path.join(temporaryFolder(), "a.json");
    writeFileSync(file, '\uFEFF{"a": 1}');
    expect(readJsonFile(file)).toEqual({ a: 1 });
  });

  test("refuses a file above the bound, one that is no UTF-8, a folder and a missing file", () => {
    const folder = temporaryFolder();
    const file = path.join(folder, "a.json");
    writeFileSync(file, Uint8Array.of(0x22, 0xff, 0x22));
    expect([
      failureOf(() => readJsonFile(file, 2), folder),
      failureOf(() => readJsonFile(file), folder),
      failureOf(() => readJsonFile(folder), folder),
      failureOf(() => readJsonFile(path.join(folder, "b.json")), folder),
      failureOf(() => readJsonFile(path.join(file, "b.json")), folder),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "file-invalid",
          "hint": "Check that this is the file you meant.",
          "message": ""FOLDER/a.json" is too large: expected at most 2 bytes, found 3.",
        },
        {
          "code": "file-invalid",
          "hint": "Save it as UTF-8.",
          "message": ""FOLDER/a.json" is not UTF-8 text.",
        },
        {
          "code": "file-refused",
          "hint": "Name a file, not a folder.",
          "message": ""FOLDER" is not a regular file.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/b.json" does not exist.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/a.json/b.json" cannot be read: a file stands where a folder is expected.",
        },
      ]
    `);
  });
});

describe("parseWithSchema", () => {
  const schema = z.strictObject({
    rank: z.int().min(1),
    rate: z.number().gt(0).optional(),
    bias: z.enum(["none", "all"]).default("none"),
    targets: z.union([z.string(), z.array(z.string())]),
    nested: z.object({ "odd key": z.array(z.number()) }).optional(),
  });

  test("returns what the schema makes of a valid value", () => {
    expect(parseWithSchema(schema, { rank: 8, targets: "q_proj" }, "x")).toEqual({
      rank: 8,
      bias: "none",
      targets: "q_proj",
    });
  });

  test("names the key, what was expected and what was found", () => {
    const messages = [
      { targets: "q" },
      { rank: 0, targets: "q" },
      { rank: 1.5, targets: "q" },
      { rank: 8, targets: "q", rate: 0 },
      { rank: 8, targets: "q", bias: "some" },
      { rank: 8, targets: 3 },
      { rank: 8, targets: "q", nested: { "odd key": [1, "x"] } },
      { rank: 8, targets: "q", rnak: 8 },
      [],
      { rank: "8", targets: { a: 1 }, extra: 1 },
    ].map((value) => failureOf(() => parseWithSchema(schema, value, '"run.yaml"')).message);
    expect(messages).toMatchInlineSnapshot(`
      [
        ""run.yaml" is not valid: rank: expected number, found nothing.",
        ""run.yaml" is not valid: rank: expected at least 1, found 0.",
        ""run.yaml" is not valid: rank: expected an integer, found 1.5.",
        ""run.yaml" is not valid: rate: expected more than 0, found 0.",
        ""run.yaml" is not valid: bias: expected "none" or "all", found "some".",
        ""run.yaml" is not valid: targets: expected string or array, found 3.",
        ""run.yaml" is not valid: nested."odd key"[1]: expected number, found "x".",
        ""run.yaml" is not valid: unknown key "rnak".",
        ""run.yaml" is not valid: expected object, found a list of 0.",
        ""run.yaml" is not valid:
      - rank: expected number, found "8"
      - targets: expected string or array, found an object
      - unknown key "extra"",
      ]
    `);
  });
});
