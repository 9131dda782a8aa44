import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { readRowFile, readRows } from "./read-rows.ts";

function write(name: string, content: string | Uint8Array): string {
  const file = path.join(temporaryFolder(), name);
  fs.writeFileSync(file, content);
  return file;
}

/** Lines and values of a file's rows. */
const contentOf = (name: string, content: string | Uint8Array) =>
  readRows(write(name, content)).map(({ line, values }) => ({ line, values }));

describe("formats", () => {
  test("JSON lines: empty lines, CRLF and a byte order mark are no rows", () => {
    expect(contentOf("a.jsonl", '\ufeff{"text":"é\u2028"}\r\n\n  \n{"text":"b"}')).toEqual([
      { line: 1, values: { text: "é\u2028" } },
      { line: 4, values: { text: "b" } },
    ]);
  });

  test("JSON: an array, or one under data; rows are counted by entry", () => {
    const rows = [
      { line: 1, values: { text: "a" } },
      { line: 2, values: { text: "b" } },
    ];
    expect(contentOf("a.json", '[{"text":"a"},\n\n{"text":"b"}]')).toEqual(rows);
    expect(contentOf("a.json", '{"version": 1, "data": [{"text":"a"},{"text":"b"}]}')).toEqual(rows);
  });

  test("CSV: quotes, line breaks inside cells, and the line a row begins in", () => {
    const text = 'mr, ref \n"a, ""b""","one\ntwo"\n\nc,d\n"x\n\ny",z\ne,f\n';
    expect(contentOf("a.csv", text)).toEqual([
      { line: 2, values: { mr: 'a, "b"', ref: "one\ntwo" } },
      { line: 5, values: { mr: "c", ref: "d" } },
      { line: 6, values: { mr: "x\n\ny", ref: "z" } },
      { line: 9, values: { mr: "e", ref: "f" } },
    ]);
  });

  test("TSV: quotes are text", () => {
    expect(contentOf("a.tsv", 'sentence\tlabel\n"so" good\t1\n"bad\t0\n')).toEqual([
      { line: 2, values: { sentence: '"so" good', label: "1" } },
      { line: 3, values: { sentence: '"bad', label: "0" } },
    ]);
  });

  test("TSV without a header is recognised by its labels, and said to be", () => {
    const { rows, notes } = readRowFile(write("a.tsv", "so good\t1\nso bad\t0\n"));
    expect(rows.map(({ line, values }) => [line, values])).toEqual([
      [1, { sentence: "so good", label: "1" }],
      [2, { sentence: "so bad", label: "0" }],
    ]);
    expect(notes).toEqual(["no header: the columns are taken as sentence and label"]);
  });

  test("CoNLL: sentences are rows, documents are not told apart", () => {
    const text = "-DOCSTART- -X- O\n\nAda NNP B-PER\nwrote VBD O\n\n\nshe\tO\n";
    expect(contentOf("a.conll", text)).toEqual([
      { line: 3, values: { tokens: ["Ada", "wrote"], tags: ["B-PER", "O"] } },
      { line: 7, values: { tokens: ["she"], tags: ["O"] } },
    ]);
    expect(failureOf(() => readRows(write("b.conll", "Ada B-PER\nwrote\n"))).message).toMatch(
      /b\.conll", line 2: expected a word and its tag, found "wrote" alone\.$/,
    );
  });

  test("a folder stands for the file of the split", () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "train.jsonl"), '{"text":"t"}');
    fs.writeFileSync(path.join(folder, "valid.jsonl"), '{"text":"v"}');
    expect(readRows(folder)[0]?.values).toEqual({ text: "t" });
    expect(readRows(folder, { split: "valid" })[0]?.values).toEqual({ text: "v" });
    expect(failureOf(() => readRows(folder, { split: "test" }), folder)).toEqual({
      code: "file-missing",
      message: 'The data folder "FOLDER" holds no test.jsonl.',
      hint: "A data folder holds train.jsonl and, where wanted, valid.jsonl and test.jsonl; or name a file.",
    });
  });

  test("a key named __proto__ is a key", () => {
    const [row] = readRows(write("a.jsonl", '{"__proto__": {"text": "x"}}'));
    expect(Object.keys(row?.values ?? {})).toEqual(["__proto__"]);
    expect(row?.values["text"]).toBeUndefined();
  });
});

test("every refusal names the file and the line", () => {
  const messages = (
    [
      ["a.jsonl", '{"text":"a"}\n{"text":}'],
      ["a.jsonl", '{"text":"a"}\n["b"]'],
      ["a.jsonl", '{"text": NaN}'],
      ["a.jsonl", "\n \n"],
      ["a.jsonl", Uint8Array.of(0x7b, 0x7d, 0x0a, 0x22, 0xff, 0x22)],
      ["a.csv", Uint8Array.of(0xff, 0xfe, 0x61, 0x00)],
      ["a.json", '{"rows": []}'],
      ["a.json", "[1]"],
      ["a.csv", ""],
      ["a.csv", "a,b\n"],
      ["a.csv", "a,b\n1,2\n1,2,3\n"],
      ["a.csv", 'a,b\n1,"2\n'],
      ["a.csv", "a,a\n1,2\n"],
      ["a.tsv", "first sentence\tfirst sentence\nsecond\t1\n"],
      ["a.parquet", "PAR1"],
    ] as const
  ).map(([name, content]) => {
    const file = write(name, content);
    return failureOf(() => readRows(file), path.dirname(file)).message;
  });
  expect(messages).toMatchInlineSnapshot(`
    [
      ""FOLDER/a.jsonl", line 2 is not valid JSON: expected a value, found "}" (column 9).",
      ""FOLDER/a.jsonl", line 2: expected an object with named values, found an array.",
      ""FOLDER/a.jsonl", line 1 is not valid JSON: it holds the literal NaN (column 10).",
      ""FOLDER/a.jsonl" holds no rows.",
      ""FOLDER/a.jsonl": expected UTF-8 text, found other bytes in line 2.",
      ""FOLDER/a.csv": expected UTF-8 text, found UTF-16.",
      ""FOLDER/a.json": expected an array of objects, or an object with that array as "data", found an object.",
      ""FOLDER/a.json", entry 1: expected an object with named values, found a number.",
      ""FOLDER/a.csv" holds no rows.",
      ""FOLDER/a.csv" holds no rows.",
      ""FOLDER/a.csv" is not valid CSV: Invalid Record Length: expect 2, got 3 on line 3.",
      ""FOLDER/a.csv" is not valid CSV: Quote Not Closed: the parsing is finished with an opening quote at line 2.",
      ""FOLDER/a.csv", line 1: expected a header of different column names, found "a, a".",
      ""FOLDER/a.tsv", line 1: expected a header of different column names, found "first sentence, first sentence".",
      ""FOLDER/a.parquet": expected a .jsonl, .json, .csv, .tsv or .conll file, found ".parquet".",
    ]
  `);
});
