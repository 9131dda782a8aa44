/**
 * @file How frozen matrices of a base are kept: which of them, in which form, and the arrays of a form from float32
 * numbers and back. Knows no files.
 */
import { partsOf } from "../graph/weight-form.ts";
import type { WeightForm } from "../graph/weight-form.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { BaseParameter, ModuleTable } from "../methods/contract.ts";
import { blockScales, dequantiseBlocks, packBlocks } from "../tensor/four-bit-blocks.ts";

/**
 * What frozen matrices are kept as. `nf4` and `fp4` are bitsandbytes' four bits a number in blocks of 64.
 */
export const storageNames = ["float32", "nf4", "fp4"] as const;

export type Storage = (typeof storageNames)[number];

/** A frozen matrix that the storage applies to. */
export interface StorableMatrix extends BaseParameter {
  /** Whether rows are outputs of the layer: torch's `nn.Linear`. */
  readonly rowsAreOutputs: boolean;
}

/**
 * The matrices a storage applies to: those of the linear layers. Tables that tokens are looked up in, what shares a
 * tensor with them, and the layer that yields the task's result stay float32, as transformers leaves them.
 */
export function storableMatrices(modules: ModuleTable): StorableMatrix[] {
  const users = new Map<string, number>();
  for (const { stored } of modules.parameters.values()) users.set(stored, (users.get(stored) ?? 0) + 1);
  const isHead = (path: string) => modules.headModules.some((head) => `${path}.`.startsWith(`${head}.`));
  return [...modules.linears.values()].flatMap(({ path, isOutput, layout }) => {
    const parameter = modules.parameters.get(`${path}.weight`);
    if (!parameter || isOutput || isHead(path) || users.get(parameter.stored) !== 1) return [];
    return [{ ...parameter, rowsAreOutputs: layout === "out-in" }];
  });
}

/** The form of a matrix under a storage; `undefined` for float32. */
export function formOf(storage: Storage): WeightForm | undefined {
  switch (storage) {
    case "float32":
      return undefined;
    case "nf4":
    case "fp4":
      return { kind: storage, blockSize: 64 };
  }
}

/**
 * Bytes that a storage saves against float32.
 * @param trained Names of parameters that are trained, and so not kept frozen at all.
 */
export function savedBytes(modules: ModuleTable, storage: Storage, trained: ReadonlySet<string>): number {
  return storableMatrices(modules).reduce((sum, { name, shape }) => {
    const form = formOf(storage);
    if (!form || trained.has(name)) return sum;
    const kept = Object.values(partsOf(form, shape)).reduce(
      (bytes, part) => bytes + elementCount(part.shape) * bytesPerElement[part.dtype],
      0,
    );
    return sum + elementCount(shape) * bytesPerElement.float32 - kept;
  }, 0);
}

/** The arrays of a matrix in a form, each made when it is asked for. */
export interface FormArrays {
  readonly values: () => Uint8Array;
  readonly scales: () => Float32Array;
}

/** Rounds a matrix to a form. */
export function arraysOf({ kind, blockSize }: WeightForm, read: () => Float32Array): FormArrays {
  return {
    values() {
      const numbers = read();
      return packBlocks(numbers, blockScales(numbers, blockSize), blockSize, kind);
    },
    scales: () => blockScales(read(), blockSize),
  };
}

/** The numbers that a matrix of `count` numbers in a form stands for. */
export function numbersOf({ kind, blockSize }: WeightForm, arrays: FormArrays, count: number): Float32Array {
  return dequantiseBlocks({ packed: arrays.values(), scales: arrays.scales() }, count, blockSize, kind);
}
