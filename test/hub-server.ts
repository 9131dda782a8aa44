/**
 * @file A small hub on 127.0.0.1 that speaks as much of the Hugging Face hub's protocol as downloading needs: the
 * commit of a revision, the list of files, and the files themselves, where large ones (LFS) are redirected to a second
 * server of another origin. It notes every request.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";

export interface ServedModel {
  readonly commit: string;
  /** Branches and tags of the commit. */
  readonly revisions: readonly string[];
  readonly files: Readonly<Record<string, Buffer>>;
  /** Files the hub keeps in LFS. */
  readonly large?: readonly string[];
  /** "private": only with the token; "gated": everybody sees it, files only with the token. */
  readonly access?: "private" | "gated";
}

export interface NotedRequest {
  /** Which of the two servers. */
  readonly server: "hub" | "storage";
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

export interface HubServer {
  readonly endpoint: string;
  /** By `org/name`; tests change it while the server runs. */
  readonly models: Map<string, ServedModel>;
  readonly requests: NotedRequest[];
  /** Answers a request in the server's place where it returns true. */
  intercept: (request: NotedRequest, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

/** The token that private and gated models ask for. */
export const validToken = "hf_validTokenOfTheTests";

/** A token of somebody who may see public models only. */
export const strangerToken = "hf_strangerTokenOfTheTests";

export async function startHubServer(): Promise<HubServer> {
  const models = new Map<string, ServedModel>();
  const requests: NotedRequest[] = [];
  const serve = (name: NotedRequest["server"], answer: typeof answerHub): Server =>
    createServer((message, response) => {
      const request = noteOf(name, message);
      requests.push(request);
      if (!server.intercept(request, response)) answer(server, request, response, storageAddress);
    });
  const hub = serve("hub", answerHub);
  const storage = serve("storage", answerStorage);
  const [endpoint, storageAddress] = await Promise.all([listen(hub), listen(storage)]);
  const server: HubServer = {
    endpoint,
    models,
    requests,
    intercept: () => false,
    close: async () => {
      await Promise.all([hub, storage].map(closeServer));
    },
  };
  return server;
}

function noteOf(server: NotedRequest["server"], message: IncomingMessage): NotedRequest {
  const { method = "", url = "", headers } = message;
  return { server, method, path: url, authorization: headers.authorization, range: headers.range };
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(`http://127.0.0.1:${typeof address === "object" ? (address?.port ?? 0) : 0}`);
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export function refuse(response: ServerResponse, status: number, code?: string): ServerResponse {
  return response.writeHead(status, code === undefined ? {} : { "x-error-code": code }).end();
}

export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

/** What git calls a file's content. */
export function gitDigest(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function answerHub(
  server: HubServer,
  request: NotedRequest,
  response: ServerResponse,
  storageAddress: string,
): ServerResponse {
  const [pathname = ""] = request.path.split("?");
  const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)(?:\/(.+))?$/.exec(pathname);
  const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
  const [, id = "", ...rest] = api ?? file ?? [];
  const model = server.models.get(id);
  const isAllowed = request.authorization === `Bearer ${validToken}`;
  const isStranger = request.authorization === `Bearer ${strangerToken}`;
  if (request.authorization !== undefined && !isAllowed && !isStranger) return refuse(response, 401);
  if (model === undefined || (model.access === "private" && !isAllowed)) {
    return refuse(response, isStranger ? 404 : 401, "RepoNotFound");
  }
  const revision = decodeURIComponent(rest[api ? 1 : 0] ?? "");
  if (revision !== model.commit && !model.revisions.includes(revision)) {
    return refuse(response, 404, "RevisionNotFound");
  }
  if (api)
    return sendJson(
      response,
      rest[0] === "tree" ? treeOf(model, rest[2]) : { id, sha: model.commit, siblings: [] },
    );
  if (model.access === "gated" && !isAllowed) {
    return refuse(response, isStranger ? 403 : 401, "GatedRepo");
  }
  return sendFile(model, decodeURIComponent(rest[1] ?? ""), request, response, storageAddress);
}

function sendJson(response: ServerResponse, value: unknown): ServerResponse {
  return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

/** What lies directly in a folder: files, and folders by their names alone. */
function treeOf(model: ServedModel, folder?: string): unknown {
  const start = folder === undefined ? "" : `${folder}/`;
  const inside = Object.entries(model.files).filter(([path]) => path.startsWith(start));
  // Other paths are for tests of what a hub must not list.
  const isDeeper = (path: string) => /^\w+\/[\w.]+$/.test(path.slice(start.length));
  const folders = new Set(
    inside.flatMap(([path]) => (isDeeper(path) ? path.slice(0, path.indexOf("/", start.length)) : [])),
  );
  const directories = [...folders].map((path) => ({ type: "directory", path, size: 0, oid: "0".repeat(40) }));
  const files = inside.filter(([path]) => !isDeeper(path));
  return [...directories, ...files.map(([path, content]) => entryOf(model, path, content))];
}

function entryOf(model: ServedModel, path: string, content: Buffer): unknown {
  const entry = { type: "file", path, size: content.length };
  if (model.large?.includes(path) !== true) return { ...entry, oid: gitDigest(content) };
  const lfs = { oid: sha256(content), size: content.length, pointerSize: 130 };
  return { ...entry, oid: gitDigest(Buffer.from(lfs.oid)), lfs };
}

function sendFile(
  model: ServedModel,
  name: string,
  request: NotedRequest,
  response: ServerResponse,
  storageAddress: string,
): ServerResponse {
  const content = model.files[name];
  response.setHeader("x-repo-commit", model.commit);
  if (content === undefined) return refuse(response, 404, "EntryNotFound");
  if (model.large?.includes(name) !== true) {
    response.setHeader("etag", `"${gitDigest(content)}"`);
    return sendContent(content, request, response);
  }
  const digest = sha256(content);
  response.setHeader("x-linked-etag", `"${digest}"`);
  response.setHeader("x-linked-size", content.length);
  return response.writeHead(302, { location: `${storageAddress}/${digest}?signature=1` }).end();
}

function answerStorage(server: HubServer, request: NotedRequest, response: ServerResponse): ServerResponse {
  const digest = request.path.slice(1).split("?")[0];
  const contents = [...server.models.values()].flatMap((model) => Object.values(model.files));
  const content = contents.find((candidate) => sha256(candidate) === digest);
  if (content === undefined) return refuse(response, 404);
  return sendContent(content, request, response);
}

function sendContent(content: Buffer, request: NotedRequest, response: ServerResponse): ServerResponse {
  const start = Number(/^bytes=(\d+)-/.exec(request.range ?? "")?.[1] ?? 0);
  response.setHeader("accept-ranges", "bytes");
  response.setHeader("content-length", content.length - start);
  if (start > 0)
    response.setHeader("content-range", `bytes ${start}-${content.length - 1}/${content.length}`);
  response.writeHead(start > 0 ? 206 : 200);
  return response.end(request.method === "HEAD" ? undefined : content.subarray(start));
}
