/**
 * @file A stack: adapters that act together, in their order, as one folder. Each lies in a folder of its own, which is an
 * ordinary adapter folder; a small index beside them names them. Knows no method.
 */
import fs from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { readingFrom } from "../files/read.ts";
import type { Adapter } from "./adapter.ts";
import { condenseAdapter } from "./condense.ts";
import { loadAdapter, writeAdapterFiles } from "./folder.ts";

/** The index of a stack's folder. */
export const stackFileName = "adapter_stack.json";

const maximumIndexBytes = 2 ** 16;
const maximumAdapters = 64;

const schema = z.strictObject({
  format: z.literal(1),
  adapters: z
    .array(z.strictObject({ folder: z.string(), frozen: z.boolean() }))
    .min(1)
    .max(maximumAdapters),
});

/** An adapter of a stack; its name is that of its folder. */
export interface StackMember {
  readonly adapter: Adapter;
  /** Whether it was only active while the others were trained. */
  readonly frozen: boolean;
}

/** An adapter of a stack on disk. */
export interface StackEntry {
  /** Its name in the index, and that of its folder. */
  readonly name: string;
  readonly folder: string;
  readonly frozen: boolean;
}

/** What folders of a stack may be called; the folder of a run's checkpoints is none of them. */
const memberName = /^(?!checkpoints$)[A-Za-z0-9][\w.-]{0,99}$/;

/** @throws DeltafitError `usage-invalid` where adapters cannot be told apart by the names of their folders. */
export function checkStackNames(names: readonly string[], where = "A stack of adapters"): void {
  for (const [index, name] of names.entries()) {
    if (!memberName.test(name))
      throw new DeltafitError(
        "usage-invalid",
        `${where}: ${quote(name)} cannot name an adapter and its folder; expected letters, digits, ".", "-" and "_", and not "checkpoints".`,
        "Give the adapter another name.",
      );
    if (names.indexOf(name) !== index)
      throw new DeltafitError(
        "usage-invalid",
        `${where}: two adapters are called ${quote(name)}.`,
        "Give each adapter a name of its own.",
      );
  }
}

/**
 * Prepares the files of a stack.
 * @returns what writes them into a folder that is there, beside whatever else it holds.
 * @throws DeltafitError `usage-invalid`, `method-unsupported` for a method without an adapter folder, `runtime-failed`.
 */
export async function stackFiles(
  members: readonly StackMember[],
  base: Base,
): Promise<(folder: string) => void> {
  checkStackNames(members.map(({ adapter }) => adapter.name));
  const condensed: Adapter[] = [];
  for (const { adapter } of members) condensed.push(await condenseAdapter(adapter, base));
  return (folder) => {
    for (const adapter of condensed) {
      fs.mkdirSync(join(folder, adapter.name));
      writeAdapterFiles(join(folder, adapter.name), adapter, base);
    }
    const adapters = members.map(({ adapter, frozen }) => ({ folder: adapter.name, frozen }));
    writeFileAtomic(join(folder, stackFileName), `${JSON.stringify({ format: 1, adapters }, null, 2)}\n`);
  };
}

/**
 * Writes a stack's folder; one that is there already is replaced as a whole.
 * @throws DeltafitError as `saveAdapter`, and `usage-invalid` for names that are no folders'.
 */
export async function saveAdapterStack(
  folder: string,
  members: readonly StackMember[],
  base: Base,
): Promise<void> {
  const writeFiles = await stackFiles(members, base);
  await writeFolderAtomic(folder, writeFiles);
}

/**
 * The adapters of a stack in their order; `undefined` for a folder that is none.
 * @throws DeltafitError `config-invalid`, `file-invalid`, `file-refused` for an index that leads out of the folder.
 */
export function readStack(folder: string): readonly StackEntry[] | undefined {
  const path = join(folder, stackFileName);
  if (!fs.existsSync(path)) return undefined;
  const { adapters } = parseWithSchema(schema, readJsonFile(path, maximumIndexBytes), quote(path));
  checkStackNames(
    adapters.map((entry) => entry.folder),
    quote(path),
  );
  const root = readingFrom(folder, () => fs.realpathSync(folder));
  return adapters.map(({ folder: name, frozen }) => {
    const written = join(folder, name);
    const resolved = readingFrom(written, () => fs.realpathSync(written));
    if (resolved !== join(root, name))
      throw new DeltafitError(
        "file-refused",
        `${quote(path)} names the folder ${quote(name)}, which is a link to ${quote(resolved)}.`,
        "Put the adapter itself into the folder.",
      );
    return { name, folder: written, frozen };
  });
}

/**
 * Loads an adapter folder, or all adapters of a stack's folder in their order, and fits them to a base.
 * @param name What a run calls the adapter; those of a stack are called `name/folder`, or as their folders without it.
 * @throws DeltafitError as `loadAdapter` and `readStack`.
 */
export function loadAdapters(folder: string, base: Base, name?: string): Adapter[] {
  const stack = readStack(folder);
  if (stack === undefined) return [loadAdapter(folder, base, name)];
  return stack.map((entry) =>
    loadAdapter(entry.folder, base, name === undefined ? entry.name : `${name}/${entry.name}`),
  );
}
