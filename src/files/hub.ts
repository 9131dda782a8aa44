/**
 * @file From what a user names (a folder, or `org/name` of the Hugging Face hub) to a folder on disk, downloading what
 * is missing into the cache that Python's tools share. Does not read the model.
 */
import fs from "node:fs";
import path from "node:path";
import { DeltafitError } from "../errors.ts";
import {
  blobPath,
  cachedCommit,
  checkFreeSpace,
  fileByteLength,
  linkBlob,
  repositoryFolder,
  snapshotFolder,
  writeReference,
  writingTo,
} from "./hub-cache.ts";
import { connectToHub } from "./hub-connection.ts";
import type { HubTarget } from "./hub-connection.ts";
import { downloadBlob } from "./hub-download.ts";
import type { DownloadProgress, DownloadSource } from "./hub-download.ts";
import { adapterFiles, missingFiles, modelFiles, neededFiles, shardsOf } from "./hub-files.ts";
import type { HubFileSet } from "./hub-files.ts";
import { listRepository } from "./hub-listing.ts";
import type { HubFile, HubListing } from "./hub-listing.ts";
import { findToken, hubSettings, offlineVariable } from "./hub-settings.ts";
import type { Environment } from "./hub-settings.ts";
import { quote } from "./quote.ts";
import { readingFrom } from "./read.ts";

export type { DownloadProgress } from "./hub-download.ts";

export interface HubOptions {
  /** Called while files are downloaded; not called for what the cache has. */
  readonly onProgress?: DownloadProgress;
  /** A sentence for the user: why a cached copy is used although the hub was asked. */
  readonly onNotice?: (notice: string) => void;
  /** Stops the download; the call then rejects with `interrupted`. */
  readonly signal?: AbortSignal;
  /** Instead of `process.env`: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE. */
  readonly environment?: Environment;
  /** How long a server may say nothing. Default 20,000. */
  readonly timeoutMs?: number;
  /** Before the first repetition of a request that broke; doubles from one to the next. Default 500. */
  readonly retryDelayMs?: number;
}

/**
 * The folder of a model in Hugging Face layout.
 *
 * @param reference An existing folder, or else `org/name` or `org/name@revision` of the hub, where a revision is a
 * branch, a tag or a commit. Of a hub model only the configuration, the tokenizer and safetensors weights are fetched.
 * @returns A local folder as it was named; for a hub model the absolute path of its snapshot in the cache.
 * @throws DeltafitError `file-missing` for what is neither; `hub-unavailable`; `file-refused` where there are only
 * pickled weights, or names lead out of the repository; `file-invalid` for broken content; `config-invalid` for
 * environment variables that cannot be meant; `usage-invalid` for a revision that cannot be one; `write-failed`;
 * `interrupted`.
 */
export function resolveModelFolder(reference: string, options: HubOptions = {}): Promise<string> {
  return resolveFolder(modelFiles, reference, options);
}

/** The folder of an adapter in PEFT's layout; otherwise as {@link resolveModelFolder}. */
export function resolveAdapterFolder(reference: string, options: HubOptions = {}): Promise<string> {
  return resolveFolder(adapterFiles, reference, options);
}

async function resolveFolder(set: HubFileSet, reference: string, options: HubOptions): Promise<string> {
  if (isLocalFolder(reference, set)) return reference;
  const target = parseReference(reference, set);
  const environment = options.environment ?? process.env;
  const settings = hubSettings(environment);
  const repository = repositoryFolder(settings.cacheFolder, target.id);
  const offline = offlineVariable(environment);
  if (offline !== undefined) {
    const found = findSnapshot(set, target, repository);
    if ("folder" in found) return found.folder;
    const hint = `Unset ${offline} to download it, or name a local folder.`;
    throw new DeltafitError("hub-unavailable", `${found.problem} and ${offline} is set.`, hint);
  }
  const timeoutMs = options.timeoutMs ?? 20_000;
  const connection = connectToHub(settings, findToken(environment), timeoutMs, options.signal);
  let listing: HubListing;
  try {
    listing = await listRepository(connection, target);
  } catch (error) {
    return snapshotDespite(error, set, target, repository, options);
  }
  const { commit } = listing;
  const { onProgress, retryDelayMs = 500 } = options;
  const source = { connection, target, commit, repository, onProgress, retryDelayMs };
  await fetchSnapshot(set, source, listing);
  rememberCommit(source, options);
  return snapshotFolder(repository, commit);
}

function isLocalFolder(reference: string, set: HubFileSet): boolean {
  if (/\p{Cc}/u.test(reference)) return false;
  const status = readingFrom(reference, () => fs.statSync(reference, { throwIfNoEntry: false }));
  if (status === undefined) return false;
  if (status.isDirectory()) return true;
  const message = `${quote(reference)} is a file: expected the folder of ${articled(set.kind)}.`;
  throw new DeltafitError("file-refused", message, "Name the folder that the file is in.");
}

function articled(kind: HubFileSet["kind"]): string {
  return kind === "model" ? "a model" : "an adapter";
}

/** The hub's own rules for names. */
const namePattern = /^\w(?:[\w.-]{0,94}\w)?$/;

