/**
 * @file The frozen matrices of a base in the forms that its storage and its products ask for: prepared in the cache, or
 * where the checkpoint already has them so. Knows no checkpoint format.
 */
import type { FourBitTensor } from "../files/four-bit-checkpoint.ts";
import type { ModuleTable } from "../methods/contract.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { dequantiseBlocks } from "../tensor/four-bit-blocks.ts";
import { elementCount } from "../tensor/tensor.ts";
import { lazily } from "./lazily.ts";
import { prepareForms } from "./prepared-forms.ts";
import type { FormedMatrix } from "./prepared-forms.ts";
import { arraysOf, fourBitScales, isSixteenBit, nestedArrays, productMatrices, roundScales, roundTo, storableMatrices } from "./weight-storage.ts";
import type { Compute, ProductMatrix, SixteenBitType, StorableMatrix, Storage } from "./weight-storage.ts";

/** Where the numbers of matrices come from. */
export interface MatrixSource {
  /** Hash of what the given stored tensors depend on. */
  readonly key: (stored: readonly string[]) => string;
  readonly read: (stored: string) => Float32Array;
  /** Whether there are numbers at all: a new head has none. */
  readonly has?: (stored: string) => boolean;
  /** A matrix that is there in four bits. */
  readonly fourBit?: (stored: string) => FourBitTensor | undefined;
  /** A tensor that is there in 16 bits of the given type. */
  readonly sixteenBit?: (stored: string, type: SixteenBitType) => WeightLocation | undefined;
  /** The type of 16 bits that a tensor comes in. */
  readonly tableType: (stored: string) => SixteenBitType | undefined;
}

/** Matrices in their forms, by stored names. */
export interface StoredMatrices {
  /** Whether the storage keeps a matrix in a form. */
  readonly keeps: (stored: string) => boolean;
  /** Where the storage keeps a matrix; `undefined` for what stays float32. */
  readonly locate: (stored: string) => WeightLocation | undefined;
  /** What products read in place of a matrix. */
  readonly products: (stored: string) => WeightLocation["products"];
  /** The numbers of a matrix as the storage rounds them; `undefined` for what stays float32. */
  readonly rounded: (stored: string) => Float32Array | undefined;
}

/** What is not in the cache is prepared when something first asks for one of its kind; later starts find it. */
export function storeMatrices(
  modules: ModuleTable,
  storage: Storage,
  compute: Compute,
  source: MatrixSource,
): StoredMatrices {
  const isThere = ({ stored }: { readonly stored: string }) => source.has?.(stored) ?? true;
  const direct = new Map<string, WeightLocation>();
  const formed = new Map<string, FormedMatrix>();
  for (const matrix of storableMatrices(modules, storage, source.tableType).filter(isThere)) {
    const { stored, form } = matrix;
    const asItIs = isSixteenBit(form.kind) ? source.sixteenBit?.(stored, form.kind) : undefined;
    if (asItIs) direct.set(stored, asItIs);
    else formed.set(stored, formMatrix(matrix, source));
  }
  const prepared = prepare(source, [...formed.values()]);
  const rounded = (stored: string) => formed.get(stored)?.rounded();
  const products = prepareProducts(compute === "int8" ? productMatrices(modules).filter(isThere) : [], source, {
    read: (stored) => rounded(stored) ?? source.read(stored),
    blocks: (stored) => inBlocks(formed.get(stored), () => source.read(stored)),
  });
  return {
    keeps: (stored) => direct.has(stored) || formed.has(stored),
    locate: (stored) => direct.get(stored) ?? prepared(stored),
    products,
    rounded,
  };
}

/** What products in eight bits read in place of matrices. */
function prepareProducts(
  factors: readonly ProductMatrix[],
  source: MatrixSource,
  given: {
    readonly read: (stored: string) => Float32Array;
    readonly blocks: (stored: string) => readonly FormedMatrix[];
  },
): StoredMatrices["products"] {
  const scaledBy = (axis: 0 | 1) =>
    prepare(
      source,
      factors
        .filter(({ axes }) => axes.includes(axis))
        .map(({ stored, shape }): FormedMatrix => {
          const form = { kind: "int8", axis } as const;
          const numbers = () => given.read(stored);
          return { name: stored, shape, form, arrays: () => arraysOf(form, shape, numbers), rounded: numbers };
        }),
    );
  const outputs = new Set(factors.filter(({ isOutput }) => isOutput).map(({ stored }) => stored));
  const [byRow, byColumn] = [scaledBy(0), scaledBy(1)];
  // Training has no use for these.
  const blocks = prepare(
    source,
    factors.flatMap(({ stored }) => given.blocks(stored)),
  );
  return (stored) => {
    const [rows, columns] = [byRow(stored), byColumn(stored)];
    if (!rows && !columns) return undefined;
    return { byRow: rows, byColumn: columns, isOutput: outputs.has(stored), blocks: () => blocks(stored) };
  };
}

/** A matrix of `int4` in blocks for products of few rows, where its rows are outputs and its blocks whole. */
function inBlocks(matrix: FormedMatrix | undefined, read: () => Float32Array): FormedMatrix[] {
  if (matrix?.form.kind !== "int4") return [];
  const { axis, blockSize } = matrix.form;
  if (axis !== 1 || (matrix.shape[1] ?? 0) % blockSize !== 0) return [];
  const form = { kind: "int4-blocks", blockSize } as const;
  return [{ ...matrix, form, arrays: () => arraysOf(form, matrix.shape, read) }];
}

/** Where matrices lie, all of them prepared when the first is asked for. */
function prepare(
  source: MatrixSource,
  matrices: readonly FormedMatrix[],
): (stored: string) => WeightLocation | undefined {
  const names = matrices.map(({ name }) => name);
  const locations = lazily(() =>
    names.length === 0 ? new Map<string, WeightLocation>() : prepareForms(source.key(names), matrices),
  );
  return (stored) => locations().get(stored);
}

/** A matrix in its form; its arrays serve as they are where the source has them in this kind of four bits. */
function formMatrix(
  { stored, shape, form }: StorableMatrix,
  { read, fourBit }: MatrixSource,
): FormedMatrix {
  const own = fourBit?.(stored);
  if (own && (form.kind === "nf4" || form.kind === "fp4") && form.kind === own.kind)
    return { name: stored, shape, ...fourBitMatrix(own, form.nestedBlockSize, () => read(stored)) };
  return {
    ...{ name: stored, shape, form },
    arrays: () => arraysOf(form, shape, () => read(stored)),
    rounded: () => roundTo(form, shape, read(stored)),
  };
}

/** Its scales are rounded only where they are wanted in eight bits and are not there so. */
function fourBitMatrix(
  own: FourBitTensor,
  wantedBlockSize: number | undefined,
  decode: () => Float32Array,
): Pick<FormedMatrix, "form" | "arrays" | "rounded"> {
  const { kind, blockSize, shape, nested } = own;
  const values = () => own.read().packed;
  const scales = () => own.read().scales;
  if (wantedBlockSize === undefined)
    return { form: { kind, blockSize }, arrays: () => ({ values, scales }), rounded: decode };
  const form = { kind, blockSize, nestedBlockSize: nested?.blockSize ?? wantedBlockSize };
  if (nested) return { form, arrays: () => ({ values, ...nestedArrays(nested.read, nested.blockSize) }), rounded: decode };
  return {
    form,
    arrays: () => ({ values, ...fourBitScales(form, scales) }),
    rounded: () => {
      const rounded = { packed: values(), scales: roundScales(form, scales()) };
      return dequantiseBlocks(rounded, elementCount(shape), blockSize, kind);
    },
  };
}
