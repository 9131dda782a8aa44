/**
 * @file A model's weights in a folder, in one safetensors file or in shards with an index, as one set of named
 * tensors. Knows nothing of architectures: which names there must be is for the models to say.
 */
import fs from "node:fs";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { parseWithSchema, readJsonFile } from "./json.ts";
import { hubCacheRepository, resolveInside } from "./paths.ts";
import { quote } from "./quote.ts";
import { readingFrom } from "./read.ts";
import { openSafetensors, pickleHint, readFloat32, readTensor, readTensorBytes } from "./safetensors.ts";
import type { SafetensorsFile, TensorLocation } from "./safetensors.ts";

const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";
const maximumShards = 4096;
const pickleNames = /\.(?:bin|pt|pth|ckpt|pkl|pickle)(?:\.index\.json)?$/;

/** A tensor of a checkpoint: where it is stored and how. */
export interface StoredTensor extends TensorLocation {
  /** Real path of the file that holds it. */
  readonly path: string;
}

/** A model's weights on disk. No descriptor is kept open, so there is nothing to dispose of. */
export interface Checkpoint {
  readonly folder: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Of all tensors, as stored. */
  readonly totalBytes: number;
  /** A floating point tensor as float32; see `readFloat32` of safetensors.ts. */
  readFloat32(name: string, into?: Float32Array): Float32Array;
  /** A tensor in the type of host tensors; see `readTensor` of safetensors.ts. */
  readTensor(name: string): Tensor;
  /** A tensor's bytes as stored. */
  readBytes(name: string): Uint8Array;
}

/**
 * Opens the checkpoint in `folder`: `model.safetensors`, or else the shards of `model.safetensors.index.json`.
 * Every header is checked, and that index and shards agree exactly.
 *
 * @throws DeltafitError `file-missing`; `file-refused` where there are only pickled weights, or a name leads out of
 * the folder; `config-invalid` and `file-invalid` for a broken index or shard; `checkpoint-mismatch` where index and
 * shards disagree.
 */
export function openCheckpoint(folder: string): Checkpoint {
  const names = readingFrom(folder, () => fs.readdirSync(folder));
  if (names.includes(singleName)) return checkpointOf(folder, [openInside(folder, singleName)]);
  if (names.includes(indexName)) return checkpointOf(folder, openShards(folder));
  const pickles = names.filter((name) => pickleNames.test(name)).sort();
  if (pickles.length > 0) {
    const shown = pickles.slice(0, 3).map(quote).join(", ") + (pickles.length > 3 ? ", ..." : "");
    const message = `${quote(folder)} has no ${singleName}, only weights in a format that deltafit refuses: ${shown}.`;
    throw new DeltafitError("file-refused", message, pickleHint);
  }
  const message = `${quote(folder)} holds no weights: expected ${singleName} or ${indexName}.`;
  throw new DeltafitError(
    "file-missing",
    message,
    "Check that this is the model's folder and that it is complete.",
  );
}

function openInside(folder: string, name: string): SafetensorsFile {
  return openSafetensors(resolveInside(folder, name, hubCacheRepository(folder)));
}

const indexSchema = z.looseObject({
  weight_map: z.custom<object>(isTextMap, "an object of tensor names and file names"),
});

function isTextMap(value: unknown): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((entry) => typeof entry === "string");
}

/** Opens every shard the index names, and checks that each holds exactly the tensors the index says. */
function openShards(folder: string): readonly SafetensorsFile[] {
  const indexPath = resolveInside(folder, indexName, hubCacheRepository(folder));
  const index = parseWithSchema(indexSchema, readJsonFile(indexPath), quote(indexPath));
  const shardOfTensor = new Map<string, string>(Object.entries(index.weight_map));
  const shards = [...new Set(shardOfTensor.values())].sort();
  if (shards.length > maximumShards) {
    const message = `${quote(indexPath)} names ${shards.length} files: expected at most ${maximumShards}.`;
    throw new DeltafitError("file-invalid", message);
  }
  const files = shards.map((shard) => [shard, openInside(folder, shard)] as const);
  checkIndex(indexPath, shardOfTensor, new Map(files));
  return files.map(([, file]) => file);
}

function checkIndex(
  indexPath: string,
  shardOfTensor: ReadonlyMap<string, string>,
  files: ReadonlyMap<string, SafetensorsFile>,
): void {
  const mismatch = (problem: string): DeltafitError =>
    new DeltafitError("checkpoint-mismatch", `${quote(indexPath)} ${problem}.`, "Download the model again.");
  for (const [tensor, shard] of shardOfTensor) {
    if (files.get(shard)?.tensors.has(tensor) !== true) {
      throw mismatch(`says that tensor ${quote(tensor)} is in ${quote(shard)}, but it is not there`);
    }
  }
  for (const [shard, file] of files) {
    for (const tensor of file.tensors.keys()) {
      const listed = shardOfTensor.get(tensor);
      if (listed === undefined) throw mismatch(`does not list tensor ${quote(tensor)} of ${quote(shard)}`);
      if (listed !== shard) {
        throw mismatch(
          `lists tensor ${quote(tensor)} in ${quote(listed)}, but it is in ${quote(shard)} as well`,
        );
      }
    }
  }
}

function checkpointOf(folder: string, files: readonly SafetensorsFile[]): Checkpoint {
  const tensors = new Map<string, StoredTensor>();
  const fileOfTensor = new Map<string, SafetensorsFile>();
  let totalBytes = 0;
  for (const file of files) {
    for (const [name, location] of file.tensors) {
      tensors.set(name, { ...location, path: file.path });
      fileOfTensor.set(name, file);
      totalBytes += location.byteLength;
    }
  }
  const fileOf = (name: string): SafetensorsFile => {
    const file = fileOfTensor.get(name);
    if (file !== undefined) return file;
    const message = `The checkpoint ${quote(folder)} has no tensor ${quote(name)} among its ${tensors.size} tensors.`;
    throw new DeltafitError("checkpoint-mismatch", message);
  };
  return {
    folder,
    tensors,
    totalBytes,
    readFloat32: (name, into) => readFloat32(fileOf(name), name, into),
    readTensor: (name) => readTensor(fileOf(name), name),
    readBytes: (name) => readTensorBytes(fileOf(name), name),
  };
}
