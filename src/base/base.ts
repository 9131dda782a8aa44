/**
 * @file A base model on disk, opened for a task: its configuration, its checked tensors and where their float32
 * values lie. Knows no method and runs nothing.
 */
import { dirname, join } from "node:path";
import { z } from "zod";
import { DeltafitError, internalError } from "../errors.ts";
import { openCheckpoint } from "../files/checkpoint.ts";
import type { Checkpoint, StoredTensor } from "../files/checkpoint.ts";
import { withFourBitTensors } from "../files/four-bit-checkpoint.ts";
import type { FourBitCheckpoint } from "../files/four-bit-checkpoint.ts";
import { readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { completeConfiguration, createModel } from "../models/index.ts";
import type { CompletedConfiguration } from "../models/index.ts";
import type { Model, Task } from "../models/forward.ts";
import type { BaseParameter, ModuleTable } from "../methods/contract.ts";
import { bodyPrefix, isOfHead, surveyModel } from "../methods/survey.ts";
import type { TaskSettings } from "../methods/survey.ts";
import type { WeightLocation } from "../runtime/session.ts";
import { elementCount } from "../tensor/tensor.ts";
import { keyedGenerator } from "./initial-values.ts";
import { lazily } from "./lazily.ts";
import { contentKey, prepareWeights } from "./prepared-weights.ts";
import { randomWeights } from "./random-weights.ts";
import { storeMatrices } from "./stored-matrices.ts";
import { isSixteenBit, sixteenBitTypeOf } from "./weight-storage.ts";
import type { Compute, SixteenBitType, Storage } from "./weight-storage.ts";

/** A base model, opened for a task. */
export interface Base {
  /** What the user called it: a hub id, or the folder. Written into adapters as `base_model_name_or_path`. */
  readonly name: string;
  /** The folder of its configuration and tokenizer. */
  readonly folder: string;
  readonly configuration: Readonly<Record<string, unknown>>;
  readonly model: Model;
  readonly settings: TaskSettings;
  readonly modules: ModuleTable;
  /** Names of the labels of a classifier, where the configuration has them. */
  readonly labels: readonly string[] | undefined;
  /** Parameters of the head that the checkpoint does not have: they start random and have to be trained. */
  readonly newParameters: readonly string[];
  /** How frozen matrices are kept. */
  readonly storage: Storage;
  /** The type of 16 bits that a stored tensor comes in: random weights in their configuration's. */
  readonly tableType: (stored: string) => SixteenBitType | undefined;
  /** How products with them are computed. */
  readonly compute: Compute;
  /**
   * Where a stored tensor lies: float32 values, or those of the form that the storage keeps it in. The first call prepares
   * in the cache what does not lie anywhere yet.
   */
  readonly locate: (stored: string) => WeightLocation;
  /** The checkpoint's values of a parameter as float32, by its own or its stored name, row-major. */
  read(name: string): Float32Array;
  /** The same as `read`, rounded to the form that the storage keeps a frozen matrix in: what products compute with. */
  readRounded(name: string): Float32Array;
  /** The checkpoint, and the name in it of a stored tensor; `undefined` for random weights. */
  readonly source: { readonly checkpoint: Checkpoint; readonly nameOf: (stored: string) => string } | undefined;
}

export interface OpenBaseOptions {
  /** A folder in Hugging Face layout; with `randomWeights` also a config.json. */
  readonly path: string;
  readonly name?: string | undefined;
  readonly task: Task;
  /** Labels of a classifier; by default what the configuration says, else 2. Regression has one, an answer two. */
  readonly labelCount?: number | undefined;
  /** How frozen matrices are kept; by default as the checkpoint has them where it is quantised, else as float32. */
  readonly storage?: Storage | undefined;
  /** How products with frozen matrices are computed; by default in float32. */
  readonly compute?: Compute | undefined;
  /** Seed of random weights in place of a checkpoint. */
  readonly randomWeights?: number | undefined;
  /** Seed of a head that the checkpoint does not have. */
  readonly headSeed?: number | undefined;
}

/**
 * Opens a base model and checks every tensor's name and shape. Weights are read when a session first needs them.
 * @throws DeltafitError `checkpoint-mismatch` naming missing, extra and misshapen tensors; `config-invalid`;
 * `architecture-unknown`; what reading the files throws.
 */
export function openBase(options: OpenBaseOptions): Promise<Base> {
  return new Promise((resolve) => {
    resolve(readBase(options));
  });
}

function readBase(options: OpenBaseOptions): Base {
  const { path, name = path, randomWeights: weightSeed, headSeed = 0 } = options;
  let opened: Checkpoint | undefined;
  const openedCheckpoint = () => (opened ??= openCheckpoint(path));
  const isStored = path.endsWith(".json") ? undefined : (tensor: string) => openedCheckpoint().tensors.has(tensor);
  const shape = weightSeed === undefined ? shapeOf(readConfiguration(path), options, isStored) : openShape(options).shape;
  const { configuration, model, modules } = shape;
  const { compute = "float32" } = options;
  const common = { name, compute, ...shape };
  const initialValue = (parameter: BaseParameter, seed: number) => newParameter(parameter, model, modules, seed);
  const parameters = new Map([...modules.parameters.values()].map((parameter) => [parameter.name, parameter]));
  const storedOf = (given: string) => parameters.get(given)?.stored ?? given;

  if (weightSeed !== undefined) {
    const prepared = randomWeights(configuration, storedParameters(modules), weightSeed, initialValue);
    const { storage = "float32" } = options;
    const matrices = storeMatrices(modules, storage, compute, {
      key: () => prepared.key,
      read: (stored) => prepared.read(stored),
      tableType: shape.tableType,
    });
    const read = (given: string) => prepared.read(storedOf(given));
    return {
      ...common,
      storage,
      folder: path.endsWith(".json") ? dirname(path) : path,
      newParameters: [],
      locate: (stored) => ({ ...(matrices.locate(stored) ?? prepared.locate(stored)), products: matrices.products(stored) }),
      read,
      readRounded: (given) => matrices.rounded(storedOf(given)) ?? read(given),
      source: undefined,
    };
  }
  if (path.endsWith(".json"))
    throw new DeltafitError("usage-invalid", `${quote(path)} is a configuration without weights.`, "Name the model's folder, or ask for random weights.");
  const checkpoint = withFourBitTensors(openedCheckpoint());
  const { nameOf, newParameters } = matchCheckpoint(checkpoint, model, modules);
  const missing = new Map(newParameters.map((parameter) => [parameter.stored, parameter]));
  const storage = options.storage ?? storageOf(checkpoint);
  const tableType = (stored: string) => {
    const type = checkpoint.tensors.get(nameOf(stored))?.dtype ?? "";
    return isSixteenBit(type) ? type : undefined;
  };
  const matrices = storeMatrices(modules, storage, compute, {
    key: (stored) => contentKey("source", checkpoint, stored.map(nameOf)),
    read: (stored) => checkpoint.readFloat32(nameOf(stored)),
    has: (stored) => !missing.has(stored),
    tableType,
    fourBit: (stored) => checkpoint.fourBit.get(nameOf(stored)),
    sixteenBit(stored, type) {
      const tensor = checkpoint.tensors.get(nameOf(stored));
      return tensor?.dtype === type ? { path: tensor.path, offset: tensor.offset, byteLength: tensor.byteLength, form: { kind: type } } : undefined;
    },
  });
  const asFloat32 = storedParameters(modules).map(({ stored }) => stored).filter((stored) => !missing.has(stored) && !matrices.keeps(stored));
  const prepared = lazily(() => prepareWeights(checkpoint, asFloat32, nameOf));
  const read = (given: string) => {
    const stored = storedOf(given);
    const fresh = missing.get(stored);
    return fresh ? initialValue(fresh, headSeed) : checkpoint.readFloat32(nameOf(stored));
  };
  return {
    ...common,
    tableType,
    storage,
    folder: path,
    newParameters: newParameters.map((parameter) => parameter.name),
    locate(stored) {
      if (missing.has(stored)) throw untrainedHead(name, [...missing.keys()]);
      return { ...(matrices.locate(stored) ?? prepared()(stored)), products: matrices.products(stored) };
    },
    read,
    readRounded: (given) => matrices.rounded(storedOf(given)) ?? read(given),
    source: { checkpoint, nameOf },
  };
}

/** Prepares in the cache what sessions over the base will read, which takes minutes for a large model that is new to it. */
export function prepareBase({ modules, newParameters, locate }: Pick<Base, "modules" | "newParameters" | "locate">): void {
  const fresh = new Set(newParameters);
  for (const { name, stored } of modules.parameters.values()) if (!fresh.has(name)) locate(stored);
}

/** The storage that a checkpoint comes in. */
function storageOf({ fourBit }: FourBitCheckpoint): Storage {
  const [first] = fourBit.values();
  if (!first) return "float32";
  return first.nested ? `${first.kind}-double` : first.kind;
}

/** Outputs of heads that have as many whatever the data: a number, and the two ends of an answer. */
const fixedLabelCounts: Readonly<Partial<Record<Task, number>>> = { regression: 1, "question-answering": 2 };

/** What a configuration says of a model, before any weights: what `openBase` opens, and what counts and estimates need. */
export type BaseShape = Pick<Base, "configuration" | "model" | "settings" | "modules" | "labels" | "tableType">;

/**
 * Reads the configuration of a model without weights: sizes that it leaves out are those of transformers' class.
 * @param options.path A folder in Hugging Face layout, or a config.json.
 * @returns the shape, and the sizes that the configuration left out.
 * @throws DeltafitError `config-invalid`, `architecture-unknown`, `usage-invalid`; what reading the file throws.
 */
export function openShape({ path, ...settings }: ShapeOptions & Pick<OpenBaseOptions, "path">): {
  readonly shape: BaseShape;
  readonly assumed: CompletedConfiguration["assumed"];
} {
  const { configuration, assumed } = completeConfiguration(readConfiguration(path));
  return { shape: shapeOf(configuration, settings), assumed };
}

export type ShapeOptions = Pick<OpenBaseOptions, "task" | "labelCount">;

/**
 * Runs the forward pass of a configuration's model on shapes.
 * @param isStored whether the checkpoint, where there is one, has a tensor.
 * @throws DeltafitError `config-invalid`, `architecture-unknown`, `usage-invalid`.
 */
export function shapeOf(
  configuration: Readonly<Record<string, unknown>>,
  { task, labelCount }: ShapeOptions,
  isStored?: (tensor: string) => boolean,
): BaseShape {
  const model = createModel(configuration, isStored, task);
  const labels = labelNames(configuration);
  const settings: TaskSettings = {
    task,
    labelCount: fixedLabelCounts[task] ?? labelCount ?? labelCountOf(configuration) ?? 2,
  };
  const tableType = () => sixteenBitTypeOf(configuration);
  return { configuration, model, settings, modules: surveyModel(model, settings), labels, tableType };
}

const configurationSchema = z.record(z.string(), z.unknown());

/**
 * The configuration of a model folder, or a config.json itself.
 * @throws DeltafitError `config-invalid`; what reading the file throws.
 */
export function readConfiguration(given: string): Record<string, unknown> {
  const path = given.endsWith(".json") ? given : join(given, "config.json");
  const result = configurationSchema.safeParse(readJsonFile(path));
  if (result.success) return result.data;
  throw new DeltafitError("config-invalid", `${quote(path)} is not a JSON object.`, "Check that the model's folder is complete.");
}

/** Labels in the order of their ids, from `id2label`; transformers' placeholders LABEL_0 ... do not count as names. */
function labelNames(configuration: Readonly<Record<string, unknown>>): string[] | undefined {
  const parsed = z.record(z.string(), z.string()).safeParse(configuration["id2label"]);
  if (!parsed.success) return undefined;
  const names = Object.entries(parsed.data).sort(([a], [b]) => Number(a) - Number(b)).map(([, label]) => label);
  return names.every((label) => /^LABEL_\d+$/.test(label)) ? undefined : names;
}

function labelCountOf(configuration: Readonly<Record<string, unknown>>): number | undefined {
  const count = z.int().positive().safeParse(configuration["num_labels"]);
  if (count.success) return count.data;
  const labels = z.record(z.string(), z.string()).safeParse(configuration["id2label"]);
  return labels.success ? Object.keys(labels.data).length : undefined;
}

/** The parameters with a tensor of their own. */
export function storedParameters(modules: ModuleTable): BaseParameter[] {
  const byStored = new Map<string, BaseParameter>();
  for (const parameter of modules.parameters.values())
    if (!byStored.has(parameter.stored)) byStored.set(parameter.stored, { ...parameter, name: parameter.stored });
  return [...byStored.values()];
}

/**
 * Which tensor of a checkpoint holds which parameter. Checkpoints of a bare body lack its module name in front; with
 * the head of another task it may have another name; old ones name the norms otherwise. Heads of other tasks may be
 * there and are left alone; a missing head of this task is new.
 */
function matchCheckpoint(checkpoint: Checkpoint, model: Model, modules: ModuleTable): { nameOf: (stored: string) => string; newParameters: BaseParameter[] } {
  const prefix = bodyPrefix(model);
  const prefixes = [prefix, ...(model.otherBodyPaths ?? []).map((path) => `${path}.`)];
  const tensors = [...checkpoint.tensors.keys()];
  const found = prefixes.find((start) => tensors.some((tensor) => tensor.startsWith(start))) ?? "";
  const nameOf = (stored: string) => {
    const name = stored.startsWith(prefix) ? found + stored.slice(prefix.length) : stored;
    const older = olderName(name);
    return !checkpoint.tensors.has(name) && checkpoint.tensors.has(older) ? older : name;
  };
  const expected = storedParameters(modules);
  const missing = expected.filter(({ stored }) => !checkpoint.tensors.has(nameOf(stored)));
  // The body must be whole. A pooler counts as part of the head: bare encoders come without.
  const isHead = (stored: string) => isOfHead(model, stored) || stored.startsWith(`${prefix}pooler.`);
  const missingBody = missing.filter(({ stored }) => !isHead(stored));
  const known = new Set(expected.map(({ stored }) => nameOf(stored)));
  const extra = tensors.filter((tensor) => {
    const full = tensor.startsWith(found) ? prefix + tensor.slice(found.length) : tensor;
    return !known.has(tensor) && !isHead(full) && !model.ignoredTensors.some((pattern) => pattern.test(full));
  });
  const misshapen = expected.flatMap(({ stored, shape }) => {
    const tensor = checkpoint.tensors.get(nameOf(stored));
    return tensor && tensor.shape.join() !== shape.join() ? [describeShape(tensor, shape)] : [];
  });
  const problems = [
    ...(missingBody.length > 0 ? [`missing: ${listed(missingBody.map(({ stored, shape }) => `${nameOf(stored)} [${shape.join(", ")}]`))}`] : []),
    ...(extra.length > 0 ? [`not known: ${listed(extra)}`] : []),
    ...(misshapen.length > 0 ? [`of another shape: ${listed(misshapen)}`] : []),
  ];
  if (problems.length > 0)
    throw new DeltafitError(
      "checkpoint-mismatch",
      `The checkpoint in ${quote(checkpoint.folder)} does not fit its config.json (${model.modelType}). Tensors ${problems.join("; ")}.`,
      "Check that config.json and the weights belong together and that the download is complete.",
    );
  return { nameOf, newParameters: missing };
}

/** Checkpoints that were converted from TensorFlow call the scale and the shift of their norms gamma and beta. */
function olderName(name: string): string {
  return name.replace(/\.LayerNorm\.weight$/, ".LayerNorm.gamma").replace(/\.LayerNorm\.bias$/, ".LayerNorm.beta");
}

function describeShape(tensor: StoredTensor, shape: readonly number[]): string {
  return `${tensor.name} is [${tensor.shape.join(", ")}], expected [${shape.join(", ")}]`;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

function untrainedHead(name: string, tensors: readonly string[]): DeltafitError {
  return new DeltafitError(
    "checkpoint-mismatch",
    `The model ${quote(name)} has no trained head for this task: missing ${listed(tensors)}.`,
    "Load an adapter that brings the head, or train one.",
  );
}

/** Initial value of a parameter as transformers sets it: norms one, biases zero, matrices and kernels normal. */
function newParameter({ name, shape }: BaseParameter, model: Model, modules: ModuleTable, seed: number): Float32Array {
  const count = elementCount(shape);
  if (shape.length === 1 && name.endsWith("bias")) return new Float32Array(count);
  // A norm that adds something to its stored scale starts so that the sum is one.
  if (shape.length === 1)
    return new Float32Array(count).fill(1 - (modules.norms.get(name.replace(/\.weight$/, ""))?.offset ?? 0));
  if (shape.length === 0) throw internalError(`the parameter ${name} has no rule for its initial value.`);
  return keyedGenerator(seed, name).normal(count, 0, model.initialDeviation);
}
