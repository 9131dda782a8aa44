/** @file Tensors in memory under names, and the rearrangements that formats differ by. */
import type { TensorSource } from "../adapters/tensor-source.ts";

/** A matrix, vector or other tensor, row-major. */
export interface NamedValues {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export function valuesSource(path: string, tensors: ReadonlyMap<string, NamedValues>): TensorSource {
  return {
    path,
    tensors,
    readFloat32(name, into) {
      const { values } = tensors.get(name) ?? { values: new Float32Array() };
      if (into === undefined) return values.slice();
      into.set(values);
      return into;
    },
  };
}

/** [rows, columns] -> [columns, rows]. */
export function transposed({ shape, values }: NamedValues): NamedValues {
  const [rows = 0, columns = 0] = shape;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      result[column * rows + row] = values[row * columns + column] ?? 0;
  return { shape: [columns, rows], values: result };
}

export function scaled({ shape, values }: NamedValues, factor: number): NamedValues {
  return { shape, values: factor === 1 ? values : values.map((value) => value * factor) };
}