function parseReference(reference: string, set: HubFileSet): HubTarget {
  const at = reference.indexOf("@");
  const id = at < 0 ? reference : reference.slice(0, at);
  const parts = id.split("/");
  const isId =
    parts.length === 2 && parts.every((part) => namePattern.test(part)) && !/--|\.\.|\.git$/.test(id);
  if (!isId) {
    const message =
      `${quote(reference)} is neither a folder that exists nor the name of ${articled(set.kind)} on the hub, ` +
      "which is org/name or org/name@revision.";
    throw new DeltafitError("file-missing", message, "Check the path.");
  }
  const revision = at < 0 ? "main" : reference.slice(at + 1);
  // A revision becomes a path under `refs`.
  const isRevision =
    revision.length <= 200 &&
    revision.split("/").every((part) => /^[\w+-][\w.+-]*$/.test(part) && !part.endsWith("."));
  if (isRevision) return { kind: set.kind, id, revision };
  const message = `${quote(reference)} names the revision ${quote(revision)}: expected a branch, a tag or a commit.`;
  throw new DeltafitError("usage-invalid", message, "Write org/name for the branch main.");
}

type FoundSnapshot = { readonly folder: string; readonly commit: string } | { readonly problem: string };

/** The cached snapshot of the revision if it is complete, else the beginning of a sentence about what is wrong. */
function findSnapshot(set: HubFileSet, target: HubTarget, repository: string): FoundSnapshot {
  const name = `${quote(target.id)} (revision ${quote(target.revision)})`;
  const commit = cachedCommit(repository, target.revision);
  const folder = commit === undefined ? undefined : snapshotFolder(repository, commit);
  if (commit === undefined || folder === undefined || !fs.existsSync(folder)) {
    return { problem: `${name} is not in the cache ${quote(path.dirname(repository))},` };
  }
  const missing = missingFiles(set, folder, commit);
  if (missing.length === 0) return { folder, commit };
  const shown = missing.slice(0, 3).map(quote).join(", ") + (missing.length > 3 ? ", ..." : "");
  return { problem: `The copy of ${name} in the cache, ${quote(folder)}, lacks ${shown},` };
}

/** When the hub gives no answer, what was downloaded before serves, and the user is told. */
function snapshotDespite(
  error: unknown,
  set: HubFileSet,
  target: HubTarget,
  repository: string,
  options: HubOptions,
): string {
  if (!DeltafitError.isInstance(error) || error.code !== "hub-unavailable") throw error;
  const found = findSnapshot(set, target, repository);
  if (!("folder" in found)) {
    const problem = found.problem.replace(/,$/, ".");
    throw new DeltafitError("hub-unavailable", `${error.message} ${problem}`, error.hint, error);
  }
  options.onNotice?.(`${error.message} Using the copy in the cache, commit ${found.commit}.`);
  return found.folder;
}

async function fetchSnapshot(set: HubFileSet, source: DownloadSource, listing: HubListing): Promise<void> {
  const { target, repository, commit } = source;
  const where = `The hub ${set.kind} ${quote(target.id)} (revision ${quote(target.revision)})`;
  const names = neededFiles(set, new Set(listing.files.keys()), where);
  await fetchFiles(source, listing, names);
  if (set.index !== undefined && names.includes(set.index)) {
    const index = path.join(snapshotFolder(repository, commit), set.index);
    const shards = shardsOf(index);
    const absent = shards.find((shard) => !listing.files.has(shard));
    if (absent !== undefined) {
      const message = `${quote(index)} refers to the file ${quote(absent)}, which the repository does not have.`;
      throw new DeltafitError("file-missing", message, "Tell the model's owner, or use another revision.");
    }
    await fetchFiles(source, listing, shards);
  }
}

/**
 * Last of all: until the snapshot is complete, the one that the branch named before is the one that counts. A complete
 * snapshot in a cache that may not be written (a shared one, say) is used all the same.
 */
function rememberCommit({ repository, target, commit }: DownloadSource, options: HubOptions): void {
  try {
    writeReference(repository, target.revision, commit);
  } catch (error) {
    if (!DeltafitError.isInstance(error)) throw error;
    options.onNotice?.(error.message);
  }
}

async function fetchFiles(
  source: DownloadSource,
  listing: HubListing,
  names: readonly string[],
): Promise<void> {
  const { repository, commit } = source;
  const missing = names
    .map((name) => listing.files.get(name))
    .filter((file): file is HubFile => file !== undefined)
    .filter(
      (file) => fileByteLength(path.join(snapshotFolder(repository, commit), file.name)) !== file.byteLength,
    );
  if (missing.length === 0) return;
  writingTo(repository, () => fs.mkdirSync(repository, { recursive: true }));
  const absent = missing.filter(
    (file) => fileByteLength(blobPath(repository, file.digest)) !== file.byteLength,
  );
  checkFreeSpace(
    repository,
    absent.reduce((sum, file) => sum + file.byteLength, 0),
  );
  for (const file of missing) {
    await downloadBlob(source, file);
    linkBlob(repository, commit, file.name, file.digest);
  }
}
