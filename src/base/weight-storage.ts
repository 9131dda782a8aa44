/**
 * @file How frozen matrices of a base are kept: which of them, in which form, and the arrays of a form from float32
 * numbers and back. Knows no files.
 */
import { formBytes } from "../graph/weight-form.ts";
import type { PartName, WeightForm } from "../graph/weight-form.ts";
import { nestScales, nestedBlockSize, unnestScales } from "../tensor/dynamic-eight-bit.ts";
import type { NestedScales } from "../tensor/dynamic-eight-bit.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { BaseParameter, ModuleTable } from "../methods/contract.ts";
import type { FourBitKind } from "../tensor/four-bit-blocks.ts";
import { blockScales, dequantiseBlocks, packBlocks, quantiseBlocks } from "../tensor/four-bit-blocks.ts";
import { narrowToBfloat16, narrowToFloat16, widenBfloat16, widenFloat16 } from "../tensor/half.ts";
import { lazily } from "./lazily.ts";
import { dequantiseInt4, dequantiseInt8, int4Scales, int8Scales, packInt4, quantiseInt4, quantiseInt8 } from "../tensor/integer-groups.ts";

/**
 * What frozen matrices are kept as. `int8` has one scale for each output of a layer, `nf4` and `fp4` are
 * bitsandbytes' four bits a number in blocks of 64 (`-double`: with double quantisation), `int4` has one scale for each
 * 32 inputs of an output.
 */
export const storageNames = [
  ...(["float32", "bfloat16", "float16", "int8"] as const),
  ...(["nf4", "nf4-double", "fp4", "fp4-double", "int4"] as const),
] as const;

export type Storage = (typeof storageNames)[number];

/** How products with frozen matrices are computed. `int8`: in whole numbers of eight bits, in both directions. */
export const computeNames = ["float32", "int8"] as const;

export type Compute = (typeof computeNames)[number];

/** A frozen matrix that the storage applies to. */
export interface StorableMatrix extends BaseParameter {
  readonly form: WeightForm;
}

export type SixteenBitType = "bfloat16" | "float16";

/** In 16 bits rows can be looked up, and what is trained can start from what is stored. */
export const isSixteenBit = (kind: string): kind is SixteenBitType => kind === "bfloat16" || kind === "float16";

/** The type of 16 bits that a configuration says its weights are in. */
export function sixteenBitTypeOf(configuration: Readonly<Record<string, unknown>>): SixteenBitType | undefined {
  const type = configuration["dtype"] ?? configuration["torch_dtype"];
  return typeof type === "string" && isSixteenBit(type) ? type : undefined;
}

/**
 * The matrices a storage applies to: those of the linear layers. In 16 bits, tables that tokens are looked up in and the
 * output embedding are among them; in fewer, these stay as the checkpoint has them, as transformers leaves them. A
 * classifier's layers are trained.
 * @param tableType The type of 16 bits that a stored tensor comes in; left out, none does.
 */
export function storableMatrices(
  modules: ModuleTable,
  storage: Storage,
  tableType: (stored: string) => SixteenBitType | undefined = () => undefined,
): StorableMatrix[] {
  if (storage === "float32") return [];
  const isHead = (path: string) => modules.headModules.some((head) => `${path}.`.startsWith(`${head}.`));
  const matrices = new Map<string, StorableMatrix>();
  const keep = (path: string, formOfMatrix: (stored: string) => WeightForm | undefined) => {
    const parameter = modules.parameters.get(`${path}.weight`);
    const form = parameter && formOfMatrix(parameter.stored);
    if (form && !matrices.has(parameter.stored)) matrices.set(parameter.stored, { ...parameter, form });
  };
  const tableForm = (stored: string): WeightForm | undefined => {
    const kind = isSixteenBit(storage) ? storage : tableType(stored);
    return kind && { kind };
  };
  for (const path of modules.embeddings.keys()) keep(path, tableForm);
  const users = new Map<string, number>();
  for (const { stored } of modules.parameters.values()) users.set(stored, (users.get(stored) ?? 0) + 1);
  for (const { path, isOutput, layout, out } of modules.linears.values()) {
    const isShared = users.get(modules.parameters.get(`${path}.weight`)?.stored ?? "") !== 1;
    const isLayer = isSixteenBit(storage) || !(isOutput || isShared || isHead(path));
    if (isLayer) keep(path, () => formOf(storage, layout === "out-in"));
    else if (isOutput && outputsTokens(modules, out)) keep(path, tableForm);
  }
  return [...matrices.values()];
}

