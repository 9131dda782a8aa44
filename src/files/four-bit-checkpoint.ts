/**
 * @file Checkpoints whose matrices transformers saved in bitsandbytes' four bits: beside a `weight` of packed bytes stand
 * `weight.absmax`, `weight.quant_map`, for double quantisation `weight.nested_absmax` and `weight.nested_quant_map`, and
 * `weight.quant_state.bitsandbytes__nf4` (or `fp4`), a JSON object. Shown as a checkpoint of float32 matrices, with
 * their packed arrays to be had as well.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { dynamicCodes, unnestScales } from "../tensor/dynamic-eight-bit.ts";
import type { NestedScales } from "../tensor/dynamic-eight-bit.ts";
import { blockCount, dequantiseBlocks, fourBitCodes } from "../tensor/four-bit-blocks.ts";
import type { FourBitBlocks, FourBitKind } from "../tensor/four-bit-blocks.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { Checkpoint, StoredTensor } from "./checkpoint.ts";
import { parseWithSchema } from "./json.ts";
import { quote } from "./quote.ts";

/** A matrix of a checkpoint in four bits. */
export interface FourBitTensor {
  readonly kind: FourBitKind;
  readonly blockSize: number;
  /** Of the matrix, not of its packed bytes. */
  readonly shape: readonly number[];
  /** Its arrays; doubly quantised scales come as float32. */
  readonly read: () => FourBitBlocks;
  /** Its scales as they lie, where they are doubly quantised in the usual 256 codes. */
  readonly nested?: { readonly blockSize: number; readonly read: () => NestedScales } | undefined;
}

/** A checkpoint with the matrices in it that are kept in four bits, by name. */
export interface FourBitCheckpoint extends Checkpoint {
  readonly fourBit: ReadonlyMap<string, FourBitTensor>;
}

const marker = /^(.+)\.quant_state\.bitsandbytes__(nf4|fp4)$/;
const maximumStateBytes = 4096;
const companions = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"];

const stateSchema = z.looseObject({
  quant_type: z.enum(["nf4", "fp4"]),
  blocksize: z.int().min(16).max(4096),
  shape: z
    .array(
      z
        .int()
        .positive()
        .max(2 ** 31),
    )
    .length(2),
  nested_blocksize: z.int().min(16).max(4096).optional(),
  nested_offset: z.number().optional(),
});

/**
 * The checkpoint as it would be with its matrices in float32; the checkpoint's own tensors where none is in four bits.
 * @throws DeltafitError `file-invalid` where a matrix in four bits is incomplete or contradicts itself.
 */
export function withFourBitTensors(checkpoint: Checkpoint): FourBitCheckpoint {
  const fourBit = new Map<string, FourBitTensor>();
  const hidden = new Set<string>();
  for (const name of checkpoint.tensors.keys()) {
    const [, weight, kind] = marker.exec(name) ?? [];
    if (weight === undefined) continue;
    fourBit.set(weight, openTensor(checkpoint, weight, name, kind === "fp4" ? "fp4" : "nf4"));
    for (const companion of [name, ...companions.map((suffix) => `${weight}.${suffix}`)])
      hidden.add(companion);
  }
  const dequantised = (name: string, into?: Float32Array): Float32Array => {
    const tensor = fourBit.get(name);
    if (!tensor) return checkpoint.readFloat32(name, into);
    const { kind, blockSize, shape, read } = tensor;
    const values = dequantiseBlocks(read(), elementCount(shape), blockSize, kind);
    into?.set(values);
    return into ?? values;
  };
  return {
    ...checkpoint,
    fourBit,
    tensors: new Map(
      [...checkpoint.tensors].flatMap(([name, stored]): [string, StoredTensor][] => {
        if (hidden.has(name)) return [];
        const shape = fourBit.get(name)?.shape;
        return [[name, shape ? { ...stored, dtype: "float32", shape } : stored]];
      }),
    ),
    readFloat32: dequantised,
    readTensor: (name) => {
      const shape = fourBit.get(name)?.shape;
      return shape ? { dtype: "float32", shape, data: dequantised(name) } : checkpoint.readTensor(name);
    },
    readBytes: (name) =>
      fourBit.has(name) ? new Uint8Array(dequantised(name).buffer) : checkpoint.readBytes(name),
  };
}

