/**
 * @file Reads the tensors of a file that torch.save wrote (a zip archive since torch 1.6), without running anything
 * of it: the archive holds a pickle that names tensors, and their bytes uncompressed beside it.
 * Source: pytorch/pytorch, torch/_utils.py (`_rebuild_tensor_v2`) and torch/serialization.py.
 */
import { DeltafitError } from "../errors.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { StoredDataType } from "../tensor/tensor.ts";
import { widenBfloat16, widenFloat16 } from "../tensor/half.ts";
import { isKind, readPickle } from "./pickle-values.ts";
import type { PickleDictionary, PickleMeaning, PickleObject, PickleValue } from "./pickle-values.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";
import { listZipEntries } from "./zip-entries.ts";
import type { EntryPlace } from "./zip-entries.ts";

/** A tensor of an archive: a view of a storage. */
interface ArchivedTensor {
  readonly storage: ArchivedStorage;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

interface ArchivedStorage {
  readonly dtype: StoredDataType;
  readonly key: string;
  readonly elements: number;
}

/** Tensors of a file by their names in its dictionary. */
export interface TorchArchive {
  readonly path: string;
  readonly tensors: ReadonlyMap<
    string,
    { readonly dtype: StoredDataType; readonly shape: readonly number[] }
  >;
  /** A floating point tensor's values as float32, row-major. */
  readonly readFloat32: (name: string) => Float32Array;
}

const storageTypes: Readonly<Partial<Record<string, StoredDataType>>> = {
  "torch.FloatStorage": "float32",
  "torch.HalfStorage": "float16",
  "torch.BFloat16Storage": "bfloat16",
  "torch.DoubleStorage": "float64",
  "torch.LongStorage": "int64",
  "torch.IntStorage": "int32",
  "torch.ByteStorage": "uint8",
  "torch.BoolStorage": "bool",
};

const maximumPickleBytes = 2 ** 28;

/**
 * Opens a file of torch.save that holds a dictionary of tensors, or a dictionary with exactly one of those in it.
 * @throws DeltafitError `file-missing`; `file-refused` where it holds code or was written before torch 1.6;
 * `file-invalid`.
 */
export async function openTorchArchive(path: string): Promise<TorchArchive> {
  const where = quote(path);
  refuseOtherFormats(path);
  const places = await listZipEntries(path);
  const [folder, pickle] = findPickle(places, where);
  const bytes = new Uint8Array(pickle.byteLength);
  withOpenFile(path, (file) => readExactly(file, bytes, pickle.offset));
  const { meaning, tensors } = tensorMeaning();
  const tensorOf = (value: PickleValue) => (isKind(value, "object") ? tensors.get(value) : undefined);
  const found = tensorsOf(readPickle(bytes, where, meaning), tensorOf, where);
  const readers = new Map(
    [...found].map(([name, tensor]) => {
      const place = places.get(`${folder}/data/${tensor.storage.key}`);
      checkTensor(name, tensor, place, where);
      return [name, () => readTensor(path, name, tensor, place?.offset ?? 0)] as const;
    }),
  );
  return {
    path,
    tensors: new Map(
      [...found].map(([name, { storage, shape }]) => [name, { dtype: storage.dtype, shape }] as const),
    ),
    readFloat32(name) {
      const read = readers.get(name);
      if (read === undefined)
        throw new DeltafitError("checkpoint-mismatch", `${where} has no tensor ${quote(name)}.`);
      return read();
    },
  };
}

function refuseOtherFormats(path: string): void {
  const start = new Uint8Array(4);
  withOpenFile(path, (file) => {
    if (file.identity.byteLength >= start.length) readExactly(file, start, 0);
  });
  if (Buffer.from(start).toString("latin1") === "PK\u0003\u0004") return;
  throw new DeltafitError(
    "file-refused",
    `${quote(path)} is not the zip archive that torch.save has written since torch 1.6.`,
    "Load it with a current torch and save its state dictionary again, best as safetensors.",
  );
}

/** The pickle stands in the archive's one folder, whatever that is called. */
function findPickle(places: ReadonlyMap<string, EntryPlace>, where: string): [string, EntryPlace] {
  for (const [name, place] of places) {
    const folder = /^([^/]+)\/data\.pkl$/.exec(name)?.[1];
    if (folder === undefined) continue;
    if (place.byteLength > maximumPickleBytes)
      throw new DeltafitError("file-invalid", `${where} has a pickle of ${place.byteLength} bytes.`);
    return [folder, place];
  }
  throw new DeltafitError(
    "file-invalid",
    `${where} is a zip archive without data.pkl: expected what torch.save writes.`,
  );
}

const parameterCall = "torch._utils._rebuild_parameter";
const tensorCalls: readonly string[] = ["torch._utils._rebuild_tensor_v2", parameterCall];
const dictionaryCall = "collections.OrderedDict";

/** What a pickle of tensors means, and the tensors it was found to speak of. */
function tensorMeaning(): {
  readonly meaning: PickleMeaning;
  readonly tensors: WeakMap<object, ArchivedTensor>;
} {
  const storages = new WeakMap<object, ArchivedStorage>();
  const tensors = new WeakMap<object, ArchivedTensor>();
  function remember<Found>(into: WeakMap<object, Found>, found: Found): PickleObject {
    const value = { kind: "object" } as const;
    into.set(value, found);
    return value;
  }
  const meaning: PickleMeaning = {
    isKnown: (name) =>
      storageTypes[name] !== undefined || tensorCalls.includes(name) || name === dictionaryCall,
    call(name, parameters) {
      if (name === dictionaryCall)
        return parameters.length === 0 ? { kind: "dictionary", entries: new Map() } : undefined;
      const [first, offset, size, stride] = parameters;
      if (name === parameterCall) return first;
      const storage = isKind(first, "object") ? storages.get(first) : undefined;
      const [shape, strides] = [wholeNumbers(size), wholeNumbers(stride)];
      if (storage === undefined || !isWhole(offset) || shape?.length !== strides?.length) return undefined;
      if (shape === undefined || strides === undefined) return undefined;
      return remember(tensors, { storage, offset, shape, strides });
    },
    persistent(id) {
      if (!isKind(id, "tuple")) return undefined;
      const [tag, type, key, , elements] = id.items;
      const dtype = isKind(type, "global") ? storageTypes[type.name] : undefined;
      if (tag !== "storage" || dtype === undefined || typeof key !== "string" || !isWhole(elements))
        return undefined;
      return remember(storages, { dtype, key, elements });
    },
  };
  return { meaning, tensors };
}

function isWhole(value: PickleValue | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function wholeNumbers(value: PickleValue | undefined): readonly number[] | undefined {
  if (!isKind(value, "tuple")) return undefined;
  const numbers = value.items.filter(isWhole);
  return numbers.length === value.items.length ? numbers : undefined;
}

type TensorOf = (value: PickleValue) => ArchivedTensor | undefined;

/** The dictionary's tensors, or those of the one dictionary in it that has any, as `model_state_dict`. */
function tensorsOf(
  root: PickleValue,
  tensorOf: TensorOf,
  where: string,
): ReadonlyMap<string, ArchivedTensor> {
  const own = isKind(root, "dictionary") ? directTensors(root, tensorOf) : new Map<string, ArchivedTensor>();
  if (own.size > 0 || !isKind(root, "dictionary")) return nonEmpty(own, where);
  const inner = [...root.entries.values()]
    .flatMap((value) => (isKind(value, "dictionary") ? [directTensors(value, tensorOf)] : []))
    .filter(({ size }) => size > 0);
  return nonEmpty(inner.length === 1 ? (inner[0] ?? own) : own, where);
}

function directTensors({ entries }: PickleDictionary, tensorOf: TensorOf): Map<string, ArchivedTensor> {
  return new Map(
    [...entries].flatMap(([name, value]) => {
      const tensor = tensorOf(value);
      return typeof name === "string" && tensor !== undefined ? [[name, tensor] as const] : [];
    }),
  );
}

function nonEmpty(
  tensors: ReadonlyMap<string, ArchivedTensor>,
  where: string,
): ReadonlyMap<string, ArchivedTensor> {
  if (tensors.size > 0) return tensors;
  throw new DeltafitError(
    "file-invalid",
    `${where} holds no dictionary of tensors.`,
    "Save the adapter's state dictionary, as loralib's lora_state_dict gives it.",
  );
}

function checkTensor(
  name: string,
  { storage, offset, shape, strides }: ArchivedTensor,
  place: EntryPlace | undefined,
  where: string,
): void {
  const last = shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] ?? 0), offset);
  const isEmpty = shape.includes(0);
  const fits =
    place?.byteLength === storage.elements * bytesPerElement[storage.dtype] &&
    Number.isSafeInteger(elementCount(shape)) &&
    elementCount(shape) <= storage.elements &&
    (isEmpty || last < storage.elements);
  if (fits) return;
  throw new DeltafitError(
    "file-invalid",
    `${where}: the tensor ${quote(name)} of shape [${shape.join(", ")}] does not lie within its storage ${quote(storage.key)}.`,
    "Check that the download or the copy is complete.",
  );
}

