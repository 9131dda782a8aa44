/** @file Where an adapter's tensors come from, whatever the file's format. */
import { readFloat32 } from "../files/safetensors.ts";
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
}

export function safetensorsSource(file: SafetensorsFile): TensorSource {
  return {
    path: file.path,
    tensors: file.tensors,
    readFloat32: (name, into) => readFloat32(file, name, into),
  };
}
