/**
 * @file Checks JSON text before it is parsed: valid by RFC 8259, of bounded depth, without duplicate keys
 * (`JSON.parse` keeps the last of them silently) and without Python's NaN and Infinity. Builds no values.
 */
import { quote } from "./quote.ts";

/** Why a text is refused and where. */
export interface JsonProblem {
  /** A clause that goes on from "... is not valid JSON: ". */
  readonly reason: string;
  /** What to do; undefined where nothing better than "mend it" can be said. */
  readonly hint: string | undefined;
  /** 1 is the first line and column; columns count UTF-16 units. */
  readonly line: number;
  readonly column: number;
}

/** Python's `json.dump` writes these for numbers that JSON cannot hold. */
const pythonLiterals = ["NaN", "Infinity", "-Infinity"];
const pythonHint =
  "Python's json module writes it for a number that JSON cannot hold; replace it by a number or null.";

const plainLiterals = ["true", "false", "null"];
const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const escapePattern = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

class Problem extends Error {
  readonly position: number;
  readonly hint: string | undefined;

  constructor(reason: string, position: number, hint?: string) {
    super(reason);
    this.position = position;
    this.hint = hint;
  }
}

/**
 * Returns the first problem of `text`, or undefined where `JSON.parse(text)` succeeds with nothing lost.
 *
 * @param maximumDepth How many arrays and objects may lie within one another.
 */
export function findJsonProblem(text: string, maximumDepth: number): JsonProblem | undefined {
  try {
    checkText(text, maximumDepth);
    return undefined;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const before = text.slice(0, error.position);
    const line = before.split("\n").length;
    return {
      reason: error.message,
      hint: error.hint,
      line,
      column: before.length - before.lastIndexOf("\n"),
    };
  }
}

/** An array or object that is still open; only objects have keys. */
type Container = { readonly close: "]" } | { readonly close: "}"; readonly keys: Set<string> };

function checkText(text: string, maximumDepth: number): void {
  const open: Container[] = [];
  let position = skipSpace(text, 0);
  for (;;) {
    // Here a value begins.
    const character = text[position];
    if (character === "{" || character === "[") {
      if (open.length === maximumDepth)
        throw new Problem(`it is nested more than ${maximumDepth} deep`, position);
      const container: Container = character === "[" ? { close: "]" } : { close: "}", keys: new Set() };
      open.push(container);
      position = skipSpace(text, position + 1);
      if (text[position] !== container.close) {
        position = checkKey(text, position, container);
        continue;
      }
    } else {
      position = skipSpace(text, scalarEnd(text, position));
      if (open.length === 0) break;
    }
    // Here a value has ended, or an empty container is about to be closed.
    let container = open.at(-1);
    while (container !== undefined && text[position] === container.close) {
      open.pop();
      position = skipSpace(text, position + 1);
      container = open.at(-1);
    }
    if (container === undefined) break;
    if (text[position] !== ",") throw unexpected(text, position, `"," or "${container.close}"`);
    position = checkKey(text, skipSpace(text, position + 1), container);
  }
  if (position < text.length) throw unexpected(text, position, "the end");
}

/** Checks a key and its colon if the container is an object; returns where the value begins. */
function checkKey(text: string, start: number, container: Container): number {
  if (container.close === "]") return start;
  if (text[start] !== '"') throw unexpected(text, start, "a key in double quotes");
  const end = stringEnd(text, start);
  const written = text.slice(start + 1, end - 1);
  const key = written.includes("\\") ? String(JSON.parse(`"${written}"`)) : written;
  if (container.keys.has(key)) throw new Problem(`the key ${quote(key)} occurs twice in one object`, start);
  container.keys.add(key);
  const colon = skipSpace(text, end);
  if (text[colon] !== ":") throw unexpected(text, colon, '":"');
  return skipSpace(text, colon + 1);
}

function scalarEnd(text: string, start: number): number {
  if (text[start] === '"') return stringEnd(text, start);
  for (const literal of plainLiterals) if (text.startsWith(literal, start)) return start + literal.length;
  for (const literal of pythonLiterals) {
    if (text.startsWith(literal, start))
      throw new Problem(`it holds the literal ${literal}`, start, pythonHint);
  }
  numberPattern.lastIndex = start;
  if (numberPattern.test(text)) return numberPattern.lastIndex;
  throw unexpected(text, start, "a value");
}

function stringEnd(text: string, start: number): number {
  let position = start + 1;
  for (;;) {
    const code = text.charCodeAt(position);
    if (code === 0x22) return position + 1;
    if (Number.isNaN(code)) throw new Problem("a string is not closed", start);
    if (code < 0x20) throw new Problem("a string holds a raw control character", position);
    if (code !== 0x5c) {
      position++;
      continue;
    }
    escapePattern.lastIndex = position;
    if (!escapePattern.test(text)) throw new Problem("a string holds an unknown escape", position);
    position = escapePattern.lastIndex;
  }
}

function skipSpace(text: string, start: number): number {
  let position = start;
  for (;;) {
    const code = text.charCodeAt(position);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return position;
    position++;
  }
}

function unexpected(text: string, position: number, expected: string): Problem {
  const code = text.codePointAt(position);
  const found = code === undefined ? "the end of the text" : quote(String.fromCodePoint(code));
  return new Problem(`expected ${expected}, found ${found}`, position);
}
