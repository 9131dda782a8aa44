import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { failureOf, rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { applySettings, readConfigFile } from "./config-file.ts";
import { names, numberIn, numbersByName, optional, readValues, switched } from "./flags.ts";
import type { Given } from "./flags.ts";

const group = "Group:";

const table = {
  learningRate: optional(numberIn({ above: 0 }), group, "rate"),
  targets: optional(names(), group, "modules"),
  rankPattern: optional(numbersByName, group, "ranks"),
  dryRun: switched(group, "only say"),
};

function read(content: string): Promise<Map<string, Given>> {
  const file = path.join(temporaryFolder(), "run.yaml");
  fs.writeFileSync(file, content);
  return readConfigFile(file, table);
}

test("keys are flags without dashes in front, lists may be written either way", async () => {
  const given = await read(
    "learning-rate: 1e-3\ntargets: a, b\ndry-run: true\nrank-pattern:\n  'layers.0.*': 4\n",
  );
  expect(readValues(table, given)).toEqual({
    learningRate: 0.001,
    targets: ["a", "b"],
    dryRun: true,
    rankPattern: { "layers.0.*": 4 },
  });
  expect(readValues(table, await read("targets: [a, b]\n")).targets).toEqual(["a", "b"]);
  expect(readValues(table, await read("# nothing\n")).targets).toBeUndefined();
});

test("a wrong value is named with file and key", async () => {
  const given = await read("learning-rate: -1\n");
  expect(failureOf(() => readValues(table, given)).message).toMatch(
    /^".*run\.yaml", learning-rate: expected a number above 0, found -1\.$/,
  );
});

test("unknown keys are refused with the nearest name, or with all of them", async () => {
  expect((await rejectionOf(() => read("learning-rte: 1\n"))).hint).toBe('Did you mean "learning-rate"?');
  expect((await rejectionOf(() => read("zzzzzzzzzzzz: 1\n"))).hint).toBe(
    "The settings are learning-rate, targets, rank-pattern, dry-run.",
  );
  expect((await rejectionOf(() => read("__proto__: 1\n"))).code).toBe("usage-invalid");
});

test("aliases that would fill the memory are refused", async () => {
  const levels = Array.from(
    { length: 9 },
    (_, level) => `a${level + 1}: &a${level + 1} [${`*a${level},`.repeat(9)}]`,
  );
  const bomb = ["a0: &a0 [x]", ...levels].join("\n");
  expect((await rejectionOf(() => read(bomb))).code).toBe("file-invalid");
});

function applied(settings: readonly string[], given = new Map<string, Given>()): Map<string, Given> {
  applySettings(settings, table, given);
  return given;
}

test("--set gives a value or one entry, and keeps the other entries", () => {
  const given = new Map<string, Given>([["rankPattern", { value: { a: 1, b: 2 }, where: "file" }]]);
  const values = readValues(table, applied(["learning-rate=2", "rank-pattern.b.c=3", "dry-run=true"], given));
  expect(values).toEqual({
    learningRate: 2,
    targets: undefined,
    rankPattern: { a: 1, b: 2, "b.c": 3 },
    dryRun: true,
  });
});

test.for([
  ["rank", '--set: expected NAME=VALUE, found "rank".', "For example: --set rank-pattern.q_proj=4"],
  ["rnk-pattern.a=1", '--set: there is no setting "rnk-pattern".', 'Did you mean "rank-pattern"?'],
  ["targets.a=1", '--set: "targets" has no entries to set.', undefined],
])("--set %s is refused", ([setting = "", message, hint]) => {
  expect(failureOf(() => applied([setting]))).toEqual({ code: "usage-invalid", message, hint });
});
