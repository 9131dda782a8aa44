/**
 * @file Graphs as the runtime's optimiser left them, kept in the cache: optimising a large graph takes most of the time
 * that creating its session does, and gives the same each time. Knows where they lie and what they depend on.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { cacheFolder } from "../files/cache-folder.ts";

/** Bumped when the form of kept graphs changes. */
const formatVersion = 1;
/** Below this the optimiser takes no time to speak of. */
const fewestNodes = 500;
/** A graph into which the optimiser folded weights is not kept: they would lie in the cache once more. */
const largestBytes = 2 ** 24;

export interface OptimisedGraph {
  /** Where it lies, or would. */
  readonly path: string;
  readonly exists: boolean;
}

/** All that an optimised graph depends on. */
export interface OptimisedGraphSource {
  readonly nodeCount: number;
  /** The bytes of the graph as deltafit wrote it. */
  readonly model: Uint8Array;
  /** The files that hold its weights, links resolved: the optimiser may fold constants from them. */
  readonly weightFiles: readonly string[];
  /** Versions and options of the runtime. */
  readonly runtime: unknown;
}

/** The place of a graph in the cache; `undefined` for one that is not worth keeping. */
export async function findOptimisedGraph(source: OptimisedGraphSource): Promise<OptimisedGraph | undefined> {
  if (source.nodeCount < fewestNodes) return undefined;
  // Some of the optimiser's choices depend on the processor.
  const facts = [formatVersion, source.runtime, cpus()[0]?.model ?? "", process.arch];
  const hash = createHash("sha256").update(JSON.stringify(facts)).update(source.model);
  for (const path of source.weightFiles) {
    const { dev, ino, size, mtimeNs } = await stat(path, { bigint: true });
    hash.update(`\n${path}\n${dev} ${ino} ${size} ${mtimeNs}`);
  }
  const folder = join(cacheFolder(), "graphs");
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${hash.digest("hex").slice(0, 40)}.onnx`);
  return { path, exists: existsSync(path) };
}

/**
 * Moves what the runtime wrote into the cache, where it appears whole or not at all.
 * @returns whether it was worth keeping.
 */
export async function keepOptimisedGraph({ path }: OptimisedGraph, written: string): Promise<boolean> {
  if (!existsSync(written)) return false;
  const { size } = await stat(written);
  if (size > largestBytes) return false;
  await rename(written, path);
  return true;
}

export async function dropOptimisedGraph({ path }: OptimisedGraph): Promise<void> {
  await rm(path, { force: true });
}
