/**
 * @file What shared code must know of a method to keep its adapters in PEFT's format: how its configuration
 * maps to `adapter_config.json`, and under which names its tensors are stored. Knows no method.
 */
import type { ModuleTable } from "../methods/contract.ts";
import type { ModuleNames } from "../methods/targets.ts";

/** The model an adapter's configuration is read or written for. */
export interface FormatContext {
  readonly modules: ModuleTable;
  /** `model_type` of the base's config.json. */
  readonly modelType: string;
  /** What the file is called in error messages. */
  readonly where: string;
  /** Shapes of the tensors beside a configuration that is read, by their names: for what it leaves open. */
  readonly tensorShapes?: ReadonlyMap<string, readonly number[]> | undefined;
}

/** How one method's adapters are stored. */
export interface AdapterFormat<Configuration> {
  /** PEFT knows no such adapters: the format is deltafit's own, and follows PEFT's rules. */
  readonly isOwn?: true;
  /** Every field of PEFT's configuration class but those all methods have, with PEFT's default. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /**
   * Fields of `defaults` that deltafit understands. The others are kept as they are, and a value that changes
   * what the adapter computes is refused by `fromPeft`.
   */
  readonly understood: readonly string[];
  /** PEFT's default targets by `model_type`. */
  readonly defaultTargets: Readonly<Record<string, ModuleNames>>;
  /**
   * The configuration from a file's fields.
   * @throws DeltafitError `config-invalid`; `method-unsupported` naming a field that deltafit cannot honour;
   * `target-unmatched` where the file has no targets and PEFT no default.
   */
  readonly fromPeft: (fields: Readonly<Record<string, unknown>>, context: FormatContext) => Configuration;
  /** The understood fields of a file. */
  readonly toPeft: (configuration: Configuration, context: FormatContext) => Record<string, unknown>;
  /** Names in adapter_model.safetensors by parameter key. */
  readonly fileNames: (configuration: Configuration, modules: ModuleTable) => (key: string) => string;
  /** Constants of the method that the file holds as well: their names in it by key. Left out where there are none. */
  readonly constantNames?: (configuration: Configuration) => Readonly<Record<string, string>>;
  /** Parameters that the file keeps in another form. Left out where it keeps all as they are trained. */
  readonly packing?: Packing<Configuration>;
}

/** How a file keeps parameters in another form than the one they are trained in. */
export interface Packing<Configuration> {
  /** What the names of its tensors of whole numbers end with. */
  readonly wholeNumbers: string;
  /** The form of one parameter; `undefined` for one that is kept as it is. */
  readonly formOf: (
    configuration: Configuration,
    key: string,
    shape: readonly number[],
  ) => PackedForm | undefined;
}

/** The tensors that stand for one parameter. */
export interface PackedForm {
  readonly tensors: readonly PackedTensor[];
  /** Their numbers, in their order. */
  readonly pack: (values: Float32Array) => readonly PackedNumbers[];
  /**
   * The parameter's values.
   * @param where What the tensors belong to, for error messages.
   * @throws DeltafitError `file-invalid`.
   */
  readonly unpack: (tensors: readonly PackedNumbers[], where: string) => Float32Array;
}

export interface PackedTensor {
  /** What its name in the file has after the parameter's. */
  readonly suffix: string;
  readonly shape: readonly number[];
  readonly dtype: "float32" | "uint8" | "int16" | "int32";
}

export type PackedNumbers = Float32Array | Uint8Array | Int16Array | Int32Array;

/** What PEFT puts in front of a module's path. */
export const modulePrefix = "base_model.model.";
