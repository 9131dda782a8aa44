/**
 * @file Names that come out of files (an index, a config, an archive) turned into paths that cannot leave
 * their folder. Knows nothing of what the files hold.
 */
import fs from "node:fs";
import path from "node:path";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";
import { readingFrom } from "./read.ts";

/** Longest name that common file systems take. */
const maximumNameBytes = 255;

/** Whether a name is that of a file directly inside some folder, on every operating system. */
export function isPlainFileName(name: string): boolean {
  const isSpecial = name === "" || name === "." || name === "..";
  // A colon begins a drive or a stream on Windows.
  return !isSpecial && !/[/\\:\p{Cc}]/u.test(name) && Buffer.byteLength(name) <= maximumNameBytes;
}

/**
 * The real path of the regular file `name` in `folder`, all links resolved.
 *
 * @param root Where the file may lie after resolving links, if that is more than `folder` itself: the
 * repository's folder in a Hugging Face cache, whose snapshots are links to `../../blobs/...`
 * (see {@link hubCacheRepository}).
 * @throws DeltafitError `file-refused` if the name is no plain file name, or leads outside, or to something
 * that is not a regular file; `file-missing` if there is no such file.
 */
export function resolveInside(folder: string, name: string, root?: string): string {
  if (!isPlainFileName(name)) {
    const message = `${quote(folder)} refers to the file ${quote(name)}: expected a plain file name, found a path.`;
    throw new DeltafitError("file-refused", message, "Files may refer only to files in their own folder.");
  }
  const written = path.join(folder, name);
  const resolved = readingFrom(written, () => fs.realpathSync(written));
  const allowed = [folder, ...(root === undefined ? [] : [root, ...sharedBlobs(root)])];
  if (!allowed.some((outer) => isInside(resolved, fs.realpathSync(outer)))) {
    const message = `${quote(written)} is a link to ${quote(resolved)}, outside of ${quote(root ?? folder)}.`;
    throw new DeltafitError("file-refused", message, "Put the file itself into the folder.");
  }
  if (!readingFrom(resolved, () => fs.statSync(resolved)).isFile()) {
    throw new DeltafitError("file-refused", `${quote(written)} is not a regular file.`);
  }
  return resolved;
}

/** Newer caches keep content that several repositories share in `blobs` beside them, with links to it in each. */
function sharedBlobs(root: string): string[] {
  if (!path.basename(root).startsWith("models--")) return [];
  const shared = path.join(path.dirname(root), "blobs");
  return fs.existsSync(shared) ? [shared] : [];
}

/** Whether one real path lies below another. */
function isInside(inner: string, outer: string): boolean {
  const relative = path.relative(outer, inner);
  return (
    relative !== "" &&
    relative !== ".." &&
    !relative.startsWith(`..${path.sep}`) &&
    !path.isAbsolute(relative)
  );
}

/**
 * The repository's folder `models--OWNER--NAME` if `folder` is `models--OWNER--NAME/snapshots/REVISION` or lies
 * below it, as in a Hugging Face cache; else undefined.
 */
export function hubCacheRepository(folder: string): string | undefined {
  let current = readingFrom(folder, () => fs.realpathSync(folder));
  for (;;) {
    const parent = path.dirname(current);
    const repository = path.dirname(parent);
    if (path.basename(parent) === "snapshots" && path.basename(repository).startsWith("models--"))
      return repository;
    if (parent === current) return undefined;
    current = parent;
  }
}
