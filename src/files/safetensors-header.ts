/**
 * @file The header of a safetensors file: checked to the last byte before anything is allocated for the tensors
 * it names. Works on bytes that were already read; knows no file system.
 *
 * Format: 8 bytes little-endian header length, a JSON object of that length, then the tensors' bytes without a gap.
 * Source: https://github.com/huggingface/safetensors (README, "Format").
 */
import { DeltafitError } from "../errors.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import type { StoredDataType } from "../tensor/tensor.ts";
import { findJsonProblem } from "./json-text.ts";
import { quote } from "./quote.ts";

/** Bytes of the length in front of the header. */
export const lengthBytes = 8;
/** The bound that other readers have as well; a header needs about 100 bytes a tensor. */
export const maximumHeaderBytes = 25_000_000;
/** The header holds objects of objects of lists. */
const maximumDepth = 3;
/** More axes than any tensor library allows. */
const maximumAxes = 64;

export const metadataKey = "__metadata__";

/** The names of safetensors for the element types deltafit reads. */
export const safetensorsNames: Readonly<Record<StoredDataType, string>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  uint32: "U32",
  int16: "I16",
  uint8: "U8",
  int8: "I8",
  bool: "BOOL",
};

const dataTypesByName: ReadonlyMap<string, StoredDataType> = new Map(
  Object.entries(safetensorsNames).map(([dtype, name]) => [name, dtype as StoredDataType]),
);

/** Where and how a tensor is stored. */
export interface TensorLocation {
  readonly name: string;
  readonly dtype: StoredDataType;
  readonly shape: readonly number[];
  /** Of the tensor's first byte, from the beginning of the file. */
  readonly offset: number;
  readonly byteLength: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorLocation>;
}

function invalid(where: string, problem: string): DeltafitError {
  const hint = "The file is damaged or not a safetensors file; download or convert it again.";
  return new DeltafitError("file-invalid", `${where} is not a valid safetensors file: ${problem}.`, hint);
}

/**
 * The header's length, from the first 8 bytes of the file.
 *
 * @param fileBytes Length of the whole file.
 * @throws DeltafitError `file-invalid` unless the header fits into the file and within 25 MB.
 */
export function parseHeaderLength(start: Uint8Array, fileBytes: number, where: string): number {
  if (fileBytes < lengthBytes || start.length < lengthBytes) {
    throw invalid(where, `expected at least ${lengthBytes} bytes, found ${fileBytes}`);
  }
  const length = new DataView(start.buffer, start.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(maximumHeaderBytes)) {
    throw invalid(
      where,
      `expected a header of at most ${maximumHeaderBytes} bytes, found a length of ${length}`,
    );
  }
  const available = fileBytes - lengthBytes;
  if (length > BigInt(available)) {
    throw invalid(where, `the header has a length of ${length} bytes, but only ${available} bytes follow`);
  }
  return Number(length);
}

/**
 * Checks a header and returns what it says.
 *
 * @param header Exactly the header's bytes, without the 8 bytes of its length.
 * @param fileBytes Length of the whole file.
 * @param where What the file is, for error messages: its path in quotes.
 * @throws DeltafitError `file-invalid`.
 */
export function parseHeader(header: Uint8Array, fileBytes: number, where: string): SafetensorsHeader {
  const dataStart = lengthBytes + header.length;
  const tensors = new Map<string, TensorLocation>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(parseObject(header, where))) {
    if (name === metadataKey) metadata = checkMetadata(value, where);
    else tensors.set(name, checkTensor(name, value, dataStart, where));
  }
  checkContiguous([...tensors.values()], dataStart, fileBytes, where);
  return { metadata, tensors };
}

function parseObject(header: Uint8Array, where: string): object {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw invalid(where, "the header is not UTF-8 text");
  }
  if (!text.startsWith("{")) throw invalid(where, "the header does not begin with {");
  const problem = findJsonProblem(text, maximumDepth);
  if (problem !== undefined) {
    throw invalid(where, `the header is not valid JSON: ${problem.reason} (column ${problem.column})`);
  }
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw invalid(where, "the header is not a JSON object");
  return value;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function checkMetadata(value: unknown, where: string): Record<string, string> {
  if (!isObject(value)) throw invalid(where, `${metadataKey} is not an object`);
  const entries = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== "string")
      throw invalid(where, `${metadataKey} has a value for ${quote(key)} that is no text`);
    return [key, text];
  });
  // Object.fromEntries defines its keys: one called __proto__ becomes a key like any other.
  return Object.fromEntries(entries);
}

