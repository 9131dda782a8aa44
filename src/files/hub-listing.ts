/**
 * @file What a hub repository holds at a revision: the commit and the files' names, lengths and digests, asked through
 * `@huggingface/hub`. Everything in an answer is checked before it is used.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import {
  refusalError,
  requestFromHub,
  strangeAnswerError,
  unreachableError,
  watchRequest,
} from "./hub-connection.ts";
import type { HubConnection, HubTarget, Watch } from "./hub-connection.ts";
import { isCommit } from "./hub-cache.ts";
import { neededFolders } from "./hub-files.ts";
import { quote } from "./quote.ts";

/** A page lists up to 1000 files in well under 1 MB. */
const maximumAnswerBytes = 16 * 2 ** 20;
const maximumPages = 100;
const maximumEntries = 100_000;

/** A file of a repository. The digest is that of `sha256sum`, or that of git's blobs. */
export interface HubFile {
  readonly name: string;
  readonly byteLength: number;
  readonly digest: string;
  readonly digestKind: "sha256" | "git-sha1";
}

export interface HubListing {
  readonly commit: string;
  /** The files at the repository's top and in the folders that are needed, by their paths. */
  readonly files: ReadonlyMap<string, HubFile>;
}

const entrySchema = z.looseObject({
  type: z.string(),
  path: z.string().min(1).max(4096),
  size: z.int().min(0),
  oid: z.string(),
  lfs: z
    .looseObject({
      oid: z
        .string()
        .regex(/^(?:sha256:)?[0-9a-f]{64}$/)
        .transform((oid) => oid.slice(-64)),
      size: z.int().min(0),
    })
    .optional(),
});

/**
 * Asks the hub for a revision's commit and files.
 *
 * @throws DeltafitError `hub-unavailable`; `file-refused` for a file name that leads out of the repository;
 * `interrupted`.
 */
export async function listRepository(connection: HubConnection, target: HubTarget): Promise<HubListing> {
  try {
    // Loaded here because most runs use folders and never ask the hub.
    const { listFiles, modelInfo } = await import("@huggingface/hub");
    const shared = { hubUrl: connection.endpoint, fetch: checkedFetch(connection, target) };
    const { id: name, revision } = target;
    const commit = isCommit(revision)
      ? revision
      : (await modelInfo({ ...shared, name, revision, additionalFields: ["sha"] })).sha;
    if (typeof commit !== "string" || !isCommit(commit)) {
      throw strangeAnswerError(connection, "the model has no commit");
    }
    const repo = { type: "model", name } as const;
    const list = (path?: string) =>
      collectFiles(
        connection,
        target,
        listFiles({ ...shared, repo, revision: commit, ...(path && { path }) }),
      );
    const { files, folders } = await list();
    const inside = [];
    for (const folder of neededFolders) if (folders.has(folder)) inside.push(...(await list(folder)).files);
    return { commit, files: new Map([...files, ...inside]) };
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    throw strangeAnswerError(connection, "it is not the JSON that was asked for");
  }
}

/**
 * The library's way to the network. It is given no token: it would hand it to any address that an answer names, and
 * refuse tokens of other hubs, which begin in other ways. And it reads answers whole, whatever their length.
 */
function checkedFetch(connection: HubConnection, target: HubTarget): typeof fetch {
  let pages = 0;
  return async (input) => {
    if (++pages > maximumPages) throw strangeAnswerError(connection, "its list of files does not end");
    const url = new URL(typeof input === "string" || input instanceof URL ? input : input.url);
    const watch = watchRequest(connection);
    try {
      const response = await requestFromHub(connection, url, { accept: "application/json" }, watch);
      if (!response.ok) throw refusalError(connection, target, response);
      const link = response.headers.get("link");
      const body = await readBounded(connection, response, watch);
      return new Response(body, link === null ? {} : { headers: { link } });
    } catch (error) {
      throw DeltafitError.isInstance(error) ? error : unreachableError(connection, error);
    } finally {
      watch.end();
    }
  };
}

async function readBounded(connection: HubConnection, response: Response, watch: Watch): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let byteLength = 0;
  const body: AsyncIterable<Uint8Array<ArrayBuffer>> | null = response.body;
  for await (const chunk of body ?? []) {
    watch.touch();
    byteLength += chunk.length;
    if (byteLength > maximumAnswerBytes) {
      throw strangeAnswerError(connection, `it has more than ${maximumAnswerBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return new Blob(chunks);
}

async function collectFiles(
  connection: HubConnection,
  target: HubTarget,
  entries: AsyncIterable<unknown>,
): Promise<{ readonly files: ReadonlyMap<string, HubFile>; readonly folders: ReadonlySet<string> }> {
  const files = new Map<string, HubFile>();
  const folders = new Set<string>();
  let count = 0;
  for await (const value of entries) {
    const entry = entrySchema.safeParse(value);
    if (!entry.success || ++count > maximumEntries) {
      throw strangeAnswerError(connection, "its list of files has an entry that cannot be read");
    }
    const { path: name, type, size, oid, lfs } = entry.data;
    refuseEscape(name, target);
    if (type === "directory") folders.add(name);
    if (type !== "file") continue;
    if (lfs === undefined && !/^[0-9a-f]{40}$/.test(oid)) {
      throw strangeAnswerError(connection, `its list of files has no digest of ${quote(name)}`);
    }
    const stored =
      lfs === undefined ? { byteLength: size, digest: oid } : { byteLength: lfs.size, digest: lfs.oid };
    files.set(name, { name, ...stored, digestKind: lfs === undefined ? "git-sha1" : "sha256" });
  }
  return { files, folders };
}

/** Only names that deltafit knows are fetched, but a repository that tries this is not to be trusted with others. */
function refuseEscape(name: string, target: HubTarget): void {
  const isPlain = name.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (isPlain && !/[\\:\p{Cc}]/u.test(name)) return;
  const message =
    `The hub ${target.kind} ${quote(target.id)} lists the file ${quote(name)}: ` +
    "expected a path inside the repository.";
  throw new DeltafitError("file-refused", message, "Do not use this repository.");
}