/** A matrix that products in eight bits read. */
export interface ProductMatrix extends BaseParameter {
  /** Which products: 0 for those with a scale for each row, 1 for each column. */
  readonly axes: readonly (0 | 1)[];
  /** Of the layer that predicts tokens. */
  readonly isOutput: boolean;
}

/**
 * The matrices that products in eight bits apply to: those of all linear layers but a classifier's, which are trained.
 * An output layer's is multiplied so backwards only where its rows are outputs: rows of the targets are looked up in it.
 */
export function productMatrices(modules: ModuleTable): ProductMatrix[] {
  const matrices = new Map<string, ProductMatrix>();
  for (const { path, isOutput, out, layout } of modules.linears.values()) {
    const parameter = modules.parameters.get(`${path}.weight`);
    if (!parameter || (isOutput && !outputsTokens(modules, out))) continue;
    const forward = layout === "out-in" ? 0 : 1;
    matrices.set(parameter.stored, { ...parameter, axes: isOutput && forward === 1 ? [1] : [0, 1], isOutput });
  }
  return [...matrices.values()];
}

/** Whether an output layer predicts tokens: as wide as the table they are looked up in. */
function outputsTokens({ embeddings, tokenEmbedding = "" }: ModuleTable, width: number): boolean {
  return embeddings.get(tokenEmbedding)?.rows === width;
}

/** Neighbours along a row of inputs that share a scale in four bits. */
const int4GroupSize = 32;

/** The form of a layer's matrix; torch's `nn.Linear` has outputs as rows. */
function formOf(storage: Exclude<Storage, "float32">, rowsAreOutputs: boolean): WeightForm {
  switch (storage) {
    case "nf4":
    case "fp4":
      return { kind: storage, blockSize: 64 };
    case "nf4-double":
    case "fp4-double":
      return { kind: storage === "nf4-double" ? "nf4" : "fp4", blockSize: 64, nestedBlockSize };
    case "bfloat16":
    case "float16":
      return { kind: storage };
    case "int8":
      return { kind: "int8", axis: rowsAreOutputs ? 0 : 1 };
    case "int4":
      return { kind: "int4", axis: rowsAreOutputs ? 1 : 0, blockSize: int4GroupSize };
  }
}

/** Bytes of a model's parameters where nothing is trained: each once, as the storage keeps it, or as forward products read it. */
export function keptBytes(
  modules: ModuleTable,
  storage: Storage,
  compute: Compute,
  tableType?: (stored: string) => SixteenBitType | undefined,
): number {
  const forms = new Map<string, WeightForm>();
  for (const { stored, form } of storableMatrices(modules, storage, tableType)) forms.set(stored, form);
  if (compute === "int8")
    for (const { stored, axes } of productMatrices(modules)) forms.set(stored, { kind: "int8", axis: axes[0] ?? 0 });
  const bytes = new Map<string, number>();
  for (const { stored, shape } of modules.parameters.values()) {
    const form = forms.get(stored);
    bytes.set(stored, form ? formBytes(form, shape) : elementCount(shape) * bytesPerElement.float32);
  }
  return [...bytes.values()].reduce((sum, size) => sum + size, 0);
}

/** The arrays of a matrix in a form, each made when it is asked for; what several need is kept. */
export type FormArrays = Readonly<
  Partial<Record<PartName, () => PartArray>> & Record<"values", () => PartArray>
>;

