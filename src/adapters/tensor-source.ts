/** @file Where an adapter's tensors come from, whatever the file's format. */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { readFloat32, readTensor } from "../files/safetensors.ts";
import type { SafetensorsFile } from "../files/safetensors.ts";

/** Named tensors of a file. */
export interface TensorSource {
  /** For error messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
  /**
   * A tensor's values, row-major.
   * @param into Filled and returned; of the tensor's number of elements.
   */
  readonly readFloat32: (name: string, into?: Float32Array) => Float32Array;
  /** The numbers of a tensor of whole numbers. Left out where the format has floating point numbers alone. */
  readonly readWhole?: (name: string) => Int32Array;
}

/** The same tensors, called by other names. */
export function renamedSource(source: TensorSource, rename: (name: string) => string): TensorSource {
  const { path, tensors, readFloat32: read, readWhole: whole } = source;
  const names = new Map([...tensors.keys()].map((name) => [rename(name), name]));
  const own = (name: string) => names.get(name) ?? name;
  return {
    path,
    tensors: new Map([...tensors].map(([name, tensor]) => [rename(name), tensor])),
    readFloat32: (name, into) => read(own(name), into),
    ...(whole && { readWhole: (name: string) => whole(own(name)) }),
  };
}

export function safetensorsSource(file: SafetensorsFile): TensorSource {
  return {
    path: file.path,
    tensors: file.tensors,
    readFloat32: (name, into) => readFloat32(file, name, into),
    readWhole: (name) => readWhole(file, name),
  };
}

/** @throws DeltafitError `file-invalid` for floating point numbers, truth values and numbers beyond 32 bits. */
function readWhole(file: SafetensorsFile, name: string): Int32Array {
  const { dtype, data } = readTensor(file, name);
  const isWhole = dtype !== "float32" && dtype !== "bool";
  const numbers = Array.from(isWhole ? data : [], Number);
  const isWithin = (value: number) => Math.abs(value) < 2 ** 31;
  if (isWhole && numbers.every(isWithin)) return Int32Array.from(numbers);
  throw new DeltafitError(
    "file-invalid",
    `Tensor ${quote(name)} of ${quote(file.path)}: expected whole numbers of at most 32 bits, found ${isWhole ? "larger ones" : dtype}.`,
    "Check that the download or the copy is complete.",
  );
}
