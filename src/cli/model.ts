/** @file From --model and --adapter to a base with its tokenizer and adapters. */
import fs from "node:fs";
import { inspectAdapter } from "../adapters/inspect.ts";
import { loadAdapter } from "../adapters/folder.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { openBase } from "../base/base.ts";
import type { Base, OpenBaseOptions } from "../base/base.ts";
import { resolveAdapterFolder, resolveModelFolder } from "../files/hub.ts";
import type { HubOptions } from "../files/hub.ts";
import { assertTokenizerFits, loadTokenizer } from "../files/tokenizer.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { stopTokensOf } from "../generation/stop-tokens.ts";
import type { Task } from "../models/forward.ts";
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
export type StorageOptions = Pick<OpenBaseOptions, "storage">;

export function openModel(
  { path, name, randomWeights }: FoundModel,
  task: Task,
  { labelCount, storage }: StorageOptions & { readonly labelCount?: number | undefined } = {},
): Promise<Base> {
  return openBase({ path, name, task, labelCount, randomWeights, storage });
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

/** A base with adapters, for using or merging them. */
export interface AdaptedModel {
  readonly base: Base;
  readonly adapters: readonly Adapter[];
  /** How the last adapter that says so was trained; without adapters, the model itself. */
  readonly notes: TrainingNotes | undefined;
}

/**
 * Opens a model for the task of its adapters and puts them on it.
 * @param given.task Wins over what the adapters say.
 */
export async function openAdaptedModel(
  given: {
    readonly model: string | undefined;
    readonly adapter: readonly string[] | undefined;
    readonly task?: Task | undefined;
  } & StorageOptions,
  terminal: Terminal,
): Promise<AdaptedModel> {
  const model = await findModel(given.model, terminal);
  const folders: string[] = [];
  for (const reference of given.adapter ?? [])
    folders.push(await resolveAdapterFolder(reference, hubOptions(terminal)));
  const descriptions = folders.map((folder) => ({
    notes: readTrainingNotes(folder),
    stored: inspectAdapter(folder),
  }));
  const notes =
    descriptions.findLast((description) => description.notes !== undefined)?.notes ??
    (folders.length === 0 ? readTrainingNotes(model.path) : undefined);
  const last = descriptions.at(-1)?.stored;
  const labelCount =
    notes?.labelCount ??
    descriptions.findLast(({ stored }) => stored.labelCount !== undefined)?.stored.labelCount;
  const task = given.task ?? notes?.task ?? taskOfAdapter(last?.taskType, labelCount);
  const base = await openModel(model, task, { labelCount, storage: given.storage });
  const adapters = folders.map((folder, index) =>
    loadAdapter(folder, base, index === 0 ? "default" : `adapter-${index + 1}`),
  );
  return { base, adapters, notes };
}

function taskOfAdapter(taskType: string | undefined, labelCount: number | undefined): Task {
  if (taskType === "TOKEN_CLS") return "token-classification";
  if (taskType === "QUESTION_ANS") return "question-answering";
  if (taskType === "SEQ_CLS") return labelCount === 1 ? "regression" : "classification";
  return "causal-lm";
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
