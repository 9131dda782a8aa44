/** @file docs/errors.md describes exactly the codes that src/errors.ts lists, with the exit code each leads to. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { DeltafitError, errorCodes } from "../../src/errors.ts";
import type { ErrorCode } from "../../src/errors.ts";

const text = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
const sections = text
  .split(/^## /m)
  .slice(1)
  .map((section) => {
    const [, code = "", exitCode = "", paragraph = ""] =
      /^`([a-z-]+)`\n\nExit code (\d+)\.\s+(\S[^]*)$/.exec(section) ?? [];
    return { code, exitCode: Number(exitCode), paragraph };
  });
const codes = Object.keys(errorCodes) as ErrorCode[];

test("every code has its paragraph, in the order of the source, and no other code is described", () => {
  expect(sections.map(({ code }) => code)).toEqual(codes);
  for (const { paragraph } of sections) expect(paragraph.length).toBeGreaterThan(40);
});

test("the exit codes are those of the error class", () => {
  const actual = codes.map((code) => ({ code, exitCode: new DeltafitError(code, "").exitCode }));
  expect(sections.map(({ code, exitCode }) => ({ code, exitCode }))).toEqual(actual);
});
