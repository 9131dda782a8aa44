/**
 * @file The layout of the Hugging Face cache, shared with Python: `models--OWNER--NAME` with the contents of files
 * under `blobs`, the commits of branches and tags under `refs`, and a folder of links to blobs for each commit under
 * `snapshots`. Knows nothing of the network.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic } from "./atomic.ts";
import { quote } from "./quote.ts";
import { systemErrorCode } from "./read.ts";

const commitPattern = /^[0-9a-f]{40}$/;

/** Whether a revision names one commit for ever. */
export function isCommit(revision: string): boolean {
  return commitPattern.test(revision);
}

/** The folder of the model repository `OWNER/NAME` in a cache. */
export function repositoryFolder(cacheFolder: string, id: string): string {
  return path.join(cacheFolder, ["models", ...id.split("/")].join("--"));
}

export function snapshotFolder(repository: string, commit: string): string {
  return path.join(repository, "snapshots", commit);
}

export function blobPath(repository: string, blob: string): string {
  return path.join(repository, "blobs", blob);
}

/** Length in bytes of the regular file at `file`, links followed; undefined if there is none. */
export function fileByteLength(file: string): number | undefined {
  try {
    const status = fs.statSync(file, { throwIfNoEntry: false });
    return status?.isFile() === true ? status.size : undefined;
  } catch {
    // A loop of links or a folder without permission holds nothing that can be used.
    return undefined;
  }
}

function referencePath(repository: string, revision: string): string {
  return path.join(repository, "refs", ...revision.split("/"));
}

/** The commit that a revision had when it was last downloaded. */
export function cachedCommit(repository: string, revision: string): string | undefined {
  if (isCommit(revision)) return revision;
  const file = referencePath(repository, revision);
  if ((fileByteLength(file) ?? Infinity) > 100) return undefined;
  const commit = fs.readFileSync(file, "utf8").trim();
  return isCommit(commit) ? commit : undefined;
}

/** Notes the commit of a branch or tag; does nothing if it is noted already. */
export function writeReference(repository: string, revision: string, commit: string): void {
  if (cachedCommit(repository, revision) === commit) return;
  const file = referencePath(repository, revision);
  writingTo(path.dirname(file), () => fs.mkdirSync(path.dirname(file), { recursive: true }));
  writeFileAtomic(file, commit);
}

/** A name for a blob that is still being written; Python's tools know the ending and remove what a crash leaves. */
export function incompletePath(repository: string, blob: string): string {
  return `${blobPath(repository, blob)}.${randomBytes(4).toString("hex")}.incomplete`;
}

/**
 * Shows a blob under a file's name in a commit's snapshot: by a relative link, so that a cache can be moved, or by a
 * copy where the system allows no links (Windows without developer mode). What stood there is replaced in one step.
 */
export function linkBlob(repository: string, commit: string, name: string, blob: string): void {
  const pointer = path.join(snapshotFolder(repository, commit), name);
  const temporary = path.join(path.dirname(pointer), `.${randomBytes(6).toString("hex")}.partial`);
  writingTo(pointer, () => {
    fs.mkdirSync(path.dirname(pointer), { recursive: true });
    try {
      fs.symlinkSync(path.relative(path.dirname(pointer), blobPath(repository, blob)), temporary);
    } catch (error) {
      if (!["EPERM", "ENOSYS", "ENOTSUP"].includes(systemErrorCode(error) ?? "")) throw error;
      fs.copyFileSync(blobPath(repository, blob), temporary);
    }
    try {
      fs.renameSync(temporary, pointer);
    } finally {
      fs.rmSync(temporary, { force: true });
    }
  });
}

/** Refuses to begin what the disk has no room for, before hours of downloading. */
export function checkFreeSpace(folder: string, neededBytes: number): void {
  const { bavail, bsize } = writingTo(folder, () => fs.statfsSync(folder));
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const message = `The download needs ${neededBytes} bytes in ${quote(folder)}, and ${freeBytes} are free.`;
  throw new DeltafitError("write-failed", message, "Free some space, or set HF_HUB_CACHE to another disk.");
}

/** Runs a call that writes into the cache and turns the system's failure into `write-failed`. */
export function writingTo<Result>(target: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    const message = `Cannot write ${quote(target)} in the hub's cache (${code}).`;
    const hint = "Check the folder's permissions and free space, or set HF_HUB_CACHE to another folder.";
    throw new DeltafitError("write-failed", message, hint, error);
  }
}