function checkTensor(name: string, value: unknown, dataStart: number, where: string): TensorLocation {
  const tensor = `tensor ${quote(name)}`;
  if (!isObject(value)) throw invalid(where, `${tensor} is not described by an object`);
  const fields = new Map<string, unknown>(Object.entries(value));
  const isComplete =
    fields.size === 3 && fields.has("dtype") && fields.has("shape") && fields.has("data_offsets");
  if (!isComplete) {
    const found = [...fields.keys()].slice(0, 8).map(quote).join(", ");
    throw invalid(where, `${tensor} has the fields [${found}], expected dtype, shape and data_offsets`);
  }
  const dtype = checkDataType(fields.get("dtype"), tensor, where);
  const shape = checkShape(fields.get("shape"), tensor, where);
  const [begin, end] = checkOffsets(fields.get("data_offsets"), tensor, where);
  const byteLength = exactByteLength(shape, dtype);
  if (byteLength === undefined) {
    throw invalid(
      where,
      `${tensor} has the shape [${shape.join(", ")}], which is too large to be counted exactly`,
    );
  }
  if (byteLength !== end - begin) {
    const needed = `${safetensorsNames[dtype]} of shape [${shape.join(", ")}] takes ${byteLength} bytes`;
    throw invalid(where, `${tensor} has ${end - begin} bytes, but ${needed}`);
  }
  return { name, dtype, shape, offset: dataStart + begin, byteLength };
}

function checkDataType(value: unknown, tensor: string, where: string): StoredDataType {
  const dtype = typeof value === "string" ? dataTypesByName.get(value) : undefined;
  if (dtype !== undefined) return dtype;
  const found = typeof value === "string" ? quote(value) : "something else than text";
  throw invalid(
    where,
    `${tensor} has the dtype ${found}, expected one of ${[...dataTypesByName.keys()].join(", ")}`,
  );
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
}

function checkShape(value: unknown, tensor: string, where: string): readonly number[] {
  if (!Array.isArray(value) || value.length > maximumAxes || !value.every(isCount)) {
    throw invalid(where, `${tensor} has a shape that is not a list of at most ${maximumAxes} counts`);
  }
  return value;
}

function checkOffsets(value: unknown, tensor: string, where: string): readonly [number, number] {
  const pair: readonly unknown[] = Array.isArray(value) && value.length === 2 ? value : [];
  const [begin, end] = pair;
  if (!isCount(begin) || !isCount(end) || begin > end) {
    throw invalid(where, `${tensor} has data_offsets that are not a begin and an end`);
  }
  return [begin, end];
}

/** Undefined where a product on the way is beyond 2^53, from where on doubles skip integers. */
function exactByteLength(shape: readonly number[], dtype: StoredDataType): number | undefined {
  let product = bytesPerElement[dtype];
  for (const extent of shape) {
    product *= extent;
    if (product > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return product;
}

/** Every byte after the header belongs to exactly one tensor. */
function checkContiguous(
  tensors: TensorLocation[],
  dataStart: number,
  fileBytes: number,
  where: string,
): void {
  // An empty tensor may share its offset with the next one and comes first then.
  tensors.sort((left, right) => left.offset - right.offset || left.byteLength - right.byteLength);
  let end = dataStart;
  for (const { name, offset, byteLength } of tensors) {
    if (offset !== end) {
      const problem = offset < end ? "overlaps the one before it" : "leaves a gap to the one before it";
      const place = `it begins at ${offset - dataStart}, expected ${end - dataStart}`;
      throw invalid(where, `tensor ${quote(name)} ${problem}: ${place}`);
    }
    end += byteLength;
  }
  if (end !== fileBytes) {
    const cause = end > fileBytes ? "the file was cut off" : "something follows the last tensor";
    throw invalid(where, `${cause}: expected ${end} bytes by its header, found ${fileBytes}`);
  }
}
