/**
 * @file A merged model as a folder in Hugging Face layout, for every tool that knows no adapters. Tensors that merging
 * leaves alone are copied byte for byte; only one tensor is in memory at a time.
 */
import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import type { Base } from "../base/base.ts";
import { storedParameters } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { hubCacheRepository, resolveInside } from "../files/paths.ts";
import { quote } from "../files/quote.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { StreamedEntry } from "../files/safetensors-write.ts";
import type { Task } from "../models/forward.ts";
import { narrowToBfloat16, narrowToFloat16 } from "../tensor/half.ts";
import type { StoredDataType } from "../tensor/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { predictsTokens } from "../models/forward.ts";
import { bodyPrefix, isOfHead } from "../methods/survey.ts";
import { mergeAdapters } from "./merge.ts";
import type { MergedWeights } from "./merge.ts";
import { mergedConfiguration, readLocation, storeMerged } from "./merged-base.ts";
import { transformersClass } from "./transformers-names.ts";

export interface WriteMergedModelOptions {
  /** How floating point tensors are stored; by default each as the base's checkpoint has it. */
  readonly dtype?: "as-stored" | "float32" | "float16" | "bfloat16" | undefined;
}

/** What was merged and written. */
export interface MergedModelSummary extends Pick<MergedWeights, "modules" | "untied" | "changedWith"> {
  readonly folder: string;
  /** Of all tensors, as stored. */
  readonly bytes: number;
}

/** Files beside the weights that belong to a model and that merging does not change. */
const copiedFiles: readonly string[] = [
  "LICENSE",
  "LICENSE.txt",
  "NOTICE",
  "added_tokens.json",
  "additional_chat_templates/tool_use.jinja",
  "bpe.codes",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
  "merges.txt",
  "sentencepiece.bpe.model",
  "special_tokens_map.json",
  "spiece.model",
  "spm.model",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "vocab.json",
  "vocab.txt",
];

/**
 * Writes the base with adapters merged in their order; an earlier folder is replaced as a whole.
 * @throws DeltafitError `method-unsupported`, before anything is written; `not-finite`; `write-failed`;
 * `usage-invalid` for a folder that holds the base itself.
 */
export async function writeMergedModel(
  base: Base,
  adapters: readonly Adapter[],
  folder: string,
  { dtype = "as-stored" }: WriteMergedModelOptions = {},
): Promise<MergedModelSummary> {
  refuseOverwritingBase(base, folder);
  const merged = mergeAdapters(base, adapters);
  try {
    const bytes = await writeFolderAtomic(folder, async (temporary) => {
      const scratch = path.join(temporary, "merged");
      fs.mkdirSync(scratch);
      const locations = await storeMerged(scratch, merged);
      const entries = modelEntries(base, merged, dtype, (name) => {
        const location = locations.get(name);
        return location ? readLocation(location) : base.read(name);
      });
      writeSafetensors(path.join(temporary, "model.safetensors"), entries, { format: "pt" });
      fs.rmSync(scratch, { recursive: true });
      const configuration = writtenConfiguration(base, merged, dtype);
      writeFileAtomic(path.join(temporary, "config.json"), `${JSON.stringify(configuration, null, 2)}\n`);
      copyFiles(base, temporary);
      return fs.statSync(path.join(temporary, "model.safetensors")).size;
    });
    const { modules, untied, changedWith } = merged;
    return { folder, bytes, modules, untied, changedWith };
  } finally {
    await merged.dispose();
  }
}

function refuseOverwritingBase(base: Base, folder: string): void {
  if (!fs.existsSync(folder)) return;
  const relative = path.relative(fs.realpathSync(folder), fs.realpathSync(base.folder));
  const isOutside = path.isAbsolute(relative) || relative.split(path.sep)[0] === "..";
  if (isOutside) return;
  const message = `The output folder ${quote(folder)} would be replaced as a whole, and the base ${quote(base.folder)} lies in it.`;
  throw new DeltafitError("usage-invalid", message, "Name another folder for the merged model.");
}

const floatTypes: readonly StoredDataType[] = ["float64", "float32", "float16", "bfloat16"];

/** The tensors of the merged model, under the names the checkpoint uses. */
function modelEntries(
  base: Base,
  merged: MergedWeights,
  dtype: NonNullable<WriteMergedModelOptions["dtype"]>,
  read: (name: string) => Float32Array,
): StreamedEntry[] {
  const entry = (
    name: string,
    shape: readonly number[],
    stored: StoredDataType,
    values: () => Float32Array,
  ): StreamedEntry => {
    const target = dtype === "as-stored" ? stored : dtype;
    return { name, shape, dtype: target, chunks: () => chunksOf(name, values(), target) };
  };
  if (base.source === undefined) {
    const names = new Set(merged.tensors.map(({ name }) => name));
    const kept = storedParameters(base.modules).filter(({ stored }) => !names.has(stored));
    return [...kept, ...merged.tensors].map(({ name, shape }) =>
      entry(name, shape, "float32", () => read(name)),
    );
  }
  const { checkpoint, nameOf } = base.source;
  const mergedHere = new Map(merged.tensors.map((tensor) => [nameOf(tensor.name), tensor]));
  const stale = staleCopies(base, merged, nameOf);
  const added = merged.tensors.filter(({ name }) => !checkpoint.tensors.has(nameOf(name)));
  const usual =
    [...checkpoint.tensors.values()].find((tensor) => floatTypes.includes(tensor.dtype))?.dtype ?? "float32";
  const rename = outputNames(base, nameOf, added.length > 0);
  const existing = [...checkpoint.tensors.values()].flatMap((tensor) => {
    const change = mergedHere.get(tensor.name);
    if (change) return [entry(rename(tensor.name), tensor.shape, tensor.dtype, () => read(change.name))];
    if (stale.has(tensor.name)) return [];
    const isConverted = dtype !== "as-stored" && tensor.dtype !== dtype && floatTypes.includes(tensor.dtype);
    if (isConverted)
      return [
        entry(rename(tensor.name), tensor.shape, tensor.dtype, () => checkpoint.readFloat32(tensor.name)),
      ];
    const { shape } = tensor;
    return [
      {
        name: rename(tensor.name),
        shape,
        dtype: tensor.dtype,
        chunks: () => [checkpoint.readBytes(tensor.name)],
      },
    ];
  });
  const typeOf = (stored: string) => checkpoint.tensors.get(nameOf(stored))?.dtype ?? usual;
  return [
    ...existing,
    ...added.map(({ name, stored, shape }) => entry(name, shape, typeOf(stored), () => read(name))),
  ];
}

