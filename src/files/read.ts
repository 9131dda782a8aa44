/**
 * @file Opening and reading plain files with the system's errors turned into deltafit's. Knows no format.
 */
import fs from "node:fs";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";

/** Below 2^31, the most one read call takes. */
const maximumBytesPerRead = 2 ** 30;

/** What tells whether a file is still the one that was checked. */
export interface FileIdentity {
  readonly byteLength: number;
  readonly modifiedMs: number;
  readonly inode: number;
}

export interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  readonly identity: FileIdentity;
}

/** The system's short code of an error, such as `ENOENT`; undefined for errors of another kind. */
export function systemErrorCode(error: unknown): string | undefined {
  const isSystemError = error instanceof Error && "code" in error && "syscall" in error;
  return isSystemError && typeof error.code === "string" ? error.code : undefined;
}

function readError(path: string, error: unknown): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  if (code === "ENOENT") {
    return new DeltafitError("file-missing", `${quote(path)} does not exist.`, "Check the path.", error);
  }
  if (code === "ENOTDIR") {
    const message = `${quote(path)} cannot be read: a file stands where a folder is expected.`;
    return new DeltafitError("file-missing", message, "Check the path.", error);
  }
  if (code === "EACCES" || code === "EPERM") {
    const hint = "Check the permissions of the file and of the folders above it.";
    return new DeltafitError("file-missing", `${quote(path)} may not be read (${code}).`, hint, error);
  }
  return new DeltafitError("file-invalid", `${quote(path)} cannot be read (${code}).`, undefined, error);
}

/** Runs a call of `node:fs` on `path` and turns its failure into a `DeltafitError`. */
export function readingFrom<Result>(path: string, call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw readError(path, error);
  }
}

/**
 * Opens a regular file for the time of `use`.
 *
 * @throws DeltafitError `file-missing`, or `file-refused` for a folder, a device or a pipe (opening a pipe
 * would wait for a writer forever).
 */
export function withOpenFile<Result>(path: string, use: (file: OpenFile) => Result): Result {
  const descriptor = readingFrom(path, () => {
    if (!fs.statSync(path).isFile()) {
      throw new DeltafitError(
        "file-refused",
        `${quote(path)} is not a regular file.`,
        "Name a file, not a folder.",
      );
    }
    return fs.openSync(path, "r");
  });
  try {
    const status = fs.fstatSync(descriptor);
    const identity = { byteLength: status.size, modifiedMs: status.mtimeMs, inode: status.ino };
    return use({ path, descriptor, identity });
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Fills `bytes` from the file's byte `position` on.
 *
 * @throws DeltafitError `file-invalid` if the file ends before `bytes` is full.
 */
export function readExactly(file: OpenFile, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    const length = Math.min(bytes.length - done, maximumBytesPerRead);
    const offset = done;
    const count = readingFrom(file.path, () =>
      fs.readSync(file.descriptor, bytes, offset, length, position + offset),
    );
    if (count === 0) {
      const found = `it ends after ${position + done} bytes, ${position + bytes.length} were expected`;
      throw new DeltafitError(
        "file-invalid",
        `${quote(file.path)} became shorter while it was read: ${found}.`,
      );
    }
    done += count;
  }
}
