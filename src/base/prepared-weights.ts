/**
 * @file Float32 values of a checkpoint's tensors, as places in files that a runtime can map: the checkpoint's own
 * files where they hold float32, otherwise a converted copy in the cache, made once and shared by all processes.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { cacheFolder } from "../files/cache-folder.ts";
import type { Checkpoint } from "../files/checkpoint.ts";
import type { FourBitCheckpoint } from "../files/four-bit-checkpoint.ts";
import { openSafetensors } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { internalError } from "../errors.ts";

/** Bumped when the form of prepared files changes. */
const formatVersion = 1;

/** Finds, or makes, the float32 values of tensors given by their stored names. */
export function prepareWeights(
  checkpoint: FourBitCheckpoint,
  stored: readonly string[],
  nameOf: (stored: string) => string,
): (stored: string) => WeightLocation {
  const converted = stored.filter(
    (name) => checkpoint.tensors.get(nameOf(name))?.dtype !== "float32" || checkpoint.fourBit.has(nameOf(name)),
  );
  const direct = (name: string): WeightLocation => {
    const tensor = checkpoint.tensors.get(nameOf(name));
    if (!tensor) throw internalError(`the checkpoint was not checked for ${name}.`);
    return { path: tensor.path, offset: tensor.offset, byteLength: tensor.byteLength };
  };
  if (converted.length === 0) return direct;
  const path = preparedPath(contentKey(`float32 ${formatVersion}`, checkpoint, converted.map(nameOf)));
  if (!fs.existsSync(path))
    writePrepared(
      path,
      converted.map((name) => ({
        name,
        shape: checkpoint.tensors.get(nameOf(name))?.shape ?? [],
        values: () => checkpoint.readFloat32(nameOf(name)),
      })),
    );
  const locations = locationsIn(path);
  return (name) => locations.get(name) ?? direct(name);
}

/** Path of a prepared file with the given key. */
export function preparedPath(key: string): string {
  const folder = join(cacheFolder(), "weights");
  fs.mkdirSync(folder, { recursive: true });
  return join(folder, `${key}.safetensors`);
}

/** Writes float32 tensors one after the other, so that only one is in memory; the file appears whole or not at all. */
export function writePrepared(
  path: string,
  tensors: readonly { readonly name: string; readonly shape: readonly number[]; readonly values: () => Float32Array }[],
): void {
  writeSafetensors(
    path,
    tensors.map(({ name, shape, values }) => ({
      name,
      dtype: "float32" as const,
      shape,
      *chunks() {
        const array = values();
        yield new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      },
    })),
  );
}

/** Places of the tensors of a prepared file. */
export function locationsIn(path: string): ReadonlyMap<string, WeightLocation> {
  const { tensors } = openSafetensors(path);
  return new Map([...tensors].map(([name, { offset, byteLength }]) => [name, { path, offset, byteLength }]));
}

/** Hash of what a prepared file depends on: its kind, the tensors' names and the bytes of the files that hold them. */
export function contentKey(kind: string, checkpoint: Checkpoint, names: readonly string[]): string {
  const hash = createHash("sha256").update(`${kind}\n${names.join("\n")}\n`);
  const paths = new Set(names.flatMap((name) => checkpoint.tensors.get(name)?.path ?? []));
  for (const path of [...paths].sort()) hash.update(digestOf(path));
  return hash.digest("hex").slice(0, 40);
}

/** SHA-256 of a file. Remembered under what identifies an unchanged file, since large files take seconds to read. */
function digestOf(path: string): string {
  const { dev, ino, size, mtimeNs } = fs.statSync(path, { bigint: true });
  const folder = join(cacheFolder(), "digests");
  const memo = join(folder, createHash("sha256").update(`${path}\n${dev} ${ino} ${size} ${mtimeNs}`).digest("hex").slice(0, 40));
  try {
    return fs.readFileSync(memo, "utf8");
  } catch {
    const digest = hashFile(path);
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(memo, digest);
    return digest;
  }
}

function hashFile(path: string): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(2 ** 20);
  const file = fs.openSync(path, "r");
  try {
    for (let count; (count = fs.readSync(file, piece)) > 0; ) hash.update(piece.subarray(0, count));
  } finally {
    fs.closeSync(file);
  }
  return hash.digest("hex");
}