/** Checkpoints may hold a tied tensor twice; the copy that nobody reads would keep the values from before. */
function staleCopies(
  base: Base,
  { tensors }: MergedWeights,
  nameOf: (stored: string) => string,
): ReadonlySet<string> {
  const changed = new Set(tensors.map(({ stored }) => stored));
  const copies = [...base.modules.parameters.values()].filter(
    ({ name, stored }) => name !== stored && changed.has(stored),
  );
  return new Set(copies.map(({ name }) => nameOf(name)));
}

/**
 * Checkpoints of a bare body leave out its module's name, and those with the head of another task may have another.
 * With this task's head beside it, the body's tensors get its name, by which other tools find them.
 */
function outputNames(
  base: Base,
  nameOf: (stored: string) => string,
  hasHead: boolean,
): (name: string) => string {
  const prefix = bodyPrefix(base.model);
  const found = nameOf(`${prefix}x`).slice(0, -1);
  const heads = new Set([...base.modules.parameters.keys()].filter((name) => isOfHead(base.model, name)));
  const isRenamed = (name: string) =>
    found !== prefix && hasHead && !heads.has(name) && name.startsWith(found);
  return (name) => (isRenamed(name) ? prefix + name.slice(found.length) : name);
}

const elementsPerPiece = 2 ** 18;
/** Rounds to infinity as float16. */
const float16Overflow = 65520;

/** The bytes of float32 values in a stored type, narrowed piece by piece. */
function* chunksOf(name: string, values: Float32Array, dtype: StoredDataType): Generator<Uint8Array> {
  for (let start = 0; start < values.length; start += elementsPerPiece) {
    const piece = values.subarray(start, start + elementsPerPiece);
    if (dtype === "float16" && piece.some((value) => Math.abs(value) >= float16Overflow))
      throw new DeltafitError(
        "not-finite",
        `The tensor ${quote(name)} holds numbers beyond 65504, the largest of float16.`,
        "Write the merged model as bfloat16 or float32.",
      );
    const stored = narrowed(piece, dtype);
    yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  }
}

function narrowed(piece: Float32Array, dtype: StoredDataType): Float32Array | Float64Array | Uint16Array {
  if (dtype === "float16") return narrowToFloat16(piece);
  if (dtype === "bfloat16") return narrowToBfloat16(piece);
  return dtype === "float64" ? Float64Array.from(piece) : piece;
}

/** config.json of the merged model: the base's, with what the merge or the task's head changes. */
function writtenConfiguration(
  base: Base,
  merged: MergedWeights,
  dtype: string,
): Readonly<Record<string, unknown>> {
  const { model, settings } = base;
  // What was read in four bits is written as floating point.
  const { quantization_config: _quantised, ...configuration } = base.configuration;
  const className = transformersClass(model.modelType, settings.task);
  const dtypeKey = "dtype" in configuration ? "dtype" : "torch_dtype";
  return {
    ...mergedConfiguration(base, merged),
    ...(className === undefined ? {} : { architectures: [className] }),
    ...(dtype === "as-stored" ? {} : { [dtypeKey]: dtype }),
    ...labelFields(base),
  };
}

/** `problem_type` of the tasks that transformers would otherwise guess from the labels. */
const problemTypes: Readonly<Partial<Record<Task, string>>> = {
  regression: "regression",
  "multi-label-classification": "multi_label_classification",
};

/** Labels where the task has some and the configuration has another number of them. */
function labelFields({ configuration, settings: { task, labelCount } }: Base): Record<string, unknown> {
  if (predictsTokens(task)) return {};
  const problemType = problemTypes[task];
  const problem = problemType === undefined ? {} : { problem_type: problemType };
  const known = z.record(z.string(), z.string()).safeParse(configuration["id2label"]);
  if (known.success && Object.keys(known.data).length === labelCount) return problem;
  const labels = Array.from({ length: labelCount }, (_, index) => [index, `LABEL_${index}`] as const);
  return {
    ...problem,
    id2label: Object.fromEntries(labels),
    label2id: Object.fromEntries(labels.map(([index, label]) => [label, index])),
  };
}

function copyFiles({ folder }: Base, target: string): void {
  const root = hubCacheRepository(folder);
  for (const name of copiedFiles) {
    if (!fs.existsSync(path.join(folder, name))) continue;
    const copy = path.join(target, name);
    fs.mkdirSync(path.dirname(copy), { recursive: true });
    fs.copyFileSync(resolveInside(folder, name, root), copy);
  }
}
