import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import {
  choice,
  kebab,
  names,
  needed,
  numberIn,
  numbersByName,
  optional,
  readValues,
  switched,
  text,
  texts,
  wholeNumber,
  wholeNumbers,
  withDefault,
} from "./flags.ts";
import type { Given, Kind } from "./flags.ts";

const group = "Group:";

const table = {
  learningRate: withDefault(numberIn({ above: 0 }), group, 0.5, "rate"),
  rank: optional(wholeNumber(1), group, "rank"),
  out: needed(text("FOLDER"), group, "folder"),
  dryRun: switched(group, "only say"),
};

const given = (values: Readonly<Record<string, unknown>>): Map<string, Given> =>
  new Map(Object.entries(values).map(([name, value]) => [name, { value, where: `--${kebab(name)}` }]));

test("flags that are not given have their defaults", () => {
  expect(readValues(table, given({ out: "a" }))).toEqual({
    learningRate: 0.5,
    rank: undefined,
    out: "a",
    dryRun: false,
  });
});

test("a needed flag is asked for by its name", () => {
  expect(failureOf(() => readValues(table, given({})))).toEqual({
    code: "usage-invalid",
    message: "--out is needed: expected a text, found nothing.",
    hint: undefined,
  });
});

test.for<[string, Kind<unknown>, string, unknown]>([
  ["numbers", numberIn({ atLeast: 0 }), "1e-3", 0.001],
  ["whole numbers", wholeNumber(0), "12", 12],
  ["lists", names(), "a, b,", ["a", "b"]],
  ["lists of numbers", wholeNumbers, "0,11", [0, 11]],
  ["repeated texts, commas and all", texts("TEXT"), "a,b", ["a,b"]],
  ["numbers by name", numbersByName, "q_proj=4,layers.0.*=2", { q_proj: 4, "layers.0.*": 2 }],
  ["names", choice(["lora", "full"]), "full", "full"],
])("reads %s", ([, kind, written, value]) => {
  expect(kind.schema.parse(kind.fromText(written))).toEqual(value);
});

test.for<[Kind<unknown>, string, string]>([
  [wholeNumber(1), "1.5", "expected a whole number of at least 1, found 1.5"],
  [wholeNumber(1), "", 'expected a whole number of at least 1, found ""'],
  [wholeNumber(0), "9007199254740993", "expected a whole number of at least 0, found 9007199254740992"],
  [numberIn({ atLeast: 0, below: 1 }), "1", "expected a number of at least 0 and below 1, found 1"],
  [numberIn({ above: 0, atMost: 1 }), "0", "expected a number above 0 and at most 1, found 0"],
  [numberIn({ above: 0 }), "Infinity", "expected a number above 0, found Infinity"],
  [choice(["a", "b", "c"]), "d", 'expected a, b or c, found "d"'],
  [choice(["cpu"], ", the only one so far"), "gpu", 'expected cpu, the only one so far, found "gpu"'],
  [names(), ",", "expected names with commas between them, found []"],
  [numbersByName, "q_proj", "expected numbers above 0 by name, such as q_proj=4, found {}"],
])("refuses what does not fit: %#", ([kind, written, problem]) => {
  const flags = { x: optional(kind, group, "x") };
  expect(failureOf(() => readValues(flags, given({ x: kind.fromText(written) }))).message).toBe(
    `--x: ${problem}.`,
  );
});

test("names are spelt with dashes outside the code", () => {
  expect(kebab("layersToTransform")).toBe("layers-to-transform");
});
