/**
 * @file The flat vector of parameters: which tensor lies where. One float32 vector holds all that is trained,
 * so that an optimiser, a norm or a checkpoint is one operation over one buffer.
 */
import { internalError } from "../errors.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { ParameterSpec } from "./contract.ts";

export interface LayoutEntry {
  /** Name of the adapter that brings the tensor. */
  readonly adapter: string;
  readonly key: string;
  readonly shape: readonly number[];
  /** Elements from the start of the vector. */
  readonly offset: number;
  readonly size: number;
}

export interface ParameterLayout {
  readonly entries: readonly LayoutEntry[];
  /** Elements of the whole vector. */
  readonly size: number;
}

/** Tensors one after the other, in the order given. */
export function layOut(
  parameters: readonly { readonly adapter: string; readonly spec: Pick<ParameterSpec, "key" | "shape"> }[],
): ParameterLayout {
  let offset = 0;
  const entries = parameters.map(({ adapter, spec: { key, shape } }) => {
    const size = elementCount(shape);
    const entry = { adapter, key, shape, offset, size };
    offset += size;
    return entry;
  });
  return { entries, size: offset };
}

/** One tensor of a vector, without a copy. */
export function entryValues(vector: Float32Array, entry: LayoutEntry): Float32Array {
  return vector.subarray(entry.offset, entry.offset + entry.size);
}

export function findEntry(layout: ParameterLayout, adapter: string, key: string): LayoutEntry {
  const entry = layout.entries.find((candidate) => candidate.adapter === adapter && candidate.key === key);
  if (!entry) throw internalError(`the adapter "${adapter}" has no parameter "${key}".`);
  return entry;
}
