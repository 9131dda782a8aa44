/** @file Adapters as files against PEFT's: what merging them gives, and what saving them again writes. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { loadAdapter, saveAdapter } from "../../src/adapters/folder.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { mergeAdapters } from "../../src/adapters/merge.ts";
import { withMergedWeights } from "../../src/adapters/merged-base.ts";
import { packedForm } from "../../src/adapters/stored-tensors.ts";
import type { Base } from "../../src/base/base.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { openSafetensors } from "../../src/files/safetensors.ts";
import { entryValues } from "../../src/methods/layout.ts";
import type { LayoutEntry } from "../../src/methods/layout.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { CaseFailure, compare, floats, tolerances, widened } from "./cases.ts";
import type { Tolerance } from "./cases.ts";
import { compareOutput, computeLogits } from "./computed.ts";

export interface MergeCheck {
  readonly base: Base;
  readonly adapter: Adapter;
  readonly batch: TaskBatch;
  readonly expected: ReadonlyMap<string, Tensor>;
  readonly tolerance: Tolerance;
  /** How far the logits of PEFT's merged model are from those before merging. */
  readonly logitsDifference: number | undefined;
}

/** Above this, merging changes the model on purpose: a tied embedding whose lookup alone was adapted. */
const roundingDifference = 1e-3;

/** Compares every merged weight, and the logits of the merged model with those of the adapter. */
export async function checkMerged(check: MergeCheck): Promise<void> {
  const { base, adapter, batch, expected, tolerance, logitsDifference } = check;
  if (logitsDifference === undefined) return;
  const merged = mergeAdapters(base, [adapter]);
  try {
    const own = new Map(merged.tensors.map((tensor) => [tensor.name, tensor]));
    const untouched = new Set(own.keys());
    for (const key of expected.keys()) {
      if (!key.startsWith("merged.")) continue;
      const name = key.slice("merged.".length);
      // A tensor that modules still share goes by the name it is stored under.
      const stored = own.has(name) ? name : (base.modules.parameters.get(name)?.stored ?? name);
      const tensor = own.get(stored);
      if (!tensor) throw new CaseFailure(`merging leaves ${name} as it is, PEFT changes it`);
      compare(
        key,
        { shape: tensor.shape, data: await merged.compute(stored) },
        floats(expected, key),
        tolerance,
      );
      untouched.delete(stored);
    }
    for (const name of untouched)
      if (!isDeepStrictEqual(await merged.compute(name), base.read(name)))
        throw new CaseFailure(`merging changes ${name}, PEFT leaves it as it is`);
  } finally {
    await merged.dispose();
  }
  if (logitsDifference > roundingDifference) return;
  const computed = await computeLogits(await withMergedWeights(base, [adapter]), [], batch);
  compareOutput(
    "merged: logits",
    computed,
    "logits",
    floats(expected, "logits"),
    batch,
    widened(tolerance, logitsDifference),
  );
}

/** Copies of frozen or other tensors that PEFT writes and deltafit reads but does not write. */
const addedByPeft = /\.base_layer\.weight$|\.original_module\.|\.modules_to_save\./;

const exact: Tolerance = { absolute: 0, relative: 0 };

/** Fields whose order means nothing. */
const sets: readonly string[] = ["target_modules", "modules_to_save"];
/** Fields that PEFT writes in several forms of one meaning, or that name a folder. */
const incomparable: readonly string[] = ["base_model_name_or_path", "layers_pattern", "layers_to_transform"];

const recordSchema = z.record(z.string(), z.unknown());

/** Saves an adapter loaded from PEFT's files and compares both folders. */
export async function checkSavedAgain(
  original: string,
  folder: string,
  adapter: Adapter,
  base: Base,
): Promise<void> {
  await saveAdapter(folder, adapter, base);
  const again = loadAdapter(folder, base);
  for (const entry of adapter.layout.entries)
    compareParameter("saved and loaded", again, adapter, entry, exact);
  const shapes = (path: string) =>
    [...openSafetensors(join(path, "adapter_model.safetensors")).tensors]
      .flatMap(([name, { shape }]) => (addedByPeft.test(name) ? [] : [`${name} [${shape.join()}]`]))
      .sort();
  const [expected, actual] = [shapes(original), shapes(folder)];
  const different = [
    ...expected.filter((name) => !actual.includes(name)),
    ...actual.filter((name) => !expected.includes(name)),
  ];
  if (different.length > 0)
    throw new CaseFailure(`tensors in only one of PEFT's file and deltafit's: ${different.join(", ")}`);
  compareConfigurations(
    recordSchema.parse(readJsonFile(join(original, "adapter_config.json"))),
    recordSchema.parse(readJsonFile(join(folder, "adapter_config.json"))),
  );
  rmSync(folder, { recursive: true });
}

/**
 * Compares the parameters of two adapters. Of one that files keep in another form it is that form which is compared, all
 * that they know of it: coming from there and going back rounds.
 */
export function compareParameter(
  what: string,
  actual: Adapter,
  expected: Adapter,
  entry: LayoutEntry,
  tolerance: Tolerance,
): void {
  const form = packedForm<MethodType>(expected, entry);
  const [own, wanted] = [entryValues(actual.values, entry), entryValues(expected.values, entry)];
  const wantedParts = form?.pack(wanted) ?? [wanted];
  const isExact = form !== undefined && tolerance.absolute < tolerances.values.absolute;
  for (const [index, part] of (form?.pack(own) ?? [own]).entries())
    compare(
      `${what} ${entry.key}${form?.tensors[index]?.suffix ?? ""}`,
      { shape: entry.shape, data: Array.from(part) },
      { shape: entry.shape, data: Array.from(wantedParts[index] ?? []) },
      isExact ? tolerances.values : tolerance,
    );
}

function compareConfigurations(expected: Record<string, unknown>, actual: Record<string, unknown>): void {
  const comparable = (name: string, value: unknown): unknown =>
    sets.includes(name) && Array.isArray(value) ? [...new Set<unknown>(value)].sort() : value;
  for (const name of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
    if (incomparable.includes(name)) continue;
    const [wanted, found] = [comparable(name, expected[name]), comparable(name, actual[name])];
    if (!isDeepStrictEqual(found, wanted))
      throw new CaseFailure(`adapter_config.json: ${name} is ${shown(found)}, expected ${shown(wanted)}`);
  }
}

function shown(value: unknown): string {
  return value === undefined ? "absent" : JSON.stringify(value);
}
