/**
 * @file ONNX Runtime's `.onnx_adapter` files, both ways: a flat buffer of named tensors. Everything read is checked
 * against the file's length first. Knows nothing of what the tensors mean.
 * Source: microsoft/onnxruntime, onnxruntime/lora/adapter_format/adapter_schema.fbs.
 */
import { Builder } from "flatbuffers";
import { DeltafitError } from "../errors.ts";
import { widenBfloat16, widenFloat16 } from "../tensor/half.ts";
import { elementCount } from "../tensor/tensor.ts";
import { writeFileAtomic } from "./atomic.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";

/** A float tensor of an adapter file. */
export interface OnnxParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

const identifier = "TORT";
const formatVersion = 1;
/** `TensorDataType` of the schema, for the types that adapters are of: their widths in bytes. */
const widths: Readonly<Partial<Record<number, number>>> = { 1: 4, 10: 2, 16: 2 };
const float32Type = 1;
const float16Type = 10;
/** Places of fields in a table, in the schema's order: a field's number n stands at 4 + 2 n. */
const adapterFields = { formatVersion: 4, parameters: 10 } as const;
const parameterFields = { name: 4, dimensions: 6, dataType: 8, data: 10 } as const;
const maximumBytes = 2 ** 31 - 1;
const maximumDimensions = 8;
const alignment = 8;

/** @throws DeltafitError `write-failed`; an earlier file of that name is untouched then. */
export function writeOnnxAdapter(path: string, parameters: readonly OnnxParameter[]): void {
  const builder = new Builder(2 ** 16);
  const offsets = parameters.map(({ name, shape, values }) => {
    const data = createBytes(builder, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    builder.startVector(alignment, shape.length, alignment);
    for (const extent of [...shape].reverse()) builder.addInt64(BigInt(extent));
    const dimensions = builder.endVector();
    const label = builder.createString(name);
    builder.startObject(4);
    builder.addFieldOffset(0, label, 0);
    builder.addFieldOffset(1, dimensions, 0);
    builder.addFieldInt32(2, float32Type, 0);
    builder.addFieldOffset(3, data, 0);
    return builder.endObject();
  });
  builder.startVector(4, offsets.length, 4);
  for (const offset of [...offsets].reverse()) builder.addOffset(offset);
  const vector = builder.endVector();
  builder.startObject(4);
  builder.addFieldInt32(0, formatVersion, 0);
  builder.addFieldInt32(1, 1, 0);
  builder.addFieldInt32(2, 1, 0);
  builder.addFieldOffset(3, vector, 0);
  builder.finish(builder.endObject(), identifier);
  writeFileAtomic(path, builder.asUint8Array());
}

/** A vector of bytes whose first one is aligned to 8, as the schema asks. */
function createBytes(builder: Builder, bytes: Uint8Array): number {
  builder.prep(alignment, bytes.length);
  return builder.createByteVector(bytes);
}

/**
 * The float tensors of an adapter file, those of 16 bits widened.
 * @throws DeltafitError `file-missing`, `file-invalid`.
 */
export function readOnnxAdapter(path: string): OnnxParameter[] {
  const bytes = withOpenFile(path, (file) => {
    const { byteLength } = file.identity;
    if (byteLength > maximumBytes) throw invalid(path, `it has ${byteLength} bytes`);
    const content = new Uint8Array(byteLength);
    readExactly(file, content, 0);
    return content;
  });
  if (Buffer.from(bytes.subarray(4, 8)).toString("latin1") !== identifier)
    throw invalid(path, `bytes 4 to 7 are not "${identifier}"`);
  try {
    return readParameters(new BufferReader(bytes), path);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw invalid(path, "it points outside of itself", error);
  }
}

function invalid(path: string, found: string, cause?: unknown): DeltafitError {
  return new DeltafitError(
    "file-invalid",
    `${quote(path)} is no adapter of ONNX Runtime: ${found}.`,
    "Check that the download or the copy is complete.",
    cause,
  );
}

/** Follows the references of a flat buffer; reading outside of it throws a RangeError. */
class BufferReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  uint32(position: number): number {
    return this.#view.getUint32(position, true);
  }

  /** Where a reference leads. */
  follow(position: number): number {
    return position + this.uint32(position);
  }

  /** Position of a table's field; `undefined` where it has its default. */
  field(table: number, place: number): number | undefined {
    const fields = table - this.#view.getInt32(table, true);
    if (place >= this.#view.getUint16(fields, true)) return undefined;
    const offset = this.#view.getUint16(fields + place, true);
    return offset === 0 ? undefined : table + offset;
  }

  /** First element and number of elements of a vector that a field refers to. */
  vector(table: number, place: number, width: number): { readonly start: number; readonly count: number } {
    const position = this.field(table, place);
    if (position === undefined) return { start: 0, count: 0 };
    const vector = this.follow(position);
    const count = this.uint32(vector);
    if (vector + 4 + count * width > this.#bytes.length) throw new RangeError("a vector beyond the end");
    return { start: vector + 4, count };
  }

  bytes(start: number, count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes.subarray(start, start + count));
  }

  int64(position: number): number {
    return Number(this.#view.getBigInt64(position, true));
  }
}

function readParameters(reader: BufferReader, path: string): OnnxParameter[] {
  const root = reader.follow(0);
  const version = reader.field(root, adapterFields.formatVersion);
  const found = version === undefined ? 0 : reader.uint32(version);
  if (found !== formatVersion)
    throw invalid(path, `its format has the version ${found}, expected ${formatVersion}`);
  const { start, count } = reader.vector(root, adapterFields.parameters, 4);
  const parameters = Array.from({ length: count }, (_, index) =>
    readParameter(reader, reader.follow(start + 4 * index), path),
  );
  const names = new Set(parameters.map(({ name }) => name));
  if (names.size < parameters.length) throw invalid(path, "two of its tensors have one name");
  return parameters;
}

function readParameter(reader: BufferReader, table: number, path: string): OnnxParameter {
  const label = reader.vector(table, parameterFields.name, 1);
  const name = Buffer.from(reader.bytes(label.start, label.count)).toString("utf8");
  const dimensions = reader.vector(table, parameterFields.dimensions, 8);
  if (dimensions.count > maximumDimensions)
    throw invalid(path, `the tensor ${quote(name)} has ${dimensions.count} dimensions`);
  const shape = Array.from({ length: dimensions.count }, (_, axis) =>
    reader.int64(dimensions.start + 8 * axis),
  );
  const typeField = reader.field(table, parameterFields.dataType);
  const type = typeField === undefined ? 0 : reader.uint32(typeField);
  const width = widths[type];
  if (width === undefined)
    throw invalid(path, `the tensor ${quote(name)} has the data type ${type}; expected 1, 10 or 16 (floats)`);
  const data = reader.vector(table, parameterFields.data, 1);
  const count = shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)
    ? elementCount(shape)
    : NaN;
  if (count * width !== data.count)
    throw invalid(
      path,
      `the tensor ${quote(name)} of shape [${shape.join(", ")}] has ${data.count} bytes of data`,
    );
  return { name, shape, values: asFloat32(reader.bytes(data.start, data.count), type) };
}

function asFloat32(bytes: Uint8Array<ArrayBuffer>, type: number): Float32Array {
  if (type === float32Type) return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  const into = new Float32Array(halves.length);
  return type === float16Type ? widenFloat16(halves, into) : widenBfloat16(halves, into);
}
