/** @file A matrix in a form, its arrays in files of their own: what a session needs of it. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { arraysOf } from "../../src/base/weight-storage.ts";
import type { WeightForm } from "../../src/graph/weight-form.ts";
import type { ArrayLocation, WeightLocation } from "../../src/runtime/session.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export function writeArray(name: string, array: NodeJS.ArrayBufferView): ArrayLocation {
  const file = path.join(temporaryFolder(), name);
  writeFileSync(file, array);
  return { path: file, offset: 0, byteLength: array.byteLength };
}

export function storeMatrix(
  form: WeightForm,
  shape: readonly number[],
  values: Float32Array,
): WeightLocation {
  const { values: own, ...others } = arraysOf(form, shape, () => values);
  const parts = Object.fromEntries(
    Object.entries(others).map(([name, array]) => [name, writeArray(name, array())]),
  );
  return { ...writeArray("values", own()), form, parts };
}
