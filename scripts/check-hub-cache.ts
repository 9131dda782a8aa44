/**
 * @file Shares a Hugging Face cache between deltafit and Python's huggingface_hub, in both orders, with a hub on this
 * machine: what one has downloaded the other must find without the hub, in the same folder. The interpreter is that of
 * the peers (see bench/peers/python.ts).
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { peersPython } from "../bench/peers/python.ts";
import { resolveModelFolder } from "../src/files/hub.ts";
import { startHubServer } from "../test/hub-server.ts";

/** Prints the snapshot's folder, then the folder in which a single file is found. */
const program = `
import os, sys
from huggingface_hub import hf_hub_download, snapshot_download
options = {"revision": sys.argv[1], "local_files_only": os.environ["HF_HUB_OFFLINE"] == "1"}
print(snapshot_download("org/small", **options))
print(os.path.dirname(hf_hub_download("org/small", "model.safetensors", **options)))
`;

const weights = Buffer.alloc(3_000_000, "weights of a small model ");
const commit = "0123456789abcdef0123456789abcdef01234567";
const files = {
  "README.md": Buffer.from("#"),
  "config.json": Buffer.from("{}"),
  "model.safetensors": weights,
};

const server = await startHubServer();
server.models.set("org/small", {
  commit,
  revisions: ["main", "refs/pr/1"],
  files,
  large: ["model.safetensors"],
});

for (const revision of ["main", "refs/pr/1", commit]) {
  for (const first of ["python", "deltafit"]) {
    const folder = mkdtempSync(join(tmpdir(), "deltafit-hub-"));
    const inOrder = first === "python" ? [python, deltafit] : [deltafit, python];
    const folders = [];
    for (const [index, side] of inOrder.entries()) {
      server.requests.length = 0;
      folders.push(...(await side(folder, revision, index === 1)));
      assert.equal(server.requests.length === 0, index === 1, "only the first side asks the hub");
    }
    assert.deepEqual(new Set(folders).size, 1, `found ${folders.join(", ")}`);
    const blobs = readdirSync(join(folder, "hub/models--org--small/blobs"));
    console.log(`${revision}, ${first} first: the same snapshot, ${blobs.length} blobs`);
    rmSync(folder, { recursive: true });
  }
}
await server.close();

function environmentOf(folder: string, isOffline: boolean): Record<string, string> {
  return { HF_HOME: folder, HF_ENDPOINT: server.endpoint, HF_HUB_OFFLINE: isOffline ? "1" : "0" };
}

async function python(folder: string, revision: string, isOffline: boolean): Promise<string[]> {
  const env = { ...process.env, ...environmentOf(folder, isOffline) };
  const { stdout } = await promisify(execFile)(peersPython(), ["-c", program, revision], { env });
  return stdout.trim().split("\n");
}

async function deltafit(folder: string, revision: string, isOffline: boolean): Promise<string[]> {
  return [
    await resolveModelFolder(`org/small@${revision}`, { environment: environmentOf(folder, isOffline) }),
  ];
}
