/**
 * @file A base with the tensors that methods change before training in their changed form. What a change gives is
 * computed once and kept in the cache, under all that it depends on; the checkpoint itself stays as it is. Knows no
 * method.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { DeltafitError, internalError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import type { BaseChange, BoundMethod } from "../methods/contract.ts";
import type { WeightLocation } from "../runtime/session.ts";
import type { Base } from "./base.ts";
import { keyedGenerator } from "./initial-values.ts";
import { prepareForms } from "./prepared-forms.ts";
import { locationsIn, preparedPath, writePrepared } from "./prepared-weights.ts";
import { arraysOf, roundTo } from "./weight-storage.ts";

/** Bumped when a change is computed or stored in another way. */
const formatVersion = 1;

/** What changes need of a base: also a module of the user's own has it. */
export type ChangeableBase = Pick<Base, "modules" | "read" | "readRounded" | "locate">;

/** Bases with changes, by the base they were made of and the changes: sessions are kept by base. */
const changedBases = new WeakMap<object, Map<string, ChangeableBase>>();
/** The changes that a base was made with. */
const changesOf = new WeakMap<object, ReadonlyMap<string, BaseChange>>();

/**
 * The base as methods run with it: the given one where none of them changes it, or where it has their changes already.
 * The same object at every call.
 * @throws DeltafitError `method-unsupported` where two methods change the same tensor; `not-finite`; `write-failed`.
 */
export function withBaseChanges<Given extends ChangeableBase>(
  base: Given,
  methods: readonly { readonly method: Pick<BoundMethod, "baseChanges"> }[],
): Given {
  const there = changesOf.get(base) ?? new Map<string, BaseChange>();
  const wanted = new Map<string, BaseChange>();
  for (const change of methods.flatMap(({ method }) => method.baseChanges ?? [])) {
    const other = wanted.get(change.stored);
    if (other) throw changedTwice(change.stored);
    wanted.set(change.stored, change);
  }
  const missing = [...wanted.values()].filter((change) => {
    const known = there.get(change.stored);
    if (known && known.recipe !== change.recipe) throw changedTwice(change.stored);
    return !known;
  });
  if (missing.length === 0) return base;
  const key = missing.map(({ stored, recipe }) => `${stored}\n${recipe}`).join("\n");
  const known = changedBases.get(base) ?? new Map<string, ChangeableBase>();
  changedBases.set(base, known);
  const made = known.get(key) ?? changeBase(base, missing);
  known.set(key, made);
  changesOf.set(made, new Map([...there, ...missing.map((change) => [change.stored, change] as const)]));
  return made as Given;
}

function changedTwice(stored: string): DeltafitError {
  return new DeltafitError(
    "method-unsupported",
    `Two adapters change the tensor ${quote(stored)} of the base before training; only one of them can.`,
    "Convert one to a plain LoRA for the unchanged base, or merge it first.",
  );
}

function changeBase<Given extends ChangeableBase>(base: Given, changes: readonly BaseChange[]): Given {
  const changed = new Map(changes.map((change) => [change.stored, changedTensor(base, change)]));
  const find = (name: string) => changed.get(base.modules.parameters.get(name)?.stored ?? name);
  return {
    ...base,
    locate: (stored: string): WeightLocation => changed.get(stored)?.location ?? base.locate(stored),
    read: (name: string): Float32Array => find(name)?.read() ?? base.read(name),
    readRounded: (name: string): Float32Array => find(name)?.readRounded() ?? base.readRounded(name),
  };
}

interface ChangedTensor {
  readonly location: WeightLocation;
  readonly read: () => Float32Array;
  readonly readRounded: () => Float32Array;
}

/** A changed tensor, kept in the form in which the base keeps the one that it replaces. */
function changedTensor(base: ChangeableBase, change: BaseChange): ChangedTensor {
  const { stored, shape } = change;
  const path = resultsOf(base, change);
  const read = () => readFloat32(openSafetensors(path), changedName);
  const { form } = base.locate(stored);
  if (form === undefined) return { location: find(locationsIn(path), changedName), read, readRounded: read };
  const rounded = () => roundTo(form, shape, read());
  const matrix = { name: stored, shape, form, arrays: () => arraysOf(form, shape, read), rounded };
  return { location: find(prepareForms(path, [matrix]), stored), read, readRounded: rounded };
}

function find(locations: ReadonlyMap<string, WeightLocation>, name: string): WeightLocation {
  const location = locations.get(name);
  if (location) return location;
  throw internalError(`a prepared file has no ${name}.`);
}

/**
 * What changes of the base give for a parameter of the method, by its key.
 * @param base the unchanged one.
 */
export function startOf(
  base: ChangeableBase,
  { baseChanges = [] }: Pick<BoundMethod, "baseChanges">,
  key: string,
): Float32Array {
  for (const change of baseChanges) {
    const place = change.starts.findIndex((start) => start.key === key);
    if (place >= 0) return readFloat32(openSafetensors(resultsOf(base, change)), startName(place));
  }
  throw internalError(`no change of the base gives ${key}.`);
}

const changedName = "changed";
const startName = (place: number): string => `start.${place}`;

/** Path of the file with a change's results, computed where it is not there. */
function resultsOf(base: ChangeableBase, { stored, shape, recipe, starts, apply }: BaseChange): string {
  const key = createHash("sha256")
    .update(`change ${formatVersion}\n${recipe}\n${shape.join()}\n`)
    .update(identityOf(base.locate(stored)))
    .digest("hex");
  const path = preparedPath(key.slice(0, 40));
  if (fs.existsSync(path)) return path;
  const results = apply(base.read(stored), keyedGenerator(0, stored));
  writePrepared(path, [
    { name: changedName, shape, values: () => results.changed },
    ...starts.map((start, place) => ({
      name: startName(place),
      shape: start.shape,
      values: () => results.starts[place] ?? new Float32Array(0),
    })),
  ]);
  return path;
}

/** What identifies an unchanged file, and a place in it. */
export function identityOf({ path, offset, byteLength }: WeightLocation): string {
  const { dev, ino, size, mtimeNs } = fs.statSync(path, { bigint: true });
  return `${path}\n${dev} ${ino} ${size} ${mtimeNs} ${offset} ${byteLength}\n`;
}
