/** @file The documentation checker's judgement of command lines. */
import { expect, test } from "vitest";
import { commandLines, commandProblems } from "../../scripts/docs/commands.ts";
import type { Known } from "../../scripts/docs/commands.ts";

const helpTexts: Readonly<Record<string, string>> = {
  "": "Usage: deltafit [options] [command]\n\nOptions:\n  -V, --version  version\n  --json         one JSON object\n\nCommands:\n  train [options]  train\n  bench            measure\n",
  train:
    "Usage: deltafit train [options]\n\nOptions:\n  -m, --model <path>  model\n  --no-pack           one text a row\n",
  bench: "Usage: deltafit bench [command]\n\nCommands:\n  step [options]  one step\n",
  "bench step": "Options:\n  --repeat <n>  times\n",
};

const known: Known = {
  npmScripts: new Set(["build", "test"]),
  help: (path) => helpTexts[path.join(" ")],
  exists: (path) => path === "scripts/check.ts",
};

const check = (text: string) => commandLines(text).flatMap(({ words }) => commandProblems(words, known));

test("joins continuations, drops comments and prompts, splits chains", () => {
  expect(
    commandLines("$ npm ci && npm run build # all\n\nA=1 deltafit train \\\n  --model 'a b' | tail"),
  ).toEqual([
    { offset: 0, words: ["npm", "ci"] },
    { offset: 0, words: ["npm", "run", "build"] },
    { offset: 2, words: ["A=1", "deltafit", "train", "--model", "a b"] },
    { offset: 2, words: ["tail"] },
  ]);
});

test("accepts what exists", () => {
  expect(check("npx deltafit train --model x --no-pack --json --help")).toEqual([]);
  expect(check("LIMIT=1 deltafit bench step --repeat=3")).toEqual([]);
  expect(
    check("npm ci\nnpm test\nnpm run build\nnpx tsx scripts/check.ts\ndeltafit <command> --anything"),
  ).toEqual([]);
});

test("names the command, flag, script or file that does not exist, and those that do", () => {
  expect(check("deltafit tran --model x")).toEqual([
    "`deltafit tran` is no command; there are: bench, train",
  ]);
  expect(check("deltafit bench stop")).toEqual(["`deltafit bench stop` is no command; there are: step"]);
  expect(check("npx deltafit train --modle x")).toEqual([
    "`deltafit train` has no flag --modle; there are: --help, --json, --model, --no-pack, --version",
  ]);
  expect(check("npm run biuld")).toEqual(["package.json has no script `biuld`; there are: build, test"]);
  expect(check("npx tsx scripts/chek.ts")).toEqual(["scripts/chek.ts does not exist in the repository"]);
});

test("says nothing about deltafit while there is no help to compare with", () => {
  expect(commandProblems(["deltafit", "anything"], { ...known, help: () => undefined })).toEqual([]);
});