function readTensor(path: string, name: string, tensor: ArchivedTensor, start: number): Float32Array {
  const { storage, offset, shape, strides } = tensor;
  const bytes = new Uint8Array(storage.elements * bytesPerElement[storage.dtype]);
  withOpenFile(path, (file) => readExactly(file, bytes, start));
  const values = asFloat32(bytes, storage.dtype);
  if (values === undefined)
    throw new DeltafitError(
      "file-invalid",
      `${quote(path)}: the tensor ${quote(name)} holds ${storage.dtype}; expected floating point numbers.`,
    );
  const result = new Float32Array(elementCount(shape));
  const index = shape.map(() => 0);
  let position = offset;
  for (let element = 0; element < result.length; element++) {
    result[element] = values[position] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const [stride = 0, extent = 0] = [strides[axis], shape[axis]];
      const next = (index[axis] ?? 0) + 1;
      position += stride;
      index[axis] = next;
      if (next < extent) break;
      position -= stride * extent;
      index[axis] = 0;
    }
  }
  return result;
}

function asFloat32(bytes: Uint8Array, dtype: StoredDataType): ArrayLike<number> | undefined {
  if (dtype === "float32") return new Float32Array(bytes.buffer);
  if (dtype === "float64") return new Float64Array(bytes.buffer);
  if (dtype !== "float16" && dtype !== "bfloat16") return undefined;
  const halves = new Uint16Array(bytes.buffer);
  const into = new Float32Array(halves.length);
  return dtype === "float16" ? widenFloat16(halves, into) : widenBfloat16(halves, into);
}
