/**
 * @file Writing files and folders so that a reader, a crash or a full disk never meets half of one: made whole
 * under a temporary name beside the target, flushed to the disk, then renamed. Knows no format.
 */
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";
import { systemErrorCode } from "./read.ts";

const reasons: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  ENOSPC: ["no space left on the device", "Free some space, or write to another disk."],
  EDQUOT: ["the disk quota is used up", "Free some space, or write to another disk."],
  EFBIG: ["the file would be larger than allowed", "Raise the limit, or write to another disk."],
  EACCES: ["permission denied", "Check the permissions of the folder, or write elsewhere."],
  EPERM: ["permission denied", "Check the permissions of the folder, or write elsewhere."],
  EROFS: ["the file system is read-only", "Write elsewhere."],
  ENOENT: ["the folder does not exist", "Create the folder first."],
  ENOTDIR: ["a part of the path is not a folder", "Check the path."],
  EISDIR: ["it is a folder", "Name a file."],
};

/** A failure of the system becomes `write-failed`; anything else (a producer's own error) is passed on. */
function writeError(target: string, error: unknown, outcome: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  const [reason, hint] = reasons[code] ?? ["the system refused it", undefined];
  return new DeltafitError(
    "write-failed",
    `Cannot write ${quote(target)}: ${reason} (${code}). ${outcome}`,
    hint,
    error,
  );
}

/** The system's error behind a `write-failed` of one file, whose text names the temporary folder. */
function systemCause(error: unknown): unknown {
  const isWriteFailure = DeltafitError.isInstance(error) && error.code === "write-failed";
  return isWriteFailure && systemErrorCode(error.cause) !== undefined ? error.cause : error;
}

function temporaryName(target: string): string {
  return path.join(
    path.dirname(target),
    `.${path.basename(target)}.${randomBytes(6).toString("hex")}.partial`,
  );
}

function statusOf(target: string): fs.Stats | undefined {
  return fs.lstatSync(target, { throwIfNoEntry: false });
}

