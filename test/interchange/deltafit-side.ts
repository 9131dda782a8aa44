/**
 * @file The one place where the exchange of adapters with PEFT calls deltafit's own forward pass.
 */
import { internalError } from "../../src/errors.ts";

/** A batch of token ids; every list is `[rows][positions]`. */
export interface InputBatch {
  readonly inputIds: readonly (readonly number[])[];
  readonly attentionMask: readonly (readonly number[])[];
  readonly tokenTypeIds?: readonly (readonly number[])[];
}

/**
 * The logits deltafit computes with an adapter on a base.
 *
 * @param base folder in Hugging Face layout
 * @param adapter folder in PEFT's layout
 * @returns `[rows, positions, vocabulary]` or `[rows, labels]`, row-major, padding positions included
 */
export function deltafitLogits(base: string, adapter: string, inputs: InputBatch): Promise<Float32Array> {
  const rows = String(inputs.inputIds.length);
  return Promise.reject(
    internalError(`no forward pass is connected yet (${adapter} on ${base}, ${rows} rows).`),
  );
}
