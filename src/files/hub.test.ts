/** @file Downloads from a small hub on this machine, the cache they leave, and working without the hub. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { gitDigest, refuse, sha256, startHubServer, validToken } from "../../test/hub-server.ts";
import type { HubServer, ServedModel } from "../../test/hub-server.ts";
import { rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import type { HubOptions } from "./hub.ts";
import { readSentencePooling } from "./pooling.ts";
import { resolveAdapterFolder, resolveModelFolder } from "./hub.ts";

const commit = "0123456789abcdef0123456789abcdef01234567";
const laterCommit = "89abcdef0123456789abcdef0123456789abcdef";
const config = Buffer.from('{"model_type":"llama"}');
const tokenizer = Buffer.from('{"model":{"vocab":{}}}');
/** Several chunks long on the wire. */
const weights = Buffer.alloc(300_000, "weights of a small model ");

const smallModel: ServedModel = {
  commit,
  revisions: ["main", "v1"],
  files: {
    "README.md": Buffer.from("# A model"),
    "config.json": config,
    "tokenizer.json": tokenizer,
    "pytorch_model.bin": Buffer.from("pickle"),
    "onnx/model.onnx": Buffer.from("onnx"),
    "model.safetensors": weights,
  },
  large: ["model.safetensors"],
};

let server: HubServer;

beforeAll(async () => {
  server = await startHubServer();
});

afterAll(() => server.close());

beforeEach(() => {
  server.models.clear();
  server.models.set("org/small", smallModel);
  server.requests.length = 0;
  server.intercept = () => false;
});

/** Options of a user whose cache is `FOLDER/hub`. */
function optionsFor(folder: string, variables: Record<string, string> = {}): HubOptions {
  const environment = { HF_HOME: folder, HF_ENDPOINT: server.endpoint, ...variables };
  return { environment, timeoutMs: 2000, retryDelayMs: 1 };
}

function repositoryIn(folder: string, name = "small"): string {
  return path.join(folder, "hub", `models--org--${name}`);
}

/** Every entry below a folder: links with their targets, files with their lengths. */
function entriesOf(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const content = entry.isSymbolicLink() ? `-> ${fs.readlinkSync(file)}` : fs.statSync(file).size;
      return `${path.relative(folder, file)} ${content}`;
    })
    .sort();
}

test("A folder that exists is used as it was named, even where it looks like a hub id.", async () => {
  const folder = temporaryFolder();
  fs.mkdirSync(path.join(folder, "org/small@v1"), { recursive: true });
  const named = path.relative(process.cwd(), path.join(folder, "org/small@v1"));
  expect(await resolveModelFolder(named, optionsFor(folder))).toBe(named);
  expect(await resolveAdapterFolder(named, optionsFor(folder))).toBe(named);
  expect(server.requests).toEqual([]);
});

test("A download fetches only what is needed, into the layout of the Hugging Face cache.", async () => {
  const folder = temporaryFolder();
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(snapshot).toBe(path.join(repositoryIn(folder), "snapshots", commit));
  expect(entriesOf(repositoryIn(folder))).toEqual(
    [
      `blobs/${gitDigest(config)} ${config.length}`,
      `blobs/${gitDigest(tokenizer)} ${tokenizer.length}`,
      `blobs/${sha256(weights)} ${weights.length}`,
      "refs/main 40",
      `snapshots/${commit}/config.json -> ../../blobs/${gitDigest(config)}`,
      `snapshots/${commit}/model.safetensors -> ../../blobs/${sha256(weights)}`,
      `snapshots/${commit}/tokenizer.json -> ../../blobs/${gitDigest(tokenizer)}`,
    ].sort(),
  );
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
  expect(fs.readFileSync(path.join(repositoryIn(folder), "refs/main"), "utf8")).toBe(commit);
});

test("What is in the cache is not downloaded again; the hub is asked for the branch's commit alone.", async () => {
  const folder = temporaryFolder();
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  server.requests.length = 0;
  expect(await resolveModelFolder("org/small@v1", optionsFor(folder))).toBe(snapshot);
  expect(server.requests.map((request) => request.path.replace(/\?.*/, ""))).toEqual([
    "/api/models/org/small/revision/v1",
    `/api/models/org/small/tree/${commit}`,
  ]);
  expect(fs.readdirSync(path.join(repositoryIn(folder), "refs")).sort()).toEqual(["main", "v1"]);
});

test("The pooling of a sentence encoder comes along.", async () => {
  const folder = temporaryFolder();
  const modules = [
    { type: "sentence_transformers.models.Transformer", path: "" },
    { type: "sentence_transformers.models.Pooling", path: "1_Pooling" },
  ];
  const files = {
    ...smallModel.files,
    "modules.json": Buffer.from(JSON.stringify(modules)),
    "1_Pooling/config.json": Buffer.from('{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}'),
    "onnx/model.onnx": Buffer.from("left on the hub"),
  };
  server.models.set("org/small", { ...smallModel, files });
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(fs.readdirSync(snapshot).sort()).toEqual(
    ["1_Pooling", "config.json", "model.safetensors", "modules.json", "tokenizer.json"].sort(),
  );
  expect(readSentencePooling(snapshot)).toEqual({ pooling: "first", normalise: false });
  server.requests.length = 0;
  expect(await resolveModelFolder("org/small", optionsFor(folder))).toBe(snapshot);
  expect(server.requests.filter(({ path: asked }) => asked.includes("/resolve/"))).toEqual([]);
});

