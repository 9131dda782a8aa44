/**
 * @file Data files to rows: JSON lines, JSON, CSV, TSV and CoNLL, with the place of every row kept for error
 * messages. Knows no format of examples, only that a row is an object of named values.
 */
import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { CsvError, parse as parseCsv } from "csv-parse/sync";
import { DeltafitError } from "../errors.ts";
import { findJsonProblem } from "../files/json-text.ts";
import { parseJson } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { readExactly, readingFrom, withOpenFile } from "../files/read.ts";

/** Node's buffers and the time of a run both set this limit. */
const maximumFileBytes = 2 ** 31;
/** JSON, CSV and TSV are parsed as one text; V8's strings end at 2^29 characters. */
const maximumTextBytes = 2 ** 29 - 64;
const maximumDepth = 128;
const convertHint = "Split the file, or convert it to JSON lines.";

/** One row of a data file. */
export interface Row {
  /** Line in the file, counted from 1; in a JSON array the number of the entry. */
  readonly line: number;
  /** The row's place for error messages, such as `"train.jsonl", line 3`. */
  readonly where: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export type DataSplit = "train" | "valid" | "test";

export interface RowFile {
  readonly path: string;
  readonly kind: "jsonl" | "json" | "csv" | "tsv" | "conll";
  /** What was assumed about the file, for the user to see. */
  readonly notes: readonly string[];
  readonly rows: readonly Row[];
}

/**
 * Reads the rows of a `.jsonl`, `.json`, `.csv`, `.tsv` or `.conll` file, or of the split's `.jsonl` file in a folder
 * (`train.jsonl`, `valid.jsonl`, `test.jsonl`).
 *
 * JSON is an array of objects or an object with that array under `data`. CSV and TSV begin with a header; TSV
 * knows no quotes. A TSV file without a header is read as `sentence` and `label` if all its rows have two
 * columns, the second of them an integer, as in the SST-2 files. CoNLL has a word and its tag in the first and last
 * column of a line, and a blank line between sentences: each is a row of `tokens` and `tags`.
 *
 * @throws DeltafitError `file-missing`, `file-refused`, `file-invalid`, `data-invalid` naming file and line.
 */
export function readRowFile(source: string, options: { readonly split?: DataSplit } = {}): RowFile {
  const file = resolveSplit(source, options.split ?? "train");
  const extension = path.extname(file).toLowerCase();
  const kind = extension === ".ndjson" ? "jsonl" : extension.slice(1);
  if (kind !== "jsonl" && kind !== "json" && kind !== "csv" && kind !== "tsv" && kind !== "conll") {
    const message = `${quote(file)}: expected a .jsonl, .json, .csv, .tsv or .conll file, found ${quote(extension)}.`;
    throw new DeltafitError("data-invalid", message, "Name the file by its format.");
  }
  const bytes = readBytes(file, kind === "jsonl" ? maximumFileBytes : maximumTextBytes);
  const notes: string[] = [];
  const rows =
    kind === "jsonl"
      ? readJsonLines(bytes, file)
      : kind === "json"
        ? readJson(bytes, file)
        : kind === "conll"
          ? readSentences(bytes, file)
          : readTable(bytes, file, kind, notes);
  if (rows.length > 0) return { path: file, kind, notes, rows };
  throw new DeltafitError(
    "data-invalid",
    `${quote(file)} holds no rows.`,
    "A data file needs at least one example.",
  );
}

/** The rows alone of {@link readRowFile}. */
export function readRows(source: string, options: { readonly split?: DataSplit } = {}): readonly Row[] {
  return readRowFile(source, options).rows;
}

function resolveSplit(source: string, split: DataSplit): string {
  if (!readingFrom(source, () => fs.statSync(source)).isDirectory()) return source;
  const file = path.join(source, `${split}.jsonl`);
  if (fs.existsSync(file)) return file;
  const hint =
    "A data folder holds train.jsonl and, where wanted, valid.jsonl and test.jsonl; or name a file.";
  throw new DeltafitError("file-missing", `The data folder ${quote(source)} holds no ${split}.jsonl.`, hint);
}

function readBytes(file: string, maximumBytes: number): Buffer {
  const bytes = withOpenFile(file, (open) => {
    const { byteLength } = open.identity;
    if (byteLength > maximumBytes) {
      const message = `${quote(file)} is too large: expected at most ${maximumBytes} bytes, found ${byteLength}.`;
      throw new DeltafitError("data-invalid", message, convertHint);
    }
    const content = Buffer.allocUnsafe(byteLength);
    readExactly(open, content, 0);
    return content;
  });
  checkEncoding(bytes, file);
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return hasMark ? bytes.subarray(3) : bytes;
}

function checkEncoding(bytes: Buffer, file: string): void {
  if (isUtf8(bytes)) return;
  const isUtf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  const found = isUtf16 ? "UTF-16" : `other bytes in line ${firstInvalidLine(bytes)}`;
  throw new DeltafitError(
    "data-invalid",
    `${quote(file)}: expected UTF-8 text, found ${found}.`,
    "Save it as UTF-8.",
  );
}

function firstInvalidLine(bytes: Buffer): number {
  for (const { line, content } of linesOf(bytes)) if (!isUtf8(content)) return line;
  return 1;
}

function* linesOf(bytes: Buffer): Generator<{ readonly line: number; readonly content: Buffer }> {
  let start = 0;
  for (let line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline === -1 ? bytes.length : newline;
    yield { line, content: bytes.subarray(start, end) };
    start = end + 1;
  }
}

function readJsonLines(bytes: Buffer, file: string): Row[] {
  const rows: Row[] = [];
  for (const { line, content } of linesOf(bytes)) {
    const text = content.toString("utf8");
    if (text.trim() === "") continue;
    const where = `${quote(file)}, line ${line}`;
    const problem = findJsonProblem(text, maximumDepth);
    if (problem !== undefined) {
      const message = `${where} is not valid JSON: ${problem.reason} (column ${problem.column}).`;
      throw new DeltafitError("data-invalid", message, problem.hint ?? "Each line holds one JSON object.");
    }
    rows.push(toRow(JSON.parse(text), line, where));
  }
  return rows;
}

/** CoNLL's sentences; the lines that only divide documents are left out. */
function readSentences(bytes: Buffer, file: string): Row[] {
  const rows: Row[] = [];
  let sentence: { line: number; tokens: string[]; tags: string[] } | undefined;
  const finish = (): void => {
    if (sentence === undefined) return;
    const { line, tokens, tags } = sentence;
    rows.push({ line, where: `${quote(file)}, line ${line}`, values: { tokens, tags } });
    sentence = undefined;
  };
  for (const { line, content } of linesOf(bytes)) {
    const columns = content
      .toString("utf8")
      .trim()
      .split(/[ \t]+/u);
    const [word = "", ...others] = columns;
    const tag = others.at(-1);
    if (word === "" || word === "-DOCSTART-") {
      finish();
      continue;
    }
    if (tag === undefined) {
      const message = `${quote(file)}, line ${line}: expected a word and its tag, found ${quote(word)} alone.`;
      throw new DeltafitError("data-invalid", message, "Put the tag into the last column of every line.");
    }
    sentence ??= { line, tokens: [], tags: [] };
    sentence.tokens.push(word);
    sentence.tags.push(tag);
  }
  finish();
  return rows;
}

function readJson(bytes: Buffer, file: string): Row[] {
  const value = parseJson(bytes.toString("utf8"), quote(file));
  const entries: unknown = isRecord(value) && Object.hasOwn(value, "data") ? value["data"] : value;
  if (!Array.isArray(entries)) {
    const expected = 'an array of objects, or an object with that array as "data"';
    throw new DeltafitError(
      "data-invalid",
      `${quote(file)}: expected ${expected}, found ${describe(entries)}.`,
    );
  }
  return entries.map((entry: unknown, index) =>
    toRow(entry, index + 1, `${quote(file)}, entry ${index + 1}`),
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return "an array";
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function toRow(value: unknown, line: number, where: string): Row {
  if (isRecord(value)) return { line, where, values: value };
  throw new DeltafitError(
    "data-invalid",
    `${where}: expected an object with named values, found ${describe(value)}.`,
  );
}

/** A record of a table and the line it begins in. */
interface TableRecord {
  readonly line: number;
  readonly cells: readonly string[];
}

function parseTable(bytes: Buffer, file: string, kind: "csv" | "tsv"): TableRecord[] {
  const records: TableRecord[] = [];
  try {
    parseCsv(bytes, {
      delimiter: kind === "csv" ? "," : "\t",
      quote: kind === "csv" ? '"' : null,
      skip_empty_lines: true,
      on_record: (cells: string[], { lines }: { readonly lines: number }) => {
        const lineBreaks = cells.reduce((count, cell) => count + cell.split("\n").length - 1, 0);
        records.push({ line: lines - lineBreaks, cells });
        return null;
      },
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const message = `${quote(file)} is not valid ${kind.toUpperCase()}: ${error.message}.`;
    throw new DeltafitError(
      "data-invalid",
      message,
      "All rows need the columns of the header; quote cells with commas, quotes or line breaks.",
      error,
    );
  }
  return records;
}

function readTable(bytes: Buffer, file: string, kind: "csv" | "tsv", notes: string[]): Row[] {
  const records = parseTable(bytes, file, kind);
  const [first, ...others] = records;
  if (first === undefined) return [];
  const isHeaderless =
    kind === "tsv" && records.every(({ cells }) => cells.length === 2 && /^\d+$/.test(cells[1] ?? ""));
  if (isHeaderless) notes.push("no header: the columns are taken as sentence and label");
  const header = isHeaderless ? ["sentence", "label"] : first.cells.map((cell) => cell.trim());
  if (new Set(header).size < header.length || header.includes("")) {
    const found = `expected a header of different column names, found ${quote(header.join(", "))}`;
    const message = `${quote(file)}, line ${first.line}: ${found}.`;
    throw new DeltafitError(
      "data-invalid",
      message,
      "Put the columns' names into the first line, such as sentence and label, or prompt and completion.",
    );
  }
  return (isHeaderless ? records : others).map(({ line, cells }) => ({
    line,
    where: `${quote(file)}, line ${line}`,
    values: Object.fromEntries(header.map((name, column) => [name, cells[column] ?? ""])),
  }));
}
