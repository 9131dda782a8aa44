/** @file What the linter cannot say of the sources: every file introduces itself, is short, and leaves nothing undone. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const maxLines = 400;

const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .sort()
  .map((name) => ({ name: `src/${name}`, text: readFileSync(join(root, "src", name), "utf8") }));

const unwanted: readonly { readonly pattern: RegExp; readonly reason: string }[] = [
  { pattern: /\b(?:TODO|FIXME|XXX)\b/, reason: "unfinished work belongs into an issue" },
  { pattern: /\bas any\b/, reason: "`any` switches the type checker off" },
  { pattern: /@ts-(?:ignore|expect-error|nocheck)/, reason: "the type checker is not silenced" },
  { pattern: /eslint-disable/, reason: "the linter is not silenced" },
];

/** The file's comments and code without the contents of strings, which may speak of anything. */
const withoutStrings = (line: string) => line.replace(/"(?:[^"\\]|\\.)*"/g, '""');

test("there are sources to look at", () => {
  expect(sources.map(({ name }) => name)).toContain("src/errors.ts");
});

test("every source file opens with its @file comment", () => {
  // A test beside its source needs no introduction: it says what the source promises.
  const introduced = sources.filter(({ name }) => !name.endsWith(".test.ts"));
  const silent = introduced.filter(({ text }) => !/^(?:#!.*\n)?\/\*\*(?:\n \*)? @file \S/.test(text));
  expect(silent.map(({ name }) => name)).toEqual([]);
});

test(`no source file is longer than ${maxLines} lines`, () => {
  const long = sources.map(({ name, text }) => ({ name, lines: text.trimEnd().split("\n").length }));
  expect(long.filter(({ lines }) => lines > maxLines)).toEqual([]);
});

test("nothing is left undone or silenced", () => {
  const found = sources.flatMap(({ name, text }) =>
    text
      .split("\n")
      .flatMap((line, index) =>
        unwanted
          .filter(({ pattern }) => pattern.test(withoutStrings(line)))
          .map(({ reason }) => `${name}:${index + 1}: ${line.trim()} (${reason})`),
      ),
  );
  expect(found).toEqual([]);
});
