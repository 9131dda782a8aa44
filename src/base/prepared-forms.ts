/**
 * @file Frozen matrices in other forms than float32, in a file of the cache: made once, one matrix in memory at a time,
 * and then mapped by every session of every process.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { StreamedEntry } from "../files/safetensors-write.ts";
import { partsOf, storedPart } from "../graph/weight-form.ts";
import type { PartName, WeightForm, WeightPart } from "../graph/weight-form.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { internalError } from "../errors.ts";
import { locationsIn, preparedPath } from "./prepared-weights.ts";
import type { FormArrays } from "./weight-storage.ts";

/** Bumped when the form of prepared files changes. */
const formatVersion = 1;

/** A matrix to keep in a form. */
export interface FormedMatrix {
  /** Its stored name. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly form: WeightForm;
  /** Anew at every call: numbers that its arrays share are kept as long as they are. */
  readonly arrays: () => FormArrays;
  /** The numbers that the arrays stand for. */
  readonly rounded: () => Float32Array;
}

/**
 * Where the matrices lie in their forms, making them where they are not in the cache yet.
 * @param sourceKey Hash of what the numbers come from.
 */
export function prepareForms(
  sourceKey: string,
  matrices: readonly FormedMatrix[],
): ReadonlyMap<string, WeightLocation> {
  if (matrices.length === 0) return new Map();
  const description = matrices.map(({ name, form }) => `${name} ${JSON.stringify(form)}`).join("\n");
  const key = createHash("sha256").update(`forms ${formatVersion}\n${sourceKey}\n${description}`).digest("hex");
  const path = preparedPath(key.slice(0, 40));
  if (!fs.existsSync(path)) writeSafetensors(path, entriesOf(matrices));
  const locations = locationsIn(path);
  return new Map(
    matrices.map(({ name, shape, form }) => {
      const { values, ...parts } = Object.fromEntries(
        typesOf(form, shape).map(([part]) => [part, locations.get(partKey(name, part))]),
      );
      if (!values) throw internalError(`the prepared file has no ${name}.`);
      return [name, { ...values, form, parts }];
    }),
  );
}

const partKey = (name: string, part: PartName): string => `${name}.${part}`;

const typesOf = (form: WeightForm, shape: readonly number[]) =>
  Object.entries(partsOf(form, shape)) as readonly (readonly [PartName, WeightPart])[];

function entriesOf(matrices: readonly FormedMatrix[]): StreamedEntry[] {
  // Arrays of a matrix whose elements are as wide are written one after the other: its numbers are read once for them.
  let current: { readonly name: string; readonly arrays: FormArrays } | undefined;
  return matrices.flatMap(({ name, shape, form, arrays }) =>
    typesOf(form, shape).map(([part, type]) => ({
      name: partKey(name, part),
      ...storedPart(type),
      *chunks() {
        if (current?.name !== name) current = { name, arrays: arrays() };
        const array = current.arrays[part]?.();
        if (!array) throw internalError(`${name} is kept without its ${part}.`);
        yield new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      },
    })),
  );
}
