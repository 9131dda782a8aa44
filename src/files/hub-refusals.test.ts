/** @file What the hub refuses, what deltafit refuses of the hub, and connections that break. */
import fs from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { refuse, sha256, startHubServer, strangerToken } from "../../test/hub-server.ts";
import type { HubServer, ServedModel } from "../../test/hub-server.ts";
import { rejectionOf } from "../../test/support/failure.ts";
import type { Failure } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import type { HubOptions } from "./hub.ts";
import { resolveAdapterFolder, resolveModelFolder } from "./hub.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const weights = Buffer.alloc(300_000, "weights of a small model ");

function modelWith(files: Record<string, Buffer>, more: Partial<ServedModel> = {}): ServedModel {
  return { commit, revisions: ["main"], files, large: ["model.safetensors"], ...more };
}

const smallFiles = { "config.json": Buffer.from("{}"), "model.safetensors": weights };

let server: HubServer;

beforeAll(async () => {
  server = await startHubServer();
});

afterAll(() => server.close());

beforeEach(() => {
  server.models.clear();
  server.models.set("org/small", modelWith(smallFiles));
  server.requests.length = 0;
  server.intercept = () => false;
});

function optionsFor(folder: string, variables: Record<string, string> = {}): HubOptions {
  const environment = { HF_HOME: folder, HF_ENDPOINT: server.endpoint, ...variables };
  return { environment, timeoutMs: 2000, retryDelayMs: 1 };
}

/** The error of a download into an empty cache, with the server's address as HUB. */
async function refusalOf(
  reference: string,
  variables: Record<string, string> = {},
  resolve = resolveModelFolder,
): Promise<Failure> {
  const folder = temporaryFolder();
  const failure = await rejectionOf(() => resolve(reference, optionsFor(folder, variables)), folder);
  expect(leftOvers(folder)).toEqual([]);
  const shorten = (text: string): string => text.replaceAll(server.endpoint, "HUB");
  return { ...failure, message: shorten(failure.message), hint: shorten(failure.hint ?? "") };
}

