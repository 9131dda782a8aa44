/** @file What an adapter folder holds, without a base: for looking at adapters and for choosing how to open a base. */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { readFloat32 } from "../files/safetensors.ts";
import type { SafetensorsFile } from "../files/safetensors.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { StoredDataType } from "../tensor/tensor.ts";
import { modulePrefix } from "./adapter-format.ts";
import { openAdapterFolder } from "./folder.ts";
import { methodTable } from "./method-table.ts";
import { promptFileName } from "./prompt-fields.ts";
import { readPeftHeader } from "./peft-configuration.ts";

/** What an adapter folder holds. */
export interface AdapterInspection {
  readonly folder: string;
  /** `peft_type`; `undefined` where the configuration is not that of a method deltafit implements. */
  readonly methodType: string | undefined;
  readonly taskType: string | undefined;
  /** What the base was called when the adapter was made. */
  readonly baseModel: string | undefined;
  /** adapter_config.json as parsed. */
  readonly configuration: unknown;
  readonly tensors: readonly {
    readonly name: string;
    readonly dtype: StoredDataType;
    readonly shape: readonly number[];
  }[];
  /** Numbers in the file. */
  readonly parameters: number;
  /** Of all tensors, as stored. */
  readonly bytes: number;
  /** Outputs of the classifier that is stored with it. */
  readonly labelCount: number | undefined;
  /** What keeps the adapter from being loaded, as far as it can be seen without a base. */
  readonly problems: readonly string[];
}

/**
 * Looks at an adapter folder.
 * @throws DeltafitError `file-missing`, `file-refused`, `file-invalid` where the files cannot be read at all.
 */
export function inspectAdapter(folder: string): AdapterInspection {
  const { configuration, configurationPath, weights } = openAdapterFolder(folder);
  const problems: string[] = [];
  const header = collect(problems, () => readPeftHeader(configuration, quote(configurationPath)));
  const tensors = [...weights.tensors.values()].map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  const whole = header && methodTable[header.type].format?.packing?.wholeNumbers;
  for (const { name, dtype } of tensors) {
    const isFloat = dtype === "float32" || dtype === "float16" || dtype === "bfloat16" || dtype === "float64";
    if (!isFloat && whole !== undefined && name.endsWith(whole)) continue;
    if (!isFloat) problems.push(`Tensor ${quote(name)} holds ${dtype}; expected floating point numbers.`);
    else if (!readFloat32(weights, name).every(Number.isFinite))
      problems.push(`Tensor ${quote(name)} holds NaN or infinity.`);
  }
  return {
    folder,
    methodType: header?.type,
    taskType: header?.taskType,
    baseModel: header?.baseModel,
    configuration,
    tensors,
    parameters: tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    bytes: [...weights.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0),
    labelCount: labelCountOf(weights),
    problems,
  };
}

function collect<Result>(problems: string[], read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    if (!DeltafitError.isInstance(error)) throw error;
    problems.push(error.message);
    return undefined;
  }
}

/** The last layers of classifiers, as architectures call them. */
const lastLayers = ["score.weight", "classifier.weight", "classifier.out_proj.weight"];

function labelCountOf({ tensors }: SafetensorsFile): number | undefined {
  const layer = lastLayers
    .map((name) => tensors.get(modulePrefix + name) ?? tensors.get(promptFileName(name)))
    .find((tensor) => tensor?.shape.length === 2);
  return layer?.shape[0];
}
