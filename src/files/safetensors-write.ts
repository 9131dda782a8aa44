/**
 * @file Writing safetensors files: atomically, and streamed, so that a file may be larger than memory. Knows nothing
 * of what the tensors mean.
 */
import { DeltafitError, internalError } from "../errors.ts";
import { narrowToBfloat16, narrowToFloat16 } from "../tensor/half.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { StoredDataType, Tensor } from "../tensor/tensor.ts";
import { writeFileAtomic } from "./atomic.ts";
import { quote } from "./quote.ts";
import { lengthBytes, maximumHeaderBytes, metadataKey, safetensorsNames } from "./safetensors-header.ts";

const elementsPerPiece = 2 ** 18;

/** A tensor in memory. */
export interface TensorEntry {
  readonly name: string;
  readonly tensor: Tensor;
  /** For float32 tensors: how they are stored; float32 by default. Narrowing rounds to nearest even. */
  readonly storedAs?: "float32" | "float16" | "bfloat16";
}

/** A tensor whose bytes are made, or read from elsewhere, while the file is written. */
export interface StreamedEntry {
  readonly name: string;
  readonly dtype: StoredDataType;
  readonly shape: readonly number[];
  /** Little-endian, row-major, in chunks of any length; called once. */
  readonly chunks: () => Iterable<Uint8Array>;
}

export type SafetensorsEntry = TensorEntry | StreamedEntry;

/**
 * Writes a safetensors file, whole or not at all. Tensors with wider elements come first and then by name, and the
 * header is padded to a multiple of 8 bytes, so that every tensor is aligned to its element size.
 *
 * @param metadata Goes into the header's `__metadata__`; files for torch have `{ format: "pt" }`.
 * @throws DeltafitError `write-failed`: an earlier file of that name is untouched.
 */
export function writeSafetensors(
  path: string,
  entries: readonly SafetensorsEntry[],
  metadata?: Readonly<Record<string, string>>,
): void {
  const streamed = entries.map((entry) => ("tensor" in entry ? streamTensor(entry) : entry));
  streamed.sort(
    (left, right) =>
      bytesPerElement[right.dtype] - bytesPerElement[left.dtype] || compareText(left.name, right.name),
  );
  writeFileAtomic(path, fileChunks(headerBytes(path, streamed, metadata), streamed));
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

function streamTensor({ name, tensor, storedAs }: TensorEntry): StreamedEntry {
  const { dtype, shape, data } = tensor;
  if (data.length !== elementCount(shape)) {
    throw internalError(`tensor ${quote(name)} of shape [${shape.join(", ")}] has ${data.length} elements`);
  }
  if (storedAs === undefined || storedAs === dtype) {
    const chunks = (): Uint8Array[] => [new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
    return { name, dtype, shape, chunks };
  }
  if (!(data instanceof Float32Array))
    throw internalError(`tensor ${quote(name)} of ${dtype} as ${storedAs}`);
  const narrow = storedAs === "float16" ? narrowToFloat16 : narrowToBfloat16;
  return { name, dtype: storedAs, shape, chunks: () => narrowedChunks(data, narrow) };
}

function* narrowedChunks(
  data: Float32Array,
  narrow: (piece: Float32Array) => Uint16Array,
): Generator<Uint8Array> {
  for (let start = 0; start < data.length; start += elementsPerPiece) {
    const piece = narrow(data.subarray(start, start + elementsPerPiece));
    yield new Uint8Array(piece.buffer);
  }
}

function byteLengthOf({ shape, dtype }: StreamedEntry): number {
  return elementCount(shape) * bytesPerElement[dtype];
}

function headerBytes(
  path: string,
  entries: readonly StreamedEntry[],
  metadata: Readonly<Record<string, string>> | undefined,
): Uint8Array {
  const names = new Set<string>();
  const fields = metadata === undefined ? [] : [`${JSON.stringify(metadataKey)}:${JSON.stringify(metadata)}`];
  let begin = 0;
  for (const entry of entries) {
    const { name, dtype, shape } = entry;
    if (name === metadataKey || names.has(name)) throw internalError(`tensor name ${quote(name)} is taken`);
    names.add(name);
    const end = begin + byteLengthOf(entry);
    const description = { dtype: safetensorsNames[dtype], shape, data_offsets: [begin, end] };
    fields.push(`${JSON.stringify(name)}:${JSON.stringify(description)}`);
    begin = end;
  }
  const json = Buffer.from(`{${fields.join(",")}}`, "utf8");
  const length = Math.ceil(json.length / lengthBytes) * lengthBytes;
  if (length > maximumHeaderBytes) {
    const message = `Cannot write ${quote(path)}: the header would have ${length} bytes, expected at most ${maximumHeaderBytes}.`;
    throw new DeltafitError("write-failed", message, "Write fewer tensors or less metadata into one file.");
  }
  const bytes = Buffer.alloc(lengthBytes + length, " ");
  bytes.writeBigUInt64LE(BigInt(length), 0);
  json.copy(bytes, lengthBytes);
  return bytes;
}

function* fileChunks(header: Uint8Array, entries: readonly StreamedEntry[]): Generator<Uint8Array> {
  yield header;
  for (const entry of entries) {
    let written = 0;
    for (const chunk of entry.chunks()) {
      written += chunk.length;
      yield chunk;
    }
    const expected = byteLengthOf(entry);
    if (written !== expected) {
      throw internalError(`tensor ${quote(entry.name)} gave ${written} bytes, expected ${expected}`);
    }
  }
}
