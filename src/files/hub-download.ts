/**
 * @file One file from the hub into the cache: written under a name of this process alone, taken up again where the
 * connection broke, held against the digest that the hub has listed, then renamed. The library's own download is not
 * used: two processes would write to the same file, and it checks neither length nor digest.
 */
import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DeltafitError } from "../errors.ts";
import { blobPath, fileByteLength, incompletePath, writingTo } from "./hub-cache.ts";
import {
  isTransient,
  refusalError,
  requestFromHub,
  strangeAnswerError,
  unreachableError,
  watchRequest,
} from "./hub-connection.ts";
import type { HubConnection, HubTarget, Watch } from "./hub-connection.ts";
import type { HubFile } from "./hub-listing.ts";
import { quote } from "./quote.ts";

/** Tries in a row that brought not a single byte. */
const maximumFruitlessTries = 5;

/** Called while a file is downloaded: its name, bytes on the disk so far, and bytes of the whole file. */
export type DownloadProgress = (file: string, bytesDone: number, bytesTotal: number) => void;

export interface DownloadSource {
  readonly connection: HubConnection;
  readonly target: HubTarget;
  readonly commit: string;
  /** The repository's folder in the cache. */
  readonly repository: string;
  readonly onProgress: DownloadProgress | undefined;
  /** Before the first repetition of a request that broke; doubles from one to the next. */
  readonly retryDelayMs: number;
}

interface PartialFile {
  readonly descriptor: number;
  readonly path: string;
  hash: Hash;
  bytesDone: number;
}

/**
 * Makes sure that the blob of `file` is in the cache.
 *
 * @throws DeltafitError `hub-unavailable`, `file-invalid` (the content is not what the hub has listed),
 * `write-failed`, `interrupted`. Nothing is left of an incomplete file.
 */
export async function downloadBlob(source: DownloadSource, file: HubFile): Promise<void> {
  const blob = blobPath(source.repository, file.digest);
  if (fileByteLength(blob) === file.byteLength) return;
  const temporary = incompletePath(source.repository, file.digest);
  const descriptor = writingTo(temporary, () => {
    fs.mkdirSync(path.dirname(temporary), { recursive: true });
    return fs.openSync(temporary, "wx");
  });
  try {
    try {
      const state = { descriptor, path: temporary, hash: startDigest(file), bytesDone: 0 };
      await fill(source, file, state);
      checkDigest(source, file, state.hash);
      writingTo(temporary, () => fs.fsyncSync(descriptor));
    } finally {
      fs.closeSync(descriptor);
    }
    writingTo(blob, () => fs.renameSync(temporary, blob));
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

/** git hashes a header with the length in front of the content. */
function startDigest(file: HubFile): Hash {
  if (file.digestKind === "sha256") return createHash("sha256");
  return createHash("sha1").update(`blob ${file.byteLength}\0`);
}

function checkDigest(source: DownloadSource, file: HubFile, hash: Hash): void {
  const found = hash.digest("hex");
  if (found === file.digest) return;
  const message =
    `${quote(file.name)} of the hub ${source.target.kind} ${quote(source.target.id)} is not what the hub has listed: ` +
    `expected ${file.digestKind} ${file.digest}, found ${found}.`;
  throw new DeltafitError("file-invalid", message, "Download it again; nothing was kept.");
}

/** Repeats the request, from where it broke, until the file is whole. */
async function fill(source: DownloadSource, file: HubFile, state: PartialFile): Promise<void> {
  const { connection } = source;
  source.onProgress?.(file.name, 0, file.byteLength);
  let fruitless = 0;
  for (;;) {
    const before = state.bytesDone;
    const failure = await transfer(source, file, state);
    if (failure === undefined) return;
    fruitless = state.bytesDone > before ? 1 : fruitless + 1;
    if (fruitless >= maximumFruitlessTries) throw failure;
    const options = connection.signal === undefined ? {} : { signal: connection.signal };
    // Being stopped only ends the pause: the next request then says so.
    await pause(source.retryDelayMs * 2 ** (fruitless - 1), undefined, options).catch(() => undefined);
  }
}

/**
 * One request, from the first missing byte on.
 *
 * @returns What broke it, if another try may help; undefined if the file is whole.
 */
async function transfer(
  source: DownloadSource,
  file: HubFile,
  state: PartialFile,
): Promise<DeltafitError | undefined> {
  const { connection, target, commit } = source;
  const url = new URL(
    `${connection.endpoint}/${target.id}/resolve/${commit}/${file.name.split("/").map(encodeURIComponent).join("/")}`,
  );
  const range = state.bytesDone === 0 ? {} : { range: `bytes=${state.bytesDone}-` };
  const watch = watchRequest(connection);
  try {
    // Compressed content would have another length than the listed one.
    const response = await requestFromHub(
      connection,
      url,
      { "accept-encoding": "identity", ...range },
      watch,
    );
    if (!response.ok) {
      await response.body?.cancel();
      const refusal = refusalError(connection, target, response);
      if (isTransient(response.status)) return refusal;
      throw refusal;
    }
    if (!continuesAt(response, state.bytesDone)) restart(file, state);
    await appendBody(source, file, state, response, watch);
    return state.bytesDone === file.byteLength
      ? undefined
      : strangeAnswerError(
          connection,
          `${quote(file.name)} ends after ${state.bytesDone} of ${file.byteLength} bytes`,
        );
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    return unreachableError(connection, error);
  } finally {
    watch.end();
  }
}

/** A server may ignore the range and send the file from its beginning. */
function continuesAt(response: Response, position: number): boolean {
  if (position === 0) return true;
  return (
    response.status === 206 &&
    response.headers.get("content-range")?.startsWith(`bytes ${position}-`) === true
  );
}

function restart(file: HubFile, state: PartialFile): void {
  writingTo(state.path, () => fs.ftruncateSync(state.descriptor, 0));
  state.hash = startDigest(file);
  state.bytesDone = 0;
}

async function appendBody(
  source: DownloadSource,
  file: HubFile,
  state: PartialFile,
  response: Response,
  watch: Watch,
): Promise<void> {
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const chunk of body ?? []) {
    watch.touch();
    if (state.bytesDone + chunk.length > file.byteLength) {
      const message = `${quote(file.name)} of the hub ${source.target.kind} ${quote(source.target.id)} is longer than the ${file.byteLength} bytes that the hub has listed.`;
      throw new DeltafitError("file-invalid", message, "Download it again; nothing was kept.");
    }
    writeChunk(state, chunk);
    source.onProgress?.(file.name, state.bytesDone, file.byteLength);
  }
}

function writeChunk(state: PartialFile, chunk: Uint8Array): void {
  let done = 0;
  while (done < chunk.length) {
    const rest = chunk.subarray(done);
    done += writingTo(state.path, () =>
      fs.writeSync(state.descriptor, rest, 0, rest.length, state.bytesDone + done),
    );
  }
  state.hash.update(chunk);
  state.bytesDone += chunk.length;
}