/** Files that an interrupted download would leave. */
function leftOvers(folder: string): string[] {
  const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.filter((name) => /incomplete|partial|refs\//.test(name));
}

test("A model that is not there, or that the user may not see.", async () => {
  expect(await refusalOf("org/none")).toEqual({
    code: "hub-unavailable",
    message: `The hub at HUB has no model "org/none", or it is private (401). "org/none" (revision "main") is not in the cache "FOLDER/hub".`,
    hint: "Check the name: it is no folder here either. If it is private: set HF_TOKEN.",
  });
  expect(await refusalOf("org/none", { HF_TOKEN: strangerToken }, resolveAdapterFolder)).toEqual({
    code: "hub-unavailable",
    message: `The hub at HUB has no adapter "org/none", or it is private (404). "org/none" (revision "main") is not in the cache "FOLDER/hub".`,
    hint: "Check the name: it is no folder here either. If it is private: the token from HF_TOKEN may not see it.",
  });
});

test("A token that the hub does not know.", async () => {
  expect(await refusalOf("org/small", { HF_TOKEN: "hf_unknown" })).toEqual({
    code: "hub-unavailable",
    message: `The hub at HUB refuses the access token from HF_TOKEN (401). "org/small" (revision "main") is not in the cache "FOLDER/hub".`,
    hint: "Set HF_TOKEN to a valid token, or unset it for public models.",
  });
});

test("A gated model, without a token and with that of somebody who has not accepted its terms.", async () => {
  server.models.set("org/gated", modelWith(smallFiles, { access: "gated" }));
  expect(await refusalOf("org/gated")).toEqual({
    code: "hub-unavailable",
    message: `Access to the hub model "org/gated" is gated: its owner lets in those who accept its terms (401).`,
    hint: "Accept the terms at HUB/org/gated, then set HF_TOKEN.",
  });
  expect(await refusalOf("org/gated", { HF_TOKEN: strangerToken })).toEqual({
    code: "hub-unavailable",
    message: `Access to the hub model "org/gated" is gated: its owner lets in those who accept its terms (403).`,
    hint: "Accept the terms at HUB/org/gated, then use a token of that account (HF_TOKEN).",
  });
});

test("A revision that is not there.", async () => {
  expect(await refusalOf("org/small@v9")).toEqual({
    code: "hub-unavailable",
    message: `The hub model "org/small" has no revision "v9" (404). "org/small" (revision "v9") is not in the cache "FOLDER/hub".`,
    hint: "Choose a branch, a tag or a commit of HUB/org/small.",
  });
});

test.each([
  [403, `The hub at HUB forbids access to the hub model "org/small" (403).`, "Set HF_TOKEN."],
  [429, "The hub at HUB takes no more requests for now (429).", "Wait a few minutes, or set HF_TOKEN."],
  [500, `The hub at HUB failed to answer for the hub model "org/small" (500).`, "Try again later."],
])("Status %i.", async (status, message, hint) => {
  server.intercept = (_request, response) => refuse(response, status).headersSent;
  const missing = `"org/small" (revision "main") is not in the cache "FOLDER/hub".`;
  expect(await refusalOf("org/small")).toEqual({
    code: "hub-unavailable",
    message: `${message} ${missing}`,
    hint,
  });
});

test("Repositories without what is needed.", async () => {
  const where = 'The hub model "org/small" (revision "main")';
  const refusedWith = async (files: Record<string, Buffer>): Promise<Failure> => {
    server.models.set("org/small", modelWith(files));
    return refusalOf("org/small");
  };
  const empty = Buffer.from("{}");
  expect(
    await refusedWith({ "config.json": empty, "pytorch_model.bin": empty, "onnx/model.onnx": empty }),
  ).toEqual({
    code: "file-refused",
    message: `${where} has no model.safetensors or model.safetensors.index.json, only weights in a format that deltafit refuses: "pytorch_model.bin".`,
    hint: "Pickle can run code when it is loaded, so deltafit never reads it. Convert the weights to safetensors, or download the model's safetensors files.",
  });
  expect(await refusedWith({ "README.md": empty })).toEqual({
    code: "hub-unavailable",
    message: `${where} holds no weights that deltafit can use: expected model.safetensors or model.safetensors.index.json.`,
    hint: "Check that this is the repository you meant.",
  });
  const adapter = { "adapter_config.json": empty, "adapter_model.safetensors": empty };
  expect((await refusedWith(adapter)).hint).toBe(
    "It is an adapter: name it with --adapter, and its base with --model.",
  );
  expect((await refusedWith({ "model.safetensors": weights })).message).toBe(
    `${where} is no model that deltafit can use: expected config.json, and it is not there.`,
  );
});

test.each(["../config.json", "/etc/passwd", "a/../../b", "..\\config.json", "C:config.json", "a//b", "./a"])(
  "A listed file %j is refused.",
  async (name) => {
    server.models.set("org/small", modelWith({ ...smallFiles, [name]: Buffer.from("x") }));
    expect(await refusalOf("org/small")).toEqual({
      code: "file-refused",
      message: `The hub model "org/small" lists the file ${JSON.stringify(name)}: expected a path inside the repository.`,
      hint: "Do not use this repository.",
    });
  },
);

test.each(["../model.safetensors", "a/b.safetensors", "..\\b.safetensors", "tokenizer.json"])(
  "A shard %j in an index is refused.",
  async (shard) => {
    const index = Buffer.from(JSON.stringify({ weight_map: { weight: shard } }));
    server.models.set(
      "org/small",
      modelWith({ "config.json": Buffer.from("{}"), "model.safetensors.index.json": index }),
    );
    const { code, message } = await refusalOf("org/small");
    expect(code).toBe("file-refused");
    expect(message).toBe(
      `"FOLDER/hub/models--org--small/snapshots/${commit}/model.safetensors.index.json" refers to the file ${JSON.stringify(shard)}: expected the plain name of a safetensors file.`,
    );
  },
);

test("Content that is not what the hub has listed is not kept.", async () => {
  const other = Buffer.from(weights);
  other[7] = 0;
  server.intercept = (request, response) => request.server === "storage" && response.end(other).writableEnded;
  expect(await refusalOf("org/small")).toEqual({
    code: "file-invalid",
    message: `"model.safetensors" of the hub model "org/small" is not what the hub has listed: expected sha256 ${sha256(weights)}, found ${sha256(other)}.`,
    hint: "Download it again; nothing was kept.",
  });
  const longer = Buffer.concat([weights, Buffer.from("x")]);
  server.intercept = (request, response) =>
    request.server === "storage" && response.end(longer).writableEnded;
  expect((await refusalOf("org/small")).message).toBe(
    `"model.safetensors" of the hub model "org/small" is longer than the 300000 bytes that the hub has listed.`,
  );
});

test("An answer that is not JSON, and one without an end.", async () => {
  server.intercept = (_request, response) => response.end("<html>Please log in</html>").writableEnded;
  const missing = `"org/small" (revision "main") is not in the cache "FOLDER/hub".`;
  expect(await refusalOf("org/small")).toEqual({
    code: "hub-unavailable",
    message: `The answer of HUB is not a hub's: it is not the JSON that was asked for. ${missing}`,
    hint: "Check HF_ENDPOINT, and that the network needs no login.",
  });
  server.intercept = (request, response) => {
    if (!request.path.includes("/tree/")) return false;
    response.setHeader("link", `<${server.endpoint}${request.path}>; rel="next"`);
    return response.end("[]").writableEnded;
  };
  expect((await refusalOf("org/small")).message).toBe(
    `The answer of HUB is not a hub's: its list of files does not end. ${missing}`,
  );
});

test("A redirect to a file of this machine is not followed, and neither is a circle.", async () => {
  const redirectTo = (location: string): void => {
    server.intercept = (_request, response) => response.writeHead(302, { location }).end().writableEnded;
  };
  const missing = `"org/small" (revision "main") is not in the cache "FOLDER/hub".`;
  redirectTo("file:///etc/passwd");
  expect((await refusalOf("org/small")).message).toBe(
    `The hub at HUB cannot be reached: a redirect to an address that is not allowed. ${missing}`,
  );
  redirectTo("/again");
  expect((await refusalOf("org/small")).message).toBe(
    `The hub at HUB cannot be reached: more than 10 redirects. ${missing}`,
  );
});

/** Sends a part of what was announced and closes the connection once it has arrived. */
function breakAfter(response: ServerResponse, part: Buffer): true {
  response.write(part, () => setTimeout(() => response.destroy(), 50));
  return true;
}

test("A broken connection is taken up where it broke.", async () => {
  let breaks = 0;
  server.intercept = (request, response) => {
    if (request.server !== "storage" || ++breaks > 2) return false;
    const start = Number(/\d+/.exec(request.range ?? "0")?.[0]);
    const contentRange = `bytes ${start}-299999/300000`;
    response.writeHead(start === 0 ? 200 : 206, {
      "content-length": 300_000 - start,
      "content-range": contentRange,
    });
    return breakAfter(response, weights.subarray(start, start + 100_000));
  };
  const folder = temporaryFolder();
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
  expect(server.requests.filter((request) => request.server === "storage").map(({ range }) => range)).toEqual(
    [undefined, "bytes=100000-", "bytes=200000-"],
  );
  expect(leftOvers(folder)).toEqual(["hub/models--org--small/refs/main"]);
});

test("A server that ignores where to continue sends the file from its beginning.", async () => {
  let requests = 0;
  server.intercept = (request, response) => {
    if (request.server !== "storage") return false;
    response.writeHead(200, { "content-length": 300_000 });
    if (++requests > 1) return response.end(weights).writableEnded;
    return breakAfter(response, weights.subarray(0, 100_000));
  };
  const snapshot = await resolveModelFolder("org/small", optionsFor(temporaryFolder()));
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
  expect(requests).toBe(2);
});

test("A connection that breaks every time, and a server that goes silent, end with an error.", async () => {
  server.intercept = (request, response) => request.server === "storage" && response.destroy().destroyed;
  expect((await refusalOf("org/small")).message).toBe("The hub at HUB cannot be reached: UND_ERR_SOCKET.");
  expect(server.requests.filter((request) => request.server === "storage").length).toBe(5);
  server.intercept = () => true;
  const folder = temporaryFolder();
  const options = { ...optionsFor(folder), timeoutMs: 50 };
  expect((await rejectionOf(() => resolveModelFolder("org/small", options), folder)).message).toBe(
    `The hub at ${server.endpoint} cannot be reached: nothing came for 0.05 s. "org/small" (revision "main") is not in the cache "FOLDER/hub".`,
  );
});

test("The user stops a download: nothing half is left, and the next one goes on.", async () => {
  const folder = temporaryFolder();
  const controller = new AbortController();
  server.intercept = (request, response) => {
    if (request.server !== "storage") return false;
    response.writeHead(200, { "content-length": 300_000 });
    response.write(weights.subarray(0, 1000));
    return true;
  };
  const options = {
    ...optionsFor(folder),
    signal: controller.signal,
    onProgress: (file: string, bytesDone: number) => {
      if (file === "model.safetensors" && bytesDone > 0) controller.abort();
    },
  };
  expect(await rejectionOf(() => resolveModelFolder("org/small", options))).toEqual({
    code: "interrupted",
    message: "The download from the hub was interrupted.",
    hint: "Files that were complete are kept: start again to go on.",
  });
  expect(leftOvers(folder)).toEqual([]);
  server.intercept = () => false;
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
});

test("Several downloads of one model at once share a cache.", async () => {
  const folder = temporaryFolder();
  const snapshots = await Promise.all(
    [1, 2, 3, 4].map(() => resolveModelFolder("org/small", optionsFor(folder))),
  );
  expect(new Set(snapshots).size).toBe(1);
  expect(fs.readFileSync(path.join(snapshots[0]!, "model.safetensors")).equals(weights)).toBe(true);
  expect(leftOvers(folder)).toEqual(["hub/models--org--small/refs/main"]);
  expect(fs.readdirSync(path.join(folder, "hub/models--org--small/blobs")).length).toBe(2);
});

test("What a crash left of a file is not taken for it.", async () => {
  const folder = temporaryFolder();
  const blobs = path.join(folder, "hub/models--org--small/blobs");
  fs.mkdirSync(blobs, { recursive: true });
  fs.writeFileSync(path.join(blobs, sha256(weights)), weights.subarray(0, 1000));
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
});

test.each([
  ["./small", "model"],
  ["/nowhere/small", "model"],
  ["small", "model"],
  ["org/small/more", "adapter"],
  ["..\\small", "model"],
  ["org/../small", "model"],
  ["org/a--b", "model"],
  ["org/.small", "adapter"],
  ["", "model"],
  ["org/sm\0all", "model"],
])("%j is neither a folder nor a hub id.", async (reference, kind) => {
  const resolve = kind === "model" ? resolveModelFolder : resolveAdapterFolder;
  const article = kind === "model" ? "a model" : "an adapter";
  expect(await refusalOf(reference, {}, resolve)).toEqual({
    code: "file-missing",
    message: `${JSON.stringify(reference)} is neither a folder that exists nor the name of ${article} on the hub, which is org/name or org/name@revision.`,
    hint: "Check the path.",
  });
  expect(server.requests).toEqual([]);
});

test.each(["", "../main", "a//b", "/main", "main/", "a/..", "a\\b", "a b", "a:b", "x".repeat(201)])(
  "%j is no revision.",
  async (revision) => {
    const { code, message } = await refusalOf(`org/small@${revision}`);
    expect(code).toBe("usage-invalid");
    expect(message.endsWith(": expected a branch, a tag or a commit.")).toBe(true);
    expect(server.requests).toEqual([]);
  },
);

test("A file in a folder's place.", async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, "model.safetensors");
  fs.writeFileSync(file, "x");
  expect(await rejectionOf(() => resolveModelFolder(file, optionsFor(folder)), folder)).toEqual({
    code: "file-refused",
    message: `"FOLDER/model.safetensors" is a file: expected the folder of a model.`,
    hint: "Name the folder that the file is in.",
  });
});

test("A token or an address that cannot be meant is named without being shown.", async () => {
  expect(await refusalOf("org/small", { HF_TOKEN: "hf_secret\u2026" })).toEqual({
    code: "config-invalid",
    message: "The hub token in HF_TOKEN is not valid: expected letters, digits and signs without spaces.",
    hint: "Copy the token again, without quotes around it.",
  });
  for (const endpoint of ["huggingface.co", "ftp://hub", "https://user:secret@hub", "https://hub?a=1"]) {
    expect(await refusalOf("org/small", { HF_ENDPOINT: endpoint })).toEqual({
      code: "config-invalid",
      message:
        "HF_ENDPOINT is not valid: expected an address such as https://huggingface.co, without a user name or a query.",
      hint: "Correct HF_ENDPOINT, or unset it to use the public hub.",
    });
  }
});
