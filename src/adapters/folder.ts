/**
 * @file Adapter folders in PEFT's format: saved whole or not at all, loaded strictly. Every tensor of the file must
 * be used, or be a copy that PEFT is known to add; every expected one must be there in its shape.
 */
import fs from "node:fs";
import { join } from "node:path";
import type { Base } from "../base/base.ts";
import { DeltafitError, internalError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { readJsonFile } from "../files/json.ts";
import { hubCacheRepository, resolveInside } from "../files/paths.ts";
import { quote } from "../files/quote.ts";
import { readingFrom } from "../files/read.ts";
import { openSafetensors, pickleHint } from "../files/safetensors.ts";
import type { SafetensorsFile } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { StreamedEntry } from "../files/safetensors-write.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { entryValues } from "../methods/layout.ts";
import { bodyPrefix } from "../methods/survey.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import { modulePrefix } from "./adapter-format.ts";
import { withValues } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { condenseAdapter } from "./condense.ts";
import { adapterCard } from "./card.ts";
import type { MethodType } from "./method-table.ts";
import { bindPeftAdapter, readPeftHeader, toPeftConfiguration } from "./peft-configuration.ts";
import { storedConstants, storedParameters } from "./stored-tensors.ts";
import type { StoredParameter } from "./stored-tensors.ts";
import { checkTensors } from "./tensor-match.ts";
import { renamedSource, safetensorsSource } from "./tensor-source.ts";
import type { TensorSource } from "./tensor-source.ts";
import { bodyTaskType } from "./transformers-names.ts";

const configurationName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";
const pickleName = "adapter_model.bin";
const cardName = "README.md";
/** Known ones have a few kilobytes. */
const maximumConfigurationBytes = 4 * 2 ** 20;

/**
 * Writes an adapter folder; one that is there already is replaced as a whole. Of an encoder only the result is kept.
 * @param addFiles Writes further files beside the adapter's.
 * @throws DeltafitError `write-failed`, with what was there before untouched; `method-unsupported` for a method
 * without a PEFT format.
 */
export async function saveAdapter(
  folder: string,
  adapter: Adapter,
  base: Base,
  addFiles?: (folder: string) => void,
): Promise<void> {
  const condensed = await condenseAdapter(adapter, base);
  await writeFolderAtomic(folder, (temporary) => {
    writeAdapterFiles(temporary, condensed, base);
    addFiles?.(temporary);
  });
}

/** Writes the files of a condensed adapter into a folder that is there, beside whatever else it holds. */
export function writeAdapterFiles<Type extends MethodType>(
  folder: string,
  adapter: Adapter<Type>,
  base: Base,
): void {
  const { values } = adapter;
  const configuration = toPeftConfiguration(adapter, base);
  const entries = storedParameters<Type>(adapter, base).flatMap((stored) => fileEntries(stored, values));
  const constants = storedConstants(adapter).map(({ fileName: name, constant: { shape, values: own } }) => ({
    name,
    tensor: float32Tensor(shape, own()),
  }));
  writeSafetensors(join(folder, weightsName), [...entries, ...constants], { format: "pt" });
  writeFileAtomic(join(folder, configurationName), JSON.stringify(configuration, null, 2));
  writeFileAtomic(join(folder, cardName), adapterCard(adapter, base));
}

function fileEntries({ entry, tensors, form }: StoredParameter, values: Float32Array): StreamedEntry[] {
  const own = entryValues(values, entry);
  const numbers = form?.pack(own) ?? [own];
  return tensors.map(({ fileName, shape, dtype }, index) => {
    const { buffer, byteOffset, byteLength } = numbers[index] ?? own;
    return { name: fileName, dtype, shape, chunks: () => [new Uint8Array(buffer, byteOffset, byteLength)] };
  });
}

/** The checked files of an adapter folder. */
export interface AdapterFiles {
  /** adapter_config.json as parsed. */
  readonly configuration: unknown;
  readonly configurationPath: string;
  readonly weights: SafetensorsFile;
}

/**
 * Opens the files of an adapter folder without looking at what they mean.
 * @throws DeltafitError `file-missing`; `file-refused` where the weights are pickled; `file-invalid`.
 */
export function openAdapterFolder(folder: string): AdapterFiles {
  const names = readingFrom(folder, () => fs.readdirSync(folder));
  const root = hubCacheRepository(folder);
  if (!names.includes(configurationName))
    throw new DeltafitError(
      "file-missing",
      `${quote(folder)} is no adapter: expected ${configurationName} in it.`,
      "Name the folder that PEFT or deltafit saved the adapter into.",
    );
  const configurationPath = resolveInside(folder, configurationName, root);
  const configuration = readJsonFile(configurationPath, maximumConfigurationBytes);
  if (!names.includes(weightsName)) throw withoutWeights(folder, names);
  return {
    configuration,
    configurationPath,
    weights: openSafetensors(resolveInside(folder, weightsName, root)),
  };
}

function withoutWeights(folder: string, names: readonly string[]): DeltafitError {
  if (names.includes(pickleName))
    return new DeltafitError(
      "file-refused",
      `${quote(join(folder, pickleName))} is a Python pickle: expected ${weightsName}.`,
      pickleHint,
    );
  const message = `${quote(folder)} holds no weights: expected ${weightsName}.`;
  return new DeltafitError("file-missing", message, "Check that the download or the copy is complete.");
}

/**
 * Loads an adapter and fits it to a base. Weights of 16 bits come out as float32.
 * @param name What a run with several adapters calls it.
 * @throws DeltafitError `adapter-mismatch` listing what is missing, unexpected or of another shape; `config-invalid`,
 * `method-unsupported` and `target-unmatched` for its configuration; `file-missing`, `file-refused`, `file-invalid`.
 */
export function loadAdapter(folder: string, base: Base, name = "default"): Adapter {
  const { configuration, configurationPath, weights } = openAdapterFolder(folder);
  const where = quote(configurationPath);
  return readAdapter({ folder, configuration, where, weights: safetensorsSource(weights) }, base, name);
}

/** An adapter as PEFT describes it, whatever its files are. */
export interface AdapterSource {
  /** What it is called in error messages. */
  readonly folder: string;
  /** The fields of adapter_config.json. */
  readonly configuration: unknown;
  /** What the configuration is called in error messages: a path in quotes. */
  readonly where: string;
  /** Tensors under PEFT's names. */
  readonly weights: TensorSource;
}

/**
 * Fits an adapter to a base, every tensor of it.
 * @throws DeltafitError as {@link loadAdapter}.
 */
export function readAdapter(
  { folder, configuration, where, weights: stored }: AdapterSource,
  base: Base,
  name = "default",
): Adapter {
  const header = readPeftHeader(configuration, where);
  const weights = header.taskType === bodyTaskType ? inWholeModel(stored, base) : stored;
  const shapes = new Map([...weights.tensors].map(([tensor, { shape }]) => [tensor, shape]));
  const adapter = bindPeftAdapter(header, base, name, where, shapes);
  const parameters = storedParameters<MethodType>(adapter, base);
  const constants = storedConstants(adapter);
  const expected = [...parameters.flatMap(({ tensors }) => tensors), ...constants];
  // Shapes come from the configuration: nothing is allocated before the file is known to hold as much.
  checkTensors({ weights, expected, base, folder, baseModel: header.baseModel });
  const values = new Float32Array(adapter.layout.size);
  for (const stored of parameters) readParameter(weights, stored, values);
  const read = new Map(
    constants.map(({ constant, fileName }) => [constant.key, readFinite(weights, fileName)]),
  );
  return withValues<MethodType>({ ...adapter, method: withConstants(adapter.method, read) }, values);
}

function readParameter(
  weights: TensorSource,
  { entry, tensors, form }: StoredParameter,
  values: Float32Array,
): void {
  const own = entryValues(values, entry);
  if (form === undefined) {
    for (const { fileName } of tensors) readFinite(weights, fileName, own);
    return;
  }
  const parts = tensors.map(({ fileName, dtype }) =>
    dtype === "float32" ? readFinite(weights, fileName) : readWhole(weights, fileName),
  );
  own.set(form.unpack(parts, `${quote(entry.key)} of ${quote(weights.path)}`));
}

function readWhole(weights: TensorSource, name: string): Int32Array {
  if (weights.readWhole) return weights.readWhole(name);
  throw internalError(`${quote(weights.path)} holds no whole numbers, which ${name} has.`);
}

/** Tensors of an adapter on the body alone, called as they are where the body is a part of a model with a head. */
function inWholeModel(weights: TensorSource, { model }: Base): TensorSource {
  const whole = modulePrefix + bodyPrefix(model);
  return renamedSource(weights, (name) =>
    name.startsWith(modulePrefix) && !name.startsWith(whole) ? whole + name.slice(modulePrefix.length) : name,
  );
}

function readFinite(weights: TensorSource, name: string, target?: Float32Array): Float32Array {
  const values = weights.readFloat32(name, target);
  if (!values.every(Number.isFinite)) throw notFinite(weights.path, name);
  return values;
}

/** A method with constants as a file holds them in place of its own. */
function withConstants(method: BoundMethod, read: ReadonlyMap<string, Float32Array>): BoundMethod {
  const constants = method.constants?.map((constant) => {
    const values = read.get(constant.key);
    return values === undefined ? constant : { ...constant, values: () => values };
  });
  return { ...method, constants };
}

function notFinite(path: string, tensor: string): DeltafitError {
  const message = `Tensor ${quote(tensor)} of ${quote(path)} holds numbers that are not finite (NaN or infinity).`;
  return new DeltafitError(
    "file-invalid",
    message,
    "The training that made the adapter has diverged; take an earlier one.",
  );
}
