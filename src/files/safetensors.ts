/**
 * @file Opening safetensors files and reading their tensors. Everything a header says is checked before a tensor
 * is read; a file that changes in between is refused. Knows nothing of models.
 */
import { DeltafitError } from "../errors.ts";
import { widenBfloat16, widenFloat16 } from "../tensor/half.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import type { StoredDataType, Tensor } from "../tensor/tensor.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";
import type { FileIdentity, OpenFile } from "./read.ts";
import { lengthBytes, parseHeader, parseHeaderLength } from "./safetensors-header.ts";
import type { TensorLocation } from "./safetensors-header.ts";

export type { TensorLocation } from "./safetensors-header.ts";

/** Elements converted at a time, so that a converted tensor never exists twice. */
const elementsPerPiece = 2 ** 18;
/** Enough of a file's beginning to recognise formats that are taken for safetensors. */
const signatureBytes = 64;

/** A safetensors file whose header was checked. No descriptor is kept open. */
export interface SafetensorsFile {
  readonly path: string;
  readonly byteLength: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorLocation>;
  readonly identity: FileIdentity;
}

/**
 * Opens a safetensors file and checks its header.
 *
 * @throws DeltafitError `file-missing`; `file-refused` for what is no regular file, and for pickle and zip archives
 * under whatever name; `file-invalid` for everything else that is not a safetensors file to the last byte.
 */
export function openSafetensors(path: string): SafetensorsFile {
  return withOpenFile(path, (file) => {
    const { byteLength } = file.identity;
    const start = new Uint8Array(Math.min(signatureBytes, byteLength));
    readExactly(file, start, 0);
    refuseOtherFormats(start, path);
    const header = new Uint8Array(parseHeaderLength(start, byteLength, quote(path)));
    readExactly(file, header, lengthBytes);
    return { path, byteLength, identity: file.identity, ...parseHeader(header, byteLength, quote(path)) };
  });
}

function refuseOtherFormats(start: Uint8Array, path: string): void {
  const text = Buffer.from(start).toString("latin1");
  const isZip = text.startsWith("PK\u0003\u0004");
  // A pickle begins with 0x80 and its protocol, which could also be the length of a header. The header's own first
  // byte tells them apart.
  const [first = 0, protocol = 0] = start;
  const isPickle = first === 0x80 && protocol >= 2 && protocol <= 5 && text[lengthBytes] !== "{";
  if (isZip || isPickle) {
    const format = isZip ? "a zip archive, as torch.save writes it" : "a Python pickle";
    const message = `${quote(path)} is ${format}: expected a safetensors file.`;
    throw new DeltafitError("file-refused", message, pickleHint);
  }
  if (text.startsWith("version https://git-lfs")) {
    const message = `${quote(path)} is a Git LFS pointer: expected a safetensors file, found only the note where it is.`;
    throw new DeltafitError(
      "file-invalid",
      message,
      "Fetch the file itself with `git lfs pull`, or download it.",
    );
  }
  if (text.startsWith("GGUF")) {
    const message = `${quote(path)} is a GGUF file: expected a safetensors file.`;
    throw new DeltafitError("file-invalid", message, "Use the model's safetensors checkpoint.");
  }
}

/** What to do about pickled weights, which can run any code when they are loaded. */
export const pickleHint =
  "Pickle can run code when it is loaded, so deltafit never reads it. Convert the weights to safetensors, " +
  "or download the model's safetensors files.";

function locate(file: SafetensorsFile, name: string): TensorLocation {
  const location = file.tensors.get(name);
  if (location !== undefined) return location;
  const message = `${quote(file.path)} has no tensor ${quote(name)} among its ${file.tensors.size} tensors.`;
  throw new DeltafitError("checkpoint-mismatch", message);
}

/** Opens the file again, and refuses it if it is no longer the one whose header was checked. */
function withUnchanged<Result>(file: SafetensorsFile, use: (open: OpenFile) => Result): Result {
  return withOpenFile(file.path, (open) => {
    const { byteLength, modifiedMs, inode } = open.identity;
    const before = file.identity;
    if (byteLength !== before.byteLength || modifiedMs !== before.modifiedMs || inode !== before.inode) {
      const message = `${quote(file.path)} has changed since it was opened.`;
      throw new DeltafitError(
        "file-invalid",
        message,
        "Leave the file alone while deltafit runs, then start again.",
      );
    }
    return use(open);
  });
}

/** Memory for a tensor; sizes are known to lie within the file, which may still be larger than memory. */
function allocate<Result>(location: TensorLocation, make: () => Result): Result {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `No memory for tensor ${quote(location.name)} of shape [${location.shape.join(", ")}].`;
    throw new DeltafitError("memory-exceeded", message, undefined, error);
  }
}

