/**
 * @file The sentence engine of the corpus: fills templates from word tables and remembers what it said, so that
 * later sentences (and questions) can refer to it. It knows the notation and English spelling rules that
 * depend on neighbours (a/an, capitals); the words and the templates live elsewhere.
 *
 * Notation, resolved in this order:
 *   (x|y|)         one of the alternatives, which may nest
 *   {@table:key}   a random row of a table, remembered as `key` (":key" may be left out)
 *   {@table.form:key}  the same, printing another form of the row
 *   {key} {key.form} {^key}  something remembered; ^ starts it with a capital
 *   [key:text]     prints the text and remembers it as `key`; [key=text] remembers it without printing it
 *   a~ A~          "a" or "an", by the word that follows
 */
import { pick } from "./random.ts";
import type { Random } from "./random.ts";

/** Rows of words; every row has one cell per form, and the first form is the one printed by default. */
export interface WordTable {
  readonly forms: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Word tables by name; a function makes a fresh word each time, for numbers, times and prices. */
export type Lexicon = Readonly<Record<string, WordTable | ((random: Random) => string)>>;

/** What one document knows: its random source and everything remembered so far. */
export interface Scene {
  readonly random: Random;
  readonly lexicon: Lexicon;
  readonly remembered: Map<string, Readonly<Record<string, string>>>;
  readonly used: Set<string>;
}

/** A table with a single form, from a semicolon-separated list. */
export function words(list: string): WordTable {
  return { forms: ["text"], rows: list.split(";").map((word) => [word.trim()]) };
}

/** A table with several forms: one row a line, cells separated by " / ". Throws when a row has another width. */
export function table(forms: string, lines: string): WordTable {
  const names = forms.split(" ");
  const rows = lines
    .trim()
    .split("\n")
    .map((line) => line.split("/").map((cell) => cell.trim()));
  const wrong = rows.find((row) => row.length !== names.length);
  if (wrong !== undefined) {
    throw new RangeError(
      `Word table (${forms}): expected ${String(names.length)} cells, found "${wrong.join(" / ")}".`,
    );
  }
  return { forms: names, rows };
}

/** An empty scene. */
export function createScene(random: Random, lexicon: Lexicon): Scene {
  return { random, lexicon, remembered: new Map(), used: new Set() };
}

/** Remembers a plain text under a key. */
export function remember(scene: Scene, key: string, text: string): void {
  scene.remembered.set(key, { "": text });
}

/** True when everything the template refers to is remembered, comes from a table or is introduced by itself. */
export function canSay(scene: Scene, template: string): boolean {
  const own = new Set([...template.matchAll(/:(\w+)\}|\[(\w+)[:=]/g)].map((match) => match[1] ?? match[2]));
  return [...template.matchAll(/\{\^?([a-zA-Z0-9]+)(?:\.\w+)?(?::\w+)?\}/g)].every(
    ([, key]) => own.has(key) || scene.remembered.has(key ?? ""),
  );
}

/** Fills a template and spells it as running text: capitals, articles, single spaces. */
export function say(scene: Scene, template: string): string {
  return spell(fill(scene, template));
}

/** Fills a template without capitals at sentence starts, for use inside another one. */
export function fill(scene: Scene, template: string): string {
  let text = template;
  for (let before = ""; before !== text;) {
    before = text;
    text = text.replace(/\(([^()]*)\)/, (_, inner: string) => pick(scene.random, inner.split("|")));
  }
  text = fillSlots(scene, text);
  return text.replace(/\[(\w+)([:=])([^[\]]*)\]/g, (_, key: string, sign: string, inner: string) => {
    remember(scene, key, inner);
    return sign === ":" ? inner : "";
  });
}

function fillSlots(scene: Scene, text: string): string {
  return text.replace(
    /\{(\^?)(@?)(\w+)(?:\.(\w+))?(?::(\w+))?\}/g,
    (
      whole,
      capital: string,
      fromTable: string,
      name: string,
      form: string | undefined,
      key: string | undefined,
    ) => {
      const row = fromTable === "@" ? drawRow(scene, name) : scene.remembered.get(name);
      const cell = row?.[form ?? ""];
      if (row === undefined || cell === undefined) {
        throw new ReferenceError(`Template slot ${whole} is not known in "${text}".`);
      }
      if (key !== undefined) {
        scene.remembered.set(key, row);
      }
      const filled = fillSlots(scene, cell);
      return capital === "^" ? capitalise(filled) : filled;
    },
  );
}

/** Draws a row, avoiding rows this document has already used where the table is large enough. */
function drawRow(scene: Scene, name: string): Readonly<Record<string, string>> {
  const source = scene.lexicon[name];
  if (source === undefined) {
    throw new ReferenceError(`There is no word table "${name}".`);
  }
  if (typeof source === "function") {
    return { "": source(scene.random) };
  }
  let row = pick(scene.random, source.rows);
  for (let attempt = 0; attempt < 8 && scene.used.has(`${name}:${row[0] ?? ""}`); attempt++) {
    row = pick(scene.random, source.rows);
  }
  scene.used.add(`${name}:${row[0] ?? ""}`);
  const cells: Record<string, string> = { "": row[0] ?? "" };
  source.forms.forEach((form, index) => {
    cells[form] = row[index] ?? "";
  });
  return cells;
}

/** Makes the first letter of a text a capital. */
export function capitalise(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

const SOUNDS_LIKE_CONSONANT = /^(?:uni|use|usu|eu|one\b|once\b|ukulele)/i;
const SOUNDS_LIKE_VOWEL = /^(?:[aeiou]|hour|honest|8|11\b|18\b)/i;

/** Resolves a~, single-spaces the text and starts each sentence with a capital. */
export function spell(text: string): string {
  return text
    .replace(/\b([Aa])~(["']?)([\w-]+)/g, (_, article: string, quote: string, next: string) => {
      const isAn = SOUNDS_LIKE_VOWEL.test(next) && !SOUNDS_LIKE_CONSONANT.test(next);
      return `${article}${isAn ? "n" : ""} ${quote}${next}`;
    })
    .replace(/ {2,}/g, " ")
    .replace(/ +([,.?!;:])/g, "$1")
    .trim()
    .replace(/(^|\n|[.?!] |\." )("?)([a-z])/g, (_, before: string, quote: string, letter: string) => {
      return before + quote + letter.toUpperCase();
    });
}
