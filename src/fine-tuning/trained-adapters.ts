/**
 * @file The adapters of a run: one vector of everything trained and its parts, and the files they are written into. A
 * single adapter has the folder to itself; several, or one over frozen ones, are written as a stack.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { withValues } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { condenseAdapter, forUnchangedBase } from "../adapters/condense.ts";
import { writeAdapterFiles } from "../adapters/folder.ts";
import { writeMergedModel } from "../adapters/merged-model.ts";
import { methodTable } from "../adapters/method-table.ts";
import type { MethodType } from "../adapters/method-table.ts";
import { checkStackNames, stackFiles } from "../adapters/stack.ts";
import type { StackMember } from "../adapters/stack.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { writeFolderAtomic } from "../files/atomic.ts";
import { checkpointFolder } from "./checkpoint-folder.ts";
import { writeTrainingState } from "./training-state.ts";
import type { TrainingState } from "./training-state.ts";

const hasAdapterFolder = ({ methodType }: Pick<Adapter, "methodType">): boolean =>
  methodTable[methodType].format !== undefined;

/** @throws DeltafitError `usage-invalid` for none, and for several that cannot be one stack. */
export function checkMembers(trained: readonly Adapter[], frozen: readonly Adapter[]): void {
  if (trained.length === 0)
    throw new DeltafitError(
      "usage-invalid",
      "Training: there is no adapter to train; expected at least one.",
    );
  const all = [...frozen, ...trained];
  if (all.length === 1) return;
  checkStackNames(all.map(({ name }) => name));
  const whole = all.find((adapter) => !hasAdapterFolder(adapter));
  if (whole === undefined) return;
  throw new DeltafitError(
    "usage-invalid",
    `Training: the method ${whole.methodType} has no adapter that could act with others.`,
    "Train it alone.",
  );
}

/** The values of all adapters, one after the other; those of a single one as they are. */
export function joinValues(adapters: readonly Adapter[]): Float32Array {
  const [first] = adapters;
  if (first && adapters.length === 1) return first.values;
  const joined = new Float32Array(adapters.reduce((sum, { layout }) => sum + layout.size, 0));
  let offset = 0;
  for (const { values } of adapters) {
    joined.set(values, offset);
    offset += values.length;
  }
  return joined;
}

/** The adapters with their parts of a joined vector. */
export function splitValues(adapters: readonly Adapter[], joined: Float32Array): Adapter[] {
  let offset = 0;
  return adapters.map((adapter) => {
    const start = offset;
    offset += adapter.layout.size;
    return withValues<MethodType>(adapter, joined.subarray(start, offset));
  });
}

/** SHA-256 of the values of adapters, in hexadecimal. */
export function fingerprintOf(adapters: readonly Adapter[]): string {
  const hash = createHash("sha256");
  for (const { values } of adapters) hash.update(values);
  return hash.digest("hex");
}

/** What is written besides the trained adapters. */
export interface RunFiles {
  readonly base: Base;
  readonly frozen: readonly Adapter[];
  /** Writes further files beside them. */
  readonly addFiles: ((folder: string) => void) | undefined;
}

/** A run's state with its adapters beside it. */
export async function saveCheckpoint(
  folder: string,
  files: RunFiles,
  trained: readonly Adapter[],
  state: TrainingState,
): Promise<void> {
  const writeFiles = await adapterFiles(files, trained);
  await writeTrainingState(folder, state, writeFiles);
}

/** The adapters in `out`, with this run's checkpoints; a whole model where the method has no adapters. */
export async function writeResult(
  out: string,
  files: RunFiles,
  trained: readonly Adapter[],
  hasBest: boolean,
): Promise<void> {
  if (!trained.every(hasAdapterFolder)) {
    await writeMergedModel(files.base, trained, out);
    files.addFiles?.(out);
    return;
  }
  const writeFiles = await adapterFiles(files, trained);
  await writeFolderAtomic(out, (temporary) => {
    writeFiles(temporary);
    for (const kind of hasBest ? (["last", "best"] as const) : (["last"] as const)) {
      const checkpoint = checkpointFolder(out, kind);
      if (fs.existsSync(checkpoint))
        fs.cpSync(checkpoint, checkpointFolder(temporary, kind), { recursive: true });
    }
  });
}

async function adapterFiles(
  { base, frozen, addFiles }: RunFiles,
  trained: readonly Adapter[],
): Promise<(folder: string) => void> {
  const [only, another] = [...frozen, ...trained];
  if (only !== undefined && another === undefined) {
    if (!hasAdapterFolder(only)) return (folder) => addFiles?.(folder);
    const condensed = await condenseAdapter(await forUnchangedBase(only, base), base);
    return (folder) => {
      writeAdapterFiles(folder, condensed, base);
      addFiles?.(folder);
    };
  }
  const members: StackMember[] = frozen.map((adapter) => ({ adapter, frozen: true }));
  for (const adapter of trained)
    members.push({ adapter: await forUnchangedBase(adapter, base), frozen: false });
  const writeStack = await stackFiles(members, base);
  return (folder) => {
    writeStack(folder);
    addFiles?.(folder);
  };
}