/**
 * A tensor's bytes as they are stored, little-endian, row-major.
 *
 * @throws DeltafitError `checkpoint-mismatch` if there is no such tensor; `file-invalid` if the file has changed.
 */
export function readTensorBytes(file: SafetensorsFile, name: string): Uint8Array {
  const location = locate(file, name);
  const bytes = allocate(location, () => new Uint8Array(location.byteLength));
  withUnchanged(file, (open) => readExactly(open, bytes, location.offset));
  return bytes;
}

/** Reads `into.length` elements from one byte position on and converts them. */
type PieceReader = (open: OpenFile, into: Float32Array, position: number) => void;

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function readHalf(widen: (source: Uint16Array, into: Float32Array) => Float32Array): PieceReader {
  return (open, into, position) => {
    const source = new Uint16Array(into.length);
    readExactly(open, bytesOf(source), position);
    widen(source, into);
  };
}

const pieceReaders: Readonly<Partial<Record<StoredDataType, PieceReader>>> = {
  float32: (open, into, position) => readExactly(open, bytesOf(into), position),
  float16: readHalf(widenFloat16),
  bfloat16: readHalf(widenBfloat16),
  float64: (open, into, position) => {
    const source = new Float64Array(into.length);
    readExactly(open, bytesOf(source), position);
    into.set(source);
  },
};

/**
 * A floating point tensor as float32, row-major: float16 and bfloat16 exactly, float64 rounded. Converted in pieces,
 * so that no second copy of the whole tensor is made.
 *
 * @param into Filled and returned; of the tensor's number of elements.
 * @throws DeltafitError `checkpoint-mismatch` if there is no such tensor, or it holds integers; `file-invalid`
 * if the file has changed.
 */
export function readFloat32(file: SafetensorsFile, name: string, into?: Float32Array): Float32Array {
  const location = locate(file, name);
  const { dtype, offset, byteLength } = location;
  const read = pieceReaders[dtype];
  if (read === undefined) {
    const message = `Tensor ${quote(name)} of ${quote(file.path)}: expected floating point numbers, found ${dtype}.`;
    throw new DeltafitError("checkpoint-mismatch", message);
  }
  const count = byteLength / bytesPerElement[dtype];
  const values = into ?? allocate(location, () => new Float32Array(count));
  if (values.length !== count) {
    const message = `Tensor ${quote(name)} of ${quote(file.path)} has ${count} elements: expected ${values.length}.`;
    throw new DeltafitError("checkpoint-mismatch", message);
  }
  withUnchanged(file, (open) => {
    for (let start = 0; start < count; start += elementsPerPiece) {
      const piece = values.subarray(start, Math.min(start + elementsPerPiece, count));
      read(open, piece, offset + start * bytesPerElement[dtype]);
    }
  });
  return values;
}

/**
 * A tensor in the type that host tensors have: floating point as float32 (see {@link readFloat32}), int16 as
 * int32, all others as they are.
 *
 * @throws DeltafitError as {@link readFloat32}, and `file-invalid` for a boolean that is neither 0 nor 1.
 */
export function readTensor(file: SafetensorsFile, name: string): Tensor {
  const { dtype, shape } = locate(file, name);
  if (pieceReaders[dtype] !== undefined) return { dtype: "float32", shape, data: readFloat32(file, name) };
  const bytes = readTensorBytes(file, name);
  switch (dtype) {
    case "int64":
      return { dtype, shape, data: new BigInt64Array(bytes.buffer) };
    case "int32":
      return { dtype, shape, data: new Int32Array(bytes.buffer) };
    case "uint32":
      return { dtype, shape, data: new Uint32Array(bytes.buffer) };
    case "int16":
      return { dtype: "int32", shape, data: Int32Array.from(new Int16Array(bytes.buffer)) };
    case "int8":
      return { dtype, shape, data: new Int8Array(bytes.buffer) };
    case "bool":
      checkBooleans(bytes, file, name);
      return { dtype, shape, data: bytes };
    default:
      return { dtype: "uint8", shape, data: bytes };
  }
}

function checkBooleans(bytes: Uint8Array, file: SafetensorsFile, name: string): void {
  const wrong = bytes.find((byte) => byte > 1);
  if (wrong === undefined) return;
  const message = `Tensor ${quote(name)} of ${quote(file.path)}: expected booleans of 0 or 1, found ${wrong}.`;
  throw new DeltafitError("file-invalid", message);
}