test("A chat template for tools comes along out of its folder.", async () => {
  const folder = temporaryFolder();
  const files = {
    ...smallModel.files,
    "additional_chat_templates/tool_use.jinja": Buffer.from("tools"),
    "additional_chat_templates/rag.jinja": Buffer.from("left on the hub"),
  };
  server.models.set("org/small", { ...smallModel, files });
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(fs.readdirSync(path.join(snapshot, "additional_chat_templates"))).toEqual(["tool_use.jinja"]);
});

test("A moved branch gets a snapshot of its own, and unchanged files are not fetched again.", async () => {
  const folder = temporaryFolder();
  await resolveModelFolder("org/small", optionsFor(folder));
  const changed = Buffer.from('{"model_type":"gpt2"}');
  const files = { ...smallModel.files, "config.json": changed };
  server.models.set("org/small", { ...smallModel, commit: laterCommit, files });
  server.requests.length = 0;
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  expect(path.basename(snapshot)).toBe(laterCommit);
  expect(server.requests.slice(2).map((request) => request.path)).toEqual([
    `/org/small/resolve/${laterCommit}/config.json`,
  ]);
  expect(fs.readFileSync(path.join(snapshot, "model.safetensors")).equals(weights)).toBe(true);
  const pinned = await resolveModelFolder(`org/small@${commit}`, optionsFor(folder, { HF_HUB_OFFLINE: "1" }));
  expect(fs.readFileSync(path.join(pinned, "config.json")).equals(config)).toBe(true);
});

test("Weights in shards: the index and the files it names.", async () => {
  const folder = temporaryFolder();
  const index = {
    weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" },
  };
  const files = {
    "config.json": config,
    "model.safetensors.index.json": Buffer.from(JSON.stringify(index)),
    "model-1.safetensors": Buffer.from("first"),
    "model-2.safetensors": Buffer.from("second"),
    "model-3.safetensors": Buffer.from("of another format"),
  };
  server.models.set("org/sharded", {
    commit,
    revisions: ["main"],
    files,
    large: Object.keys(files).slice(2),
  });
  const snapshot = await resolveModelFolder("org/sharded", optionsFor(folder));
  expect(fs.readdirSync(snapshot).sort()).toEqual([
    "config.json",
    "model-1.safetensors",
    "model-2.safetensors",
    "model.safetensors.index.json",
  ]);
  fs.rmSync(path.join(snapshot, "model-2.safetensors"));
  const offline = optionsFor(folder, { HF_HUB_OFFLINE: "on" });
  expect((await rejectionOf(() => resolveModelFolder("org/sharded", offline), folder)).message).toBe(
    `The copy of "org/sharded" (revision "main") in the cache, "FOLDER/hub/models--org--sharded/snapshots/${commit}", lacks "model-2.safetensors", and HF_HUB_OFFLINE is set.`,
  );
});

test("An adapter is its configuration and its weights.", async () => {
  const folder = temporaryFolder();
  const files = {
    "README.md": Buffer.from("# An adapter"),
    "adapter_config.json": Buffer.from("{}"),
    "adapter_model.safetensors": weights,
    "tokenizer.json": tokenizer,
  };
  server.models.set("org/adapter", { commit, revisions: ["main"], files });
  const snapshot = await resolveAdapterFolder("org/adapter", optionsFor(folder));
  expect(fs.readdirSync(snapshot).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
});

test("Progress counts every file from 0 to its length.", async () => {
  const seen = new Map<string, number[]>();
  await resolveModelFolder("org/small", {
    ...optionsFor(temporaryFolder()),
    onProgress: (file, bytesDone, bytesTotal) => {
      expect(bytesTotal).toBe(smallModel.files[file]?.length);
      seen.set(file, [...(seen.get(file) ?? []), bytesDone]);
    },
  });
  expect([...seen.keys()]).toEqual(["config.json", "tokenizer.json", "model.safetensors"]);
  for (const [file, counts] of seen) {
    expect(counts).toEqual([...counts].sort((left, right) => left - right));
    expect([counts[0], counts.at(-1)]).toEqual([0, smallModel.files[file]?.length]);
  }
});

test.each(["1", "true", "YES", "on"])("HF_HUB_OFFLINE=%s asks nobody.", async (value) => {
  const folder = temporaryFolder();
  const offline = optionsFor(folder, { HF_HUB_OFFLINE: value });
  const failure = await rejectionOf(() => resolveModelFolder("org/small", offline), folder);
  expect(failure).toEqual({
    code: "hub-unavailable",
    message: `"org/small" (revision "main") is not in the cache "FOLDER/hub", and HF_HUB_OFFLINE is set.`,
    hint: "Unset HF_HUB_OFFLINE to download it, or name a local folder.",
  });
  expect(server.requests).toEqual([]);
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder, { HF_HUB_OFFLINE: "0" }));
  expect(await resolveModelFolder("org/small", offline)).toBe(snapshot);
});

