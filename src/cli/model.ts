/** @file From --model and --adapter to a base with its tokenizer and adapters. */
import fs from "node:fs";
import { inspectAdapter } from "../adapters/inspect.ts";
import { loadAdapters, readStack } from "../adapters/stack.ts";
import type { StackEntry } from "../adapters/stack.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { openBase, readConfiguration, shapeOf } from "../base/base.ts";
import type { Base, OpenBaseOptions } from "../base/base.ts";
import { resolveAdapterFolder, resolveModelFolder } from "../files/hub.ts";
import type { HubOptions } from "../files/hub.ts";
import { assertTokenizerFits, loadTokenizer } from "../files/tokenizer.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { stopTokensOf } from "../generation/stop-tokens.ts";
import type { Task } from "../models/forward.ts";
import { createModel } from "../models/index.ts";
import { availableMemoryBytes } from "../runtime/available-memory.ts";
import { namedReferences } from "./adapter-names.ts";
import type { NamedReference } from "./adapter-names.ts";
import { adapterWeights } from "./adapter-weights.ts";
import { checkModelMemory } from "./model-memory.ts";
import { fingerprintOf, readTrainingNotes } from "./training-notes.ts";
import type { TrainingNotes } from "./training-notes.ts";
import { bundledBase } from "./package-files.ts";
import type { Terminal } from "./terminal.ts";

/** A model that was found but not opened. */
export interface FoundModel {
  readonly path: string;
  /** As adapters name it. */
  readonly name: string;
  readonly randomWeights: number | undefined;
}

/** Downloads a model of the hub where it is not in the cache. */
export async function findModel(
  reference: string | undefined,
  terminal: Terminal,
  randomWeights?: number,
): Promise<FoundModel> {
  if (reference === undefined) return { path: bundledBase, name: bundledBase, randomWeights };
  const isConfiguration = reference.endsWith(".json");
  const path = isConfiguration ? reference : await resolveModelFolder(reference, hubOptions(terminal));
  const isHere = isConfiguration || fs.existsSync(reference);
  return { path, name: isHere ? reference : (reference.split("@")[0] ?? reference), randomWeights };
}

function hubOptions(terminal: Terminal): HubOptions {
  const started = new Set<string>();
  return {
    onNotice: (notice) => terminal.warn(notice),
    onProgress(file, bytesDone, bytesTotal) {
      if (!started.has(file)) terminal.note(`downloading ${file} (${(bytesTotal / 1e6).toFixed(1)} MB)`);
      else if (bytesDone === bytesTotal) terminal.note(`downloaded ${file}`);
      started.add(file);
    },
  };
}

/** How a model is opened, besides what it is opened for. */
export type StorageOptions = Pick<OpenBaseOptions, "storage" | "compute">;

export function openModel(
  { path, name, randomWeights }: FoundModel,
  task: Task,
  { labelCount, storage, compute }: StorageOptions & { readonly labelCount?: number | undefined } = {},
): Promise<Base> {
  return openBase({ path, name, task, labelCount, randomWeights, storage, compute });
}

/** The tokenizer in the model's folder. @throws DeltafitError `tokenizer-mismatch` where it has ids beyond the model's. */
export function openTokenizer(base: Base): Tokenizer {
  const tokenizer = loadTokenizer(base.folder);
  assertTokenizerFits(tokenizer, base.model.vocabularySize, {
    tokenizer: tokenizer.folder,
    model: base.name,
  });
  return tokenizer;
}

/** What ends a text: the tokenizer's own token, else the first that the model's configuration names. */
export function endTokenOf(tokenizer: Tokenizer, base: Base): number | undefined {
  return tokenizer.eosTokenId ?? stopTokensOf(base)[0];
}

/** Adapters that were found but not loaded. */
export interface FoundAdapters {
  /** Single adapters, those of stacks one after the other. */
  readonly entries: readonly StackEntry[];
  /** How the last one that says so was trained. */
  readonly notes: TrainingNotes | undefined;
  /** Labels of the classifier that one brings. */
  readonly labelCount: number | undefined;
}

/** Downloads adapters of the hub that are not in the cache. */
export async function findAdapters(
  references: readonly string[],
  terminal: Terminal,
): Promise<FoundAdapters> {
  const entries: StackEntry[] = [];
  let notes: TrainingNotes | undefined;
  for (const reference of references) {
    const folder = await resolveAdapterFolder(reference, hubOptions(terminal));
    entries.push(...(readStack(folder) ?? [{ name: "default", folder, frozen: false }]));
    notes = readTrainingNotes(folder) ?? notes;
  }
  const stored = entries.map(({ folder }) => inspectAdapter(folder).labelCount);
  const labelCount = notes?.labelCount ?? stored.findLast((count) => count !== undefined);
  return { entries, notes, labelCount };
}