type PartArray = Uint8Array | Int8Array | Uint16Array | Float32Array;

/** Rounds a matrix to a form. */
export function arraysOf(form: WeightForm, shape: readonly number[], read: () => Float32Array): FormArrays {
  const [rows = 0, columns = 0] = shape;
  switch (form.kind) {
    case "nf4":
    case "fp4": {
      const numbers = lazily(read);
      const scales = lazily(() => blockScales(numbers(), form.blockSize));
      return {
        values: () => packBlocks(numbers(), scales(), form.blockSize, form.kind),
        ...fourBitScales(form, scales),
      };
    }
    case "bfloat16":
      return { values: () => narrowToBfloat16(read()) };
    case "float16":
      return { values: () => narrowToFloat16(read()) };
    case "int8": {
      const quantise = () => quantiseInt8(read(), [rows, columns], form.axis);
      return { values: () => quantise().integers, scales: () => int8Scales(read(), [rows, columns], form.axis) };
    }
    case "int4": {
      const quantise = () => quantiseInt4(read(), [rows, columns], form.axis, form.blockSize);
      const scales = () => int4Scales(read(), [rows, columns], form.axis, form.blockSize);
      return { values: () => packInt4(quantise().integers), scales };
    }
    case "int4-blocks": {
      const quantise = () => quantiseInt4(read(), [rows, columns], 1, form.blockSize);
      const scales = () => int4Scales(read(), [rows, columns], 1, form.blockSize);
      // Moved by 8, a number of four bits has its sign bit the other way around.
      return { values: () => packInt4(quantise().integers).map((pair) => pair ^ 0x88), scales };
    }
  }
}

type FourBitForm = Extract<WeightForm, { readonly kind: FourBitKind }>;

/** Scales of four bits as the form rounds them. */
export const roundScales = ({ nestedBlockSize: size }: FourBitForm, scales: Float32Array): Float32Array =>
  size === undefined ? scales : unnestScales(nestScales(scales, size), size);

/** The arrays of a form in four bits besides its numbers, from scales of float32. */
export function fourBitScales(
  { nestedBlockSize: size }: FourBitForm,
  scales: () => Float32Array,
): Omit<FormArrays, "values"> {
  return size === undefined ? { scales } : nestedArrays(() => nestScales(scales(), size), size);
}

/** @param read Codes of as many scales as there are. */
export function nestedArrays(read: () => NestedScales, size: number): Omit<FormArrays, "values"> {
  const nested = lazily(read);
  return {
    scales() {
      const { codes } = nested();
      const filled = new Uint8Array(Math.ceil(codes.length / size) * size);
      filled.set(codes);
      return filled;
    },
    nestedScales: () => nested().scales,
    nestedOffset: () => Float32Array.of(nested().offset),
  };
}

/** The numbers that a matrix of the form stands for after rounding. */
export function roundTo(form: WeightForm, shape: readonly number[], numbers: Float32Array): Float32Array {
  const [rows = 0, columns = 0] = shape;
  switch (form.kind) {
    case "nf4":
    case "fp4": {
      const { blockSize, kind } = form;
      const { packed, scales } = quantiseBlocks(numbers, blockSize, kind);
      const rounded = { packed, scales: roundScales(form, scales) };
      return dequantiseBlocks(rounded, numbers.length, blockSize, kind);
    }
    case "bfloat16":
      return widenBfloat16(narrowToBfloat16(numbers));
    case "float16":
      return widenFloat16(narrowToFloat16(numbers));
    case "int8":
      return dequantiseInt8(quantiseInt8(numbers, [rows, columns], form.axis), [rows, columns], form.axis);
    case "int4": {
      const { axis, blockSize } = form;
      const quantised = quantiseInt4(numbers, [rows, columns], axis, blockSize);
      return dequantiseInt4(quantised, [rows, columns], axis, blockSize);
    }
    case "int4-blocks":
      return roundTo({ kind: "int4", axis: 1, blockSize: form.blockSize }, shape, numbers);
  }
}
