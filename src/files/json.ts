/**
 * @file JSON files and values from outside: bounded, strictly valid, and held against a schema. Knows no
 * particular file's schema.
 */
import type { ZodType } from "zod";
import { DeltafitError } from "../errors.ts";
import { findJsonProblem } from "./json-text.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";

/** Large tokenizer files have 33 MB; nothing known comes near this. */
const defaultMaximumBytes = 128 * 2 ** 20;
const maximumDepth = 128;
const maximumIssuesShown = 8;
const maximumValueLength = 60;

/**
 * Parses JSON text; a byte order mark is tolerated.
 *
 * @param where What the text is, for error messages: a path in quotes, say.
 * @throws DeltafitError `file-invalid` for anything `JSON.parse` refuses, duplicate keys, NaN and Infinity, and
 * arrays and objects more than 128 deep.
 */
export function parseJson(text: string, where: string): unknown {
  const content = text.startsWith("\uFEFF") ? text.slice(1) : text;
  const problem = findJsonProblem(content, maximumDepth);
  if (problem === undefined) return JSON.parse(content);
  const { reason, hint, line, column } = problem;
  const message = `${where} is not valid JSON: ${reason} (line ${line}, column ${column}).`;
  throw new DeltafitError("file-invalid", message, hint);
}

/**
 * Reads a UTF-8 JSON file.
 *
 * @param maximumBytes Longer files are refused before they are read.
 * @throws DeltafitError `file-missing`, `file-refused` (no regular file), `file-invalid`.
 */
export function readJsonFile(path: string, maximumBytes = defaultMaximumBytes): unknown {
  const bytes = withOpenFile(path, (file) => {
    const { byteLength } = file.identity;
    if (byteLength > maximumBytes) {
      const message = `${quote(path)} is too large: expected at most ${maximumBytes} bytes, found ${byteLength}.`;
      throw new DeltafitError("file-invalid", message, "Check that this is the file you meant.");
    }
    const content = new Uint8Array(byteLength);
    readExactly(file, content, 0);
    return content;
  });
  return parseJson(decodeUtf8(bytes, path), quote(path));
}

function decodeUtf8(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new DeltafitError("file-invalid", `${quote(path)} is not UTF-8 text.`, "Save it as UTF-8.", error);
  }
}

/**
 * Holds a value against a schema and returns what the schema makes of it.
 *
 * @param where What the value is, for error messages: a path in quotes, "the options", ...
 * @throws DeltafitError `config-invalid` naming every key that is wrong, what was expected and what was found.
 */
export function parseWithSchema<Output>(schema: ZodType<Output>, value: unknown, where: string): Output {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const lines = result.error.issues.flatMap((issue) => describeIssue(issue, value));
  const [first] = lines;
  if (lines.length === 1 && first !== undefined) {
    throw new DeltafitError("config-invalid", `${where} is not valid: ${first}.`);
  }
  const shown = lines.slice(0, maximumIssuesShown).map((line) => `\n- ${line}`);
  const rest = lines.length > maximumIssuesShown ? `\n- and ${lines.length - maximumIssuesShown} more` : "";
  throw new DeltafitError("config-invalid", `${where} is not valid:${shown.join("")}${rest}`);
}

type Issue = NonNullable<ReturnType<ZodType["safeParse"]>["error"]>["issues"][number];

/** One clause an issue; unknown keys are one clause each. */
function describeIssue(issue: Issue, value: unknown): string[] {
  const at = issue.path.length === 0 ? "" : `${formatPath(issue.path)}: `;
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => `${at}unknown key ${quote(key)}`);
  return [`${at}expected ${expectation(issue)}, found ${describeValue(valueAt(value, issue.path))}`];
}

function expectation(issue: Exclude<Issue, { code: "unrecognized_keys" }>): string {
  switch (issue.code) {
    case "invalid_type":
      return issue.expected === "int" ? "an integer" : issue.expected;
    case "invalid_value":
      return issue.values
        .map((value) => (typeof value === "string" ? quote(value) : String(value)))
        .join(" or ");
    case "too_small":
      return `${measured(issue.origin)}${bound("at least", "more than", issue.inclusive)} ${issue.minimum}`;
    case "too_big":
      return `${measured(issue.origin)}${bound("at most", "less than", issue.inclusive)} ${issue.maximum}`;
    case "not_multiple_of":
      return `a multiple of ${issue.divisor}`;
    case "invalid_union":
      return unionExpectation(issue.errors);
    case "invalid_format":
      return issue.pattern === undefined ? `the format ${issue.format}` : `text matching ${issue.pattern}`;
    default:
      return issue.message;
  }
}

function bound(inclusive: string, exclusive: string, isInclusive: boolean | undefined): string {
  return isInclusive === false ? exclusive : inclusive;
}

/** What a bound counts where it is not the value itself. */
function measured(origin: string): string {
  if (origin === "string") return "a length of ";
  if (origin === "array" || origin === "set") return "a number of entries of ";
  return "";
}

/** The members' own expectations where they are about the value itself; deeper ones would mislead. */
function unionExpectation(members: readonly (readonly Issue[])[]): string {
  const shallow = members.flatMap((issues) =>
    issues.flatMap((issue) =>
      issue.path.length === 0 && issue.code !== "unrecognized_keys" ? [expectation(issue)] : [],
    ),
  );
  return shallow.length === 0 ? "another form" : [...new Set(shallow)].join(" or ");
}

function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    const name = /^[\w-]+$/.test(String(key)) ? String(key) : quote(String(key));
    return text === "" ? name : `${text}.${name}`;
  }, "");
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null || !Object.hasOwn(current, key)) return undefined;
    current = Reflect.get(current, key);
  }
  return current;
}

function describeValue(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value === null) return "null";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") {
    return quote(value.length > maximumValueLength ? `${value.slice(0, maximumValueLength)}...` : value);
  }
  return typeof value === "number" || typeof value === "boolean" ? String(value) : `a ${typeof value}`;
}