/** A base with adapters, for using or merging them. */
export interface AdaptedModel {
  readonly base: Base;
  readonly adapters: readonly Adapter[];
  /** What each --adapter has brought. */
  readonly groups: readonly AdapterGroup[];
  /** How the last adapter that says so was trained; without adapters, the model itself. */
  readonly notes: TrainingNotes | undefined;
}

export interface AdapterGroup extends NamedReference {
  /** Several of a stack's folder; their names begin with its own. */
  readonly adapters: readonly Adapter[];
  /** Factor of what they change. */
  readonly weight: number;
}

/**
 * Opens a model for the task of its adapters and puts them on it.
 * @param given.task Wins over what the adapters say. "writing" is the task in which the model writes text.
 */
export async function openAdaptedModel(
  given: {
    readonly model: string | undefined;
    readonly adapter: readonly string[] | undefined;
    readonly adapterWeight?: readonly number[] | undefined;
    readonly task?: Task | "writing" | undefined;
    /** Where nothing names a task, take the one the architecture is pretrained for, and not always causal-lm. */
    readonly pretraining?: boolean;
    /** False refuses a model whose weights do not fit into memory. */
    readonly ignoreMemory?: boolean;
  } & StorageOptions,
  terminal: Terminal,
): Promise<AdaptedModel> {
  const model = await findModel(given.model, terminal);
  const references = namedReferences(given.adapter ?? []);
  const weights = adapterWeights(references, given.adapterWeight);
  const folders: string[] = [];
  for (const { reference } of references)
    folders.push(await resolveAdapterFolder(reference, hubOptions(terminal)));
  const descriptions = folders.flatMap((folder) =>
    (readStack(folder) ?? [{ folder }]).map((entry) => ({
      notes: readTrainingNotes(folder),
      stored: inspectAdapter(entry.folder),
    })),
  );
  const notes =
    descriptions.findLast((description) => description.notes !== undefined)?.notes ??
    (folders.length === 0 ? readTrainingNotes(model.path) : undefined);
  const taskType = descriptions.findLast(({ stored }) => stored.taskType !== undefined)?.stored.taskType;
  const labelCount =
    notes?.labelCount ??
    descriptions.findLast(({ stored }) => stored.labelCount !== undefined)?.stored.labelCount;
  const otherwise = () => (given.pretraining === true ? pretrainingTask(model) : writingTask(model));
  const task =
    given.task === "writing"
      ? writingTask(model)
      : (given.task ?? notes?.task ?? taskOfAdapter(taskType, labelCount) ?? otherwise());
  const { storage, compute } = given;
  if (given.ignoreMemory === false) {
    const shape = shapeOf(readConfiguration(model.path), { task, labelCount });
    checkModelMemory(shape, { storage, compute: compute ?? "float32" }, availableMemoryBytes());
  }
  const base = await openModel(model, task, { labelCount, storage, compute });
  const groups = references.map((named, index): AdapterGroup => {
    const weight = weights[index] ?? 1;
    return { ...named, weight, adapters: loadAdapters(folders[index] ?? "", base, named.name) };
  });
  return { base, adapters: groups.flatMap(({ adapters }) => adapters), groups, notes };
}

/** What an architecture is pretrained for: writing, or telling masked tokens. */
function pretrainingTask(model: FoundModel): Task {
  return createModel(readConfiguration(model.path)).causal ? writingTask(model) : "masked-lm";
}

function taskOfAdapter(taskType: string | undefined, labelCount: number | undefined): Task | undefined {
  if (taskType === "TOKEN_CLS") return "token-classification";
  if (taskType === "QUESTION_ANS") return "question-answering";
  if (taskType === "SEQ_CLS") return labelCount === 1 ? "regression" : "classification";
  if (taskType === "CAUSAL_LM") return "causal-lm";
  return taskType === "SEQ_2_SEQ_LM" ? "seq2seq-lm" : undefined;
}

/** The task in which a model writes text. */
function writingTask({ path }: FoundModel): Task {
  return createModel(readConfiguration(path)).encoderDecoder ? "seq2seq-lm" : "causal-lm";
}

/** Says where a tokenizer is another one than an adapter was trained with. */
export function warnOfOtherTokenizer(
  tokenizer: Tokenizer,
  notes: TrainingNotes | undefined,
  terminal: Terminal,
): void {
  if (notes === undefined) return;
  if (notes.tokenizer !== tokenizer.fingerprint)
    terminal.warn("the adapter was trained with another tokenizer.json");
  else if (notes.chatTemplate !== fingerprintOf(tokenizer.chatTemplate))
    terminal.warn("the adapter was trained with another chat template");
}
