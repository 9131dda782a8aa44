/**
 * @file Which tensors of an adapter's file stand for its parameters and constants, and in which form. Knows no method
 * and no file.
 */
import type { Base } from "../base/base.ts";
import type { ConstantSpec } from "../methods/contract.ts";
import type { LayoutEntry } from "../methods/layout.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import type { StoredDataType } from "../tensor/tensor.ts";
import type { BoundAdapter } from "./adapter.ts";
import type { PackedForm } from "./adapter-format.ts";
import { formatOf, methodTable } from "./method-table.ts";
import type { MethodConfigurations, MethodEntry, MethodType } from "./method-table.ts";

/** A tensor of an adapter's file. */
export interface StoredTensor {
  readonly fileName: string;
  readonly shape: readonly number[];
  readonly dtype: StoredDataType;
}

/** A parameter and what stands for it in the file. */
export interface StoredParameter {
  readonly entry: LayoutEntry;
  /** One tensor with the parameter's own values where it is not packed. */
  readonly tensors: readonly StoredTensor[];
  readonly form: PackedForm | undefined;
}

/** The form in which a file keeps a parameter; `undefined` where it keeps the parameter's own values. */
export function packedForm<Type extends MethodType>(
  { methodType, configuration }: Pick<BoundAdapter<Type>, "methodType" | "configuration">,
  { key, shape }: LayoutEntry,
): PackedForm | undefined {
  const { format }: MethodEntry<MethodConfigurations[Type]> = methodTable[methodType];
  return format?.packing?.formOf(configuration, key, shape);
}

/** The parameters of a condensed adapter as its file holds them. */
export function storedParameters<Type extends MethodType>(
  adapter: BoundAdapter<Type>,
  base: Pick<Base, "modules">,
): StoredParameter[] {
  const { fileNames } = formatOf<Type>(adapter.methodType);
  const fileName = fileNames(adapter.configuration, base.modules);
  return adapter.layout.entries.map((entry) => {
    const { key, shape } = entry;
    const form = packedForm<Type>(adapter, entry);
    const tensors = form?.tensors ?? [{ suffix: "", shape, dtype: "float32" as const }];
    return {
      entry,
      form,
      tensors: tensors.map(({ suffix, ...rest }) => ({ ...rest, fileName: `${fileName(key)}${suffix}` })),
    };
  });
}

/** A constant that the file holds as well. */
export interface StoredConstant extends StoredTensor {
  readonly constant: ConstantSpec;
}

export function storedConstants<Type extends MethodType>({
  methodType,
  configuration,
  method,
}: BoundAdapter<Type>): StoredConstant[] {
  const names = formatOf<Type>(methodType).constantNames?.(configuration) ?? {};
  return (method.constants ?? []).flatMap((constant) => {
    const fileName = names[constant.key];
    if (fileName === undefined) return [];
    return [{ fileName, constant, shape: constant.shape, dtype: "float32" as const }];
  });
}

/** Bytes of all tensors in the file of a condensed adapter; of a method without such a file, those of its values. */
export function storedBytes<Type extends MethodType>(
  adapter: BoundAdapter<Type>,
  base: Pick<Base, "modules">,
): number {
  if (methodTable[adapter.methodType].format === undefined)
    return adapter.layout.size * Float32Array.BYTES_PER_ELEMENT;
  const parameters = storedParameters<Type>(adapter, base).flatMap(({ tensors }) => tensors);
  return [...parameters, ...storedConstants<Type>(adapter)].reduce(
    (sum, { shape, dtype }) => sum + elementCount(shape) * bytesPerElement[dtype],
    0,
  );
}