/** Flushes what the system still holds back of a file's content, or of a folder's list of names. */
function flush(target: string): void {
  const descriptor = fs.openSync(target, "r");
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Windows cannot open folders; its renames are flushed by the system. */
function flushFolder(folder: string): void {
  if (process.platform !== "win32") flush(folder);
}

/** Flushes the new name of what was renamed into its place. */
function flushName(target: string): void {
  try {
    flushFolder(path.dirname(target));
  } catch (error) {
    throw writeError(target, error, "It is in its place, but a power failure may undo it.");
  }
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += fs.writeSync(descriptor, bytes, done, bytes.length - done);
}

/**
 * Writes a file whole or not at all; an existing file is replaced and keeps its permissions. A link is replaced,
 * not followed.
 *
 * @param data Text (as UTF-8), bytes, or chunks of bytes that are made while they are written; a chunk may be reused
 * once the next one is asked for.
 * @throws DeltafitError `write-failed`: what was there before is untouched and no temporary file is left. An error
 * of the chunks' own producer is passed on, with the same effect.
 */
export function writeFileAtomic(target: string, data: string | Uint8Array | Iterable<Uint8Array>): void {
  const temporary = temporaryName(target);
  let earlier: fs.Stats | undefined;
  try {
    earlier = statusOf(target);
    writeFlushed(temporary, data, earlier?.isFile() === true ? earlier.mode & 0o777 : undefined);
    fs.renameSync(temporary, target);
  } catch (error) {
    removeQuietly(temporary);
    throw writeError(
      target,
      error,
      earlier === undefined ? "No file was created." : "The earlier file is untouched.",
    );
  }
  flushName(target);
}

function writeFlushed(target: string, data: string | Uint8Array | Iterable<Uint8Array>, mode?: number): void {
  const descriptor = fs.openSync(target, "wx");
  try {
    if (mode !== undefined) fs.fchmodSync(descriptor, mode);
    if (typeof data === "string") writeAll(descriptor, Buffer.from(data, "utf8"));
    else if (data instanceof Uint8Array) writeAll(descriptor, data);
    else for (const chunk of data) writeAll(descriptor, chunk);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Removal after a failure: a second failure would only hide the first. */
function removeQuietly(target: string): void {
  try {
    fs.rmSync(target, { recursive: true, force: true });
  } catch {
    // What is left has a name that says it is partial.
  }
}

function earlierName(folder: string): string {
  return path.join(path.dirname(folder), `.${path.basename(folder)}.earlier`);
}

/**
 * Builds a folder whole under a temporary name beside its place, flushes it and swaps it in; missing folders above
 * it are created, and a link to a folder is followed. An existing folder of that name is replaced as a whole: what
 * `build` does not write is gone afterwards. If `build` or the swap fails, the existing folder is still there as it
 * was. A process that is killed between the two renames of the swap leaves the existing folder as `.NAME.earlier`;
 * the next write, or {@link restoreInterruptedSwap}, puts it back.
 *
 * @param build Fills the temporary folder, which exists and is empty; what it returns is passed through.
 * @throws DeltafitError `write-failed`; `usage-invalid` for a folder that cannot be meant (the current folder, the
 * home folder or a folder above these). An error of `build` that is not the system's is passed on.
 */
export async function writeFolderAtomic<Result>(
  folder: string,
  build: (temporaryFolder: string) => Result | Promise<Result>,
): Promise<Result> {
  const target = fs.existsSync(folder) ? fs.realpathSync(folder) : path.resolve(folder);
  refuseLosingMuch(target);
  const temporary = temporaryName(target);
  let result: Result;
  try {
    fs.mkdirSync(path.dirname(target), { recursive: true });
    restoreInterruptedSwap(target);
    fs.mkdirSync(temporary);
    result = await build(temporary);
    flushTree(temporary);
    swapIn(temporary, target);
  } catch (error) {
    removeQuietly(temporary);
    const outcome = fs.existsSync(target) ? "The earlier folder is untouched." : "No folder was created.";
    throw writeError(target, systemCause(error), outcome);
  }
  flushName(target);
  // The new folder is in its place: an earlier one that cannot be removed now goes at the next write.
  removeQuietly(earlierName(target));
  return result;
}

/**
 * Puts a folder back that a process killed in the middle of {@link writeFolderAtomic} left as `.NAME.earlier`, and
 * removes one that is no longer needed. Returns whether a folder was put back.
 */
export function restoreInterruptedSwap(folder: string): boolean {
  const target = path.resolve(folder);
  const earlier = earlierName(target);
  if (statusOf(earlier) === undefined) return false;
  if (statusOf(target) === undefined) {
    fs.renameSync(earlier, target);
    flushFolder(path.dirname(target));
    return true;
  }
  fs.rmSync(earlier, { recursive: true });
  return false;
}

function swapIn(temporary: string, target: string): void {
  const status = statusOf(target);
  if (status !== undefined && !status.isDirectory()) {
    const message = `Cannot write ${quote(target)}: expected a folder or nothing there, found a file. It is untouched.`;
    throw new DeltafitError("write-failed", message, "Name another folder.");
  }
  const earlier = earlierName(target);
  if (status !== undefined) fs.renameSync(target, earlier);
  try {
    fs.renameSync(temporary, target);
  } catch (error) {
    if (status !== undefined) fs.renameSync(earlier, target);
    throw error;
  }
}

function flushTree(folder: string): void {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const entryPath = path.join(folder, entry.name);
    if (entry.isDirectory()) flushTree(entryPath);
    else if (entry.isFile()) flush(entryPath);
  }
  flushFolder(folder);
}

/** Replacing one of these as a whole would delete far more than anybody means by an output folder. */
function refuseLosingMuch(target: string): void {
  const holds = (inner: string): boolean => {
    const relative = path.relative(target, inner);
    return relative === "" || (!path.isAbsolute(relative) && relative.split(path.sep)[0] !== "..");
  };
  if (holds(process.cwd()) || holds(os.homedir())) {
    const message = `The output folder ${quote(target)} would be replaced as a whole, and the current folder or your home folder lies in it.`;
    throw new DeltafitError("usage-invalid", message, "Name a folder of its own for the output.");
  }
}