function openTensor(
  checkpoint: Checkpoint,
  name: string,
  stateName: string,
  kind: FourBitKind,
): FourBitTensor {
  const invalid = (problem: string) =>
    new DeltafitError(
      "file-invalid",
      `${quote(checkpoint.folder)}: the matrix ${quote(name)} in four bits ${problem}.`,
      "Download the model again, or use its checkpoint without quantisation.",
    );
  const required = (tensor: string): StoredTensor => {
    const stored = checkpoint.tensors.get(tensor);
    if (stored) return stored;
    throw invalid(`lacks the tensor ${quote(tensor)}`);
  };
  const stateBytes = required(stateName).byteLength;
  if (stateBytes > maximumStateBytes)
    throw invalid(`has a description of ${stateBytes} bytes: expected at most ${maximumStateBytes}`);
  const state = parseWithSchema(
    stateSchema,
    parseState(checkpoint.readBytes(stateName), invalid),
    quote(stateName),
  );
  const { shape, blocksize: blockSize, nested_blocksize: nestedBlockSize } = state;
  const count = elementCount(shape);
  const blocks = blockCount(count, blockSize);
  if (state.quant_type !== kind)
    throw invalid(`is called ${kind}, but describes itself as ${state.quant_type}`);
  const expectBytes = (tensor: string, expected: number) => {
    const { byteLength } = required(tensor);
    if (byteLength !== expected)
      throw invalid(
        `has ${byteLength} bytes in ${quote(tensor)}: expected ${expected} for [${shape.join(", ")}]`,
      );
  };
  expectBytes(name, Math.ceil(count / 2));
  expectBytes(`${name}.quant_map`, 16 * 4);
  expectBytes(`${name}.absmax`, nestedBlockSize === undefined ? blocks * 4 : blocks);
  if (nestedBlockSize !== undefined) {
    expectBytes(`${name}.nested_absmax`, blockCount(blocks, nestedBlockSize) * 4);
    expectBytes(`${name}.nested_quant_map`, 256 * 4);
  }
  const codes = checkpoint.readFloat32(`${name}.quant_map`);
  if (!codes.every((code, index) => code === fourBitCodes[kind][index]))
    throw invalid(`has other codes than ${kind} in ${quote(`${name}.quant_map`)}`);
  const { scales, nested } =
    nestedBlockSize === undefined
      ? { scales: () => checkpoint.readFloat32(`${name}.absmax`), nested: undefined }
      : openNested(checkpoint, name, nestedBlockSize, state.nested_offset ?? 0);
  return {
    kind,
    blockSize,
    shape,
    read: () => ({ packed: checkpoint.readBytes(name), scales: scales() }),
    nested,
  };
}

function parseState(bytes: Uint8Array, invalid: (problem: string) => DeltafitError): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw invalid("has a description that is no JSON");
  }
}

/** Scales that are themselves kept in eight bits, less their mean. */
function openNested(checkpoint: Checkpoint, name: string, blockSize: number, offset: number) {
  const table = checkpoint.readFloat32(`${name}.nested_quant_map`);
  const read = (): NestedScales => ({
    codes: checkpoint.readBytes(`${name}.absmax`),
    scales: checkpoint.readFloat32(`${name}.nested_absmax`),
    offset: Math.fround(offset),
  });
  return {
    nested: table.every((number, code) => number === dynamicCodes[code]) ? { blockSize, read } : undefined,
    scales: () => unnestScales(read(), blockSize, table),
  };
}