test("A hub that does not answer: the cached copy serves, with a notice; without one the error says both.", async () => {
  const folder = temporaryFolder();
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  const notices: string[] = [];
  const gone = await startHubServer();
  await gone.close();
  const closed = optionsFor(folder, { HF_ENDPOINT: gone.endpoint });
  const options = { ...closed, onNotice: (notice: string) => notices.push(notice) };
  server.intercept = (_request, response) => refuse(response, 503).headersSent;
  expect(await resolveModelFolder("org/small", { ...options, ...optionsFor(folder) })).toBe(snapshot);
  expect(notices).toEqual([
    `The hub at ${server.endpoint} failed to answer for the hub model "org/small" (503). Using the copy in the cache, commit ${commit}.`,
  ]);
  const failure = await rejectionOf(() => resolveModelFolder("org/other@v2", options), folder);
  expect(failure).toEqual({
    code: "hub-unavailable",
    message: `The hub at ${gone.endpoint} cannot be reached: ECONNREFUSED. "org/other" (revision "v2") is not in the cache "FOLDER/hub".`,
    hint: "Check the network and HF_ENDPOINT, or name a local folder.",
  });
});

test("A snapshot in which Python was stopped before the tokenizer is not complete.", async () => {
  const folder = temporaryFolder();
  const snapshot = await resolveModelFolder("org/small", optionsFor(folder));
  fs.rmSync(path.join(snapshot, "tokenizer.json"));
  const offline = optionsFor(folder, { HF_HUB_OFFLINE: "1" });
  expect(await resolveModelFolder("org/small", offline)).toBe(snapshot);
  const trees = path.join(repositoryIn(folder), "trees");
  fs.mkdirSync(trees);
  const note = { format_version: 1, files: { "tokenizer.json": { size: 22, blob_id: "" } } };
  fs.writeFileSync(path.join(trees, `${commit}.json`), JSON.stringify(note));
  expect((await rejectionOf(() => resolveModelFolder("org/small", offline), folder)).message).toBe(
    `The copy of "org/small" (revision "main") in the cache, "FOLDER/hub/models--org--small/snapshots/${commit}", lacks "tokenizer.json", and HF_HUB_OFFLINE is set.`,
  );
});

test("The token goes to the hub and not to the storage it redirects to.", async () => {
  const folder = temporaryFolder();
  server.models.set("org/small", { ...smallModel, access: "private" });
  fs.writeFileSync(path.join(folder, "token"), `${validToken}\n`);
  await resolveModelFolder("org/small", optionsFor(folder));
  const sent = new Set(server.requests.map(({ server: name, authorization }) => `${name}: ${authorization}`));
  expect([...sent]).toEqual([`hub: Bearer ${validToken}`, "storage: undefined"]);
});

test("HF_TOKEN counts before the file, HF_TOKEN_PATH names another file, and both can be switched off.", async () => {
  const folder = temporaryFolder();
  fs.writeFileSync(path.join(folder, "token"), "hf_fromFile");
  fs.writeFileSync(path.join(folder, "other"), "hf_fromOther");
  const tokenWith = async (variables: Record<string, string>): Promise<string | undefined> => {
    server.requests.length = 0;
    await resolveModelFolder("org/none", optionsFor(folder, variables)).catch(() => undefined);
    return server.requests[0]?.authorization;
  };
  expect(await tokenWith({})).toBe("Bearer hf_fromFile");
  expect(await tokenWith({ HF_TOKEN: " hf_fromVariable\n" })).toBe("Bearer hf_fromVariable");
  expect(await tokenWith({ HF_TOKEN_PATH: "$HF_HOME/other" })).toBe("Bearer hf_fromOther");
  expect(await tokenWith({ HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).toBe(undefined);
});

test.each([
  [{ HF_HUB_CACHE: "${HF_HOME}/a" }, "a"],
  [{ HUGGINGFACE_HUB_CACHE: "$HF_HOME/b" }, "b"],
  [{ HF_HUB_CACHE: "$HF_HOME/a", HUGGINGFACE_HUB_CACHE: "$HF_HOME/b" }, "a"],
  [{ HOME: "HERE", HF_HOME: "~/c" }, "c/hub"],
  [{ HOME: "HERE", HF_HOME: "" }, ".cache/huggingface/hub"],
  [{ XDG_CACHE_HOME: "HERE/d", HF_HOME: "" }, "d/huggingface/hub"],
])("The cache with %j is %s.", async (variables, expected) => {
  const folder = temporaryFolder();
  const entries = Object.entries(variables).map(([name, value]) => [name, value.replace("HERE", folder)]);
  const options = optionsFor(folder, Object.fromEntries(entries) as Record<string, string>);
  const snapshot = await resolveModelFolder("org/small", options);
  expect(path.relative(folder, snapshot)).toBe(`${expected}/models--org--small/snapshots/${commit}`);
});
