/**
 * @file A base with adapters merged into its weights, in memory: the same model with other places for the tensors that
 * change. The base itself stays as it is, so that going back to it is exact.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import type { Base } from "../base/base.ts";
import { identityOf, withBaseChanges } from "../base/changed-base.ts";
import { internalError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { cacheFolder } from "../files/cache-folder.ts";
import { readExactly, withOpenFile } from "../files/read.ts";
import type { BaseParameter } from "../methods/contract.ts";
import { surveyModel } from "../methods/survey.ts";
import { createModel } from "../models/index.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { mergeAdapters } from "./merge.ts";
import type { MergedTensor, MergedWeights } from "./merge.ts";

/** Bumped when merged tensors are stored or computed in another way. */
const formatVersion = 1;

/** Where each merged tensor lies in a folder: a file of float32 values each. */
function mergedLocations(
  folder: string,
  tensors: readonly MergedTensor[],
): ReadonlyMap<string, WeightLocation> {
  return new Map(
    tensors.map(({ name, shape }, index) => [
      name,
      { path: join(folder, `${index}.float32`), offset: 0, byteLength: 4 * elementCount(shape) },
    ]),
  );
}

/** Computes merged tensors one after the other into files of a folder. */
export async function storeMerged(
  folder: string,
  merged: MergedWeights,
): Promise<ReadonlyMap<string, WeightLocation>> {
  const locations = mergedLocations(folder, merged.tensors);
  for (const [name, { path }] of locations) {
    const values = await merged.compute(name);
    writeFileAtomic(path, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return locations;
}

/** The values of one stored tensor. */
export function readLocation({ path, offset, byteLength }: WeightLocation): Float32Array {
  const values = new Float32Array(byteLength / 4);
  withOpenFile(path, (file) => readExactly(file, new Uint8Array(values.buffer), offset));
  return values;
}

/**
 * The base with adapters merged in their order. Changed tensors are computed once and kept in the cache.
 * @throws DeltafitError `method-unsupported` for a method that cannot merge; `not-finite`; `write-failed`.
 */
export async function withMergedWeights(base: Base, adapters: readonly Adapter[]): Promise<Base> {
  const merged = mergeAdapters(base, adapters);
  try {
    const folder = join(
      cacheFolder(),
      "weights",
      `merged-${cacheKey(withBaseChanges(base, adapters), adapters, merged)}`,
    );
    if (!fs.existsSync(folder))
      await writeFolderAtomic(folder, async (temporary) => {
        await storeMerged(temporary, merged);
      });
    return baseWith(base, merged, mergedLocations(folder, merged.tensors));
  } finally {
    await merged.dispose();
  }
}

function baseWith(base: Base, merged: MergedWeights, locations: ReadonlyMap<string, WeightLocation>): Base {
  const configuration = mergedConfiguration(base, merged);
  const model =
    merged.untied.length > 0 ? createModel(configuration, undefined, base.settings.task) : base.model;
  const modules = merged.untied.length > 0 ? surveyModel(model, base.settings) : base.modules;
  // A tensor that only tied models read may have gone.
  const known = new Set(
    [...base.modules.parameters.values(), ...modules.parameters.values()].map(storedName),
  );
  for (const name of locations.keys())
    if (!known.has(name)) throw internalError(`the merged model has no tensor ${name} of its own.`);
  return {
    ...base,
    configuration,
    model,
    modules,
    newParameters: base.newParameters.filter((name) => !locations.has(name)),
    locate: (stored) => locations.get(stored) ?? base.locate(stored),
    read(name) {
      const location = locations.get(modules.parameters.get(name)?.stored ?? name);
      return location ? readLocation(location) : base.read(name);
    },
    readRounded(name) {
      const location = locations.get(modules.parameters.get(name)?.stored ?? name);
      return location ? readLocation(location) : base.readRounded(name);
    },
    // The checkpoint holds the weights as they were before merging.
    source: undefined,
  };
}

const storedName = ({ stored }: BaseParameter): string => stored;

/** The configuration of the merged model: weights that merging unties are no longer declared tied. */
export function mergedConfiguration(
  { configuration, model }: Pick<Base, "configuration" | "model">,
  { untied }: Pick<MergedWeights, "untied">,
): Readonly<Record<string, unknown>> {
  if (untied.length === 0) return configuration;
  return { ...configuration, ...model.untiedConfiguration, tie_word_embeddings: false };
}

/** Hash of all that merged values depend on. Files of the base count by what identifies an unchanged file. */
function cacheKey(base: Base, adapters: readonly Adapter[], { tensors }: MergedWeights): string {
  const key = createHash("sha256").update(`merged ${formatVersion}\n`);
  for (const { name, stored, graphHash } of tensors) {
    key.update(`${name}\n${stored}\n${graphHash}\n`);
    if (base.newParameters.includes(stored)) key.update(base.read(stored));
    else key.update(identityOf(base.locate(stored)));
  }
  for (const { values, method } of adapters) {
    key.update(values);
    for (const constant of method.constants ?? []) key.update(constant.values());
  }
  return key.digest("hex").slice(0, 40);
}
