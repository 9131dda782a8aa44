import { expect, test } from "vitest";
import { methodTable } from "../adapters/method-table.ts";
import { methodNames } from "./methods.ts";

test("every method has a name on the command line", () => {
  const expected = Object.keys(methodTable).map((type) => type.toLowerCase().replaceAll("_", "-"));
  expect([...methodNames].sort()).toEqual(expected.sort());
});
