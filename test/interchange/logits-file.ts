/**
 * @file Reads the float32 tensors that `read_adapter.py` and the reference cases hold. Deliberately not
 * deltafit's own safetensors reader: what checks deltafit should not rest on it. Reads trusted files only.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { DeltafitError } from "../../src/errors.ts";

export interface Logits {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const entry = z.object({
  dtype: z.string(),
  shape: z.array(z.number()),
  data_offsets: z.tuple([z.number(), z.number()]),
});

/** One float32 tensor of a safetensors file. @throws DeltafitError `file-invalid` where it is absent or of another type. */
export function readLogits(path: string, name: string): Logits {
  const bytes = readFileSync(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = z.looseObject({}).parse(JSON.parse(bytes.toString("utf8", 8, 8 + headerLength)));
  const found = entry.safeParse(header[name]);
  if (!found.success || found.data.dtype !== "F32") {
    throw new DeltafitError("file-invalid", `${path}: expected a float32 tensor '${name}'.`);
  }
  const [start, end] = found.data.data_offsets;
  const body = bytes.subarray(8 + headerLength + start, 8 + headerLength + end);
  return { shape: found.data.shape, data: new Float32Array(new Uint8Array(body).buffer) };
}
