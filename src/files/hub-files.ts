/**
 * @file Which files of a hub repository deltafit needs, and whether a snapshot in the cache has them. Knows nothing
 * of the network.
 */
import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { fileByteLength } from "./hub-cache.ts";
import { parseWithSchema, readJsonFile } from "./json.ts";
import { isPlainFileName } from "./paths.ts";
import { quote } from "./quote.ts";
import { chatTemplateFiles } from "./tokenizer-files.ts";
import { pickleHint } from "./safetensors.ts";

/** Where sentence-transformers keeps how hidden states become a vector. */
const poolingFolder = "1_Pooling";
/** Folders in which files are needed, besides the repository's top. */
export const neededFolders: readonly string[] = [
  poolingFolder,
  path.posix.dirname(chatTemplateFiles.tool_use),
];
const maximumShards = 4096;
const pickledWeights =
  /^(?:pytorch_model|model|consolidated|adapter_model).*\.(?:bin|pt|pth|ckpt|pkl|pickle)(?:\.index\.json)?$/;

/** What deltafit takes of one kind of repository: other formats of the same weights stay on the hub. */
export interface HubFileSet {
  readonly kind: "model" | "adapter";
  readonly configuration: string;
  /** Taken where the repository has them. */
  readonly optional: readonly string[];
  readonly weights: string;
  /** Names the shards of weights that are too large for one file. */
  readonly index: string | undefined;
}

export const modelFiles: HubFileSet = {
  kind: "model",
  configuration: "config.json",
  optional: [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    ...Object.values(chatTemplateFiles),
    "modules.json",
    `${poolingFolder}/config.json`,
  ],
  weights: "model.safetensors",
  index: "model.safetensors.index.json",
};

export const adapterFiles: HubFileSet = {
  kind: "adapter",
  configuration: "adapter_config.json",
  optional: [],
  weights: "adapter_model.safetensors",
  index: undefined,
};

/**
 * The names to fetch first, in this order; the weights, or the index of their shards, come last, so that a snapshot
 * with weights is a complete one.
 *
 * @param names The repository's files.
 * @param where What the repository is, for error messages.
 * @throws DeltafitError `file-refused` where there are only pickled weights; `hub-unavailable` where the repository is
 * not one of the set's kind.
 */
export function neededFiles(set: HubFileSet, names: ReadonlySet<string>, where: string): readonly string[] {
  const weights = [set.weights, ...(set.index === undefined ? [] : [set.index])];
  const stored = weights.find((name) => names.has(name));
  if (stored === undefined) throw withoutWeights(weights, names, where);
  if (!names.has(set.configuration)) {
    const message = `${where} is no ${set.kind} that deltafit can use: expected ${set.configuration}, and it is not there.`;
    throw new DeltafitError("hub-unavailable", message, "Check that this is the repository you meant.");
  }
  return [set.configuration, ...set.optional.filter((name) => names.has(name)), stored];
}

function withoutWeights(
  weights: readonly string[],
  names: ReadonlySet<string>,
  where: string,
): DeltafitError {
  const expected = weights.join(" or ");
  const pickled = [...names].filter((name) => pickledWeights.test(name)).sort();
  if (pickled.length > 0) {
    const shown = pickled.slice(0, 3).map(quote).join(", ") + (pickled.length > 3 ? ", ..." : "");
    const message = `${where} has no ${expected}, only weights in a format that deltafit refuses: ${shown}.`;
    return new DeltafitError("file-refused", message, pickleHint);
  }
  const message = `${where} holds no weights that deltafit can use: expected ${expected}.`;
  const isAdapter = names.has(adapterFiles.configuration) && !weights.includes(adapterFiles.weights);
  const hint = isAdapter
    ? "It is an adapter: name it with --adapter, and its base with --model."
    : "Check that this is the repository you meant.";
  return new DeltafitError("hub-unavailable", message, hint);
}

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * The shards that an index names, in order.
 *
 * @param indexPath The index on disk.
 * @throws DeltafitError `file-refused` if a name is no plain name of a safetensors file; `file-invalid`,
 * `config-invalid` for a broken index.
 */
export function shardsOf(indexPath: string): readonly string[] {
  const index = parseWithSchema(indexSchema, readJsonFile(indexPath), quote(indexPath));
  const shards = [...new Set(Object.values(index.weight_map))].sort();
  if (shards.length === 0 || shards.length > maximumShards) {
    const message = `${quote(indexPath)} names ${shards.length} files: expected 1 to ${maximumShards}.`;
    throw new DeltafitError("file-invalid", message, "Download the model again.");
  }
  const odd = shards.find((shard) => !isPlainFileName(shard) || !shard.endsWith(".safetensors"));
  if (odd === undefined) return shards;
  const message = `${quote(indexPath)} refers to the file ${quote(odd)}: expected the plain name of a safetensors file.`;
  throw new DeltafitError(
    "file-refused",
    message,
    "Do not use this model: its files are not what they should be.",
  );
}

/** The needed files that a snapshot in the cache lacks; empty if it is complete. */
export function missingFiles(set: HubFileSet, snapshot: string, commit: string): readonly string[] {
  const isThere = (name: string): boolean => fileByteLength(path.join(snapshot, name)) !== undefined;
  const listed = listedByPython(snapshot, commit);
  const small = [set.configuration, ...set.optional.filter((name) => listed.has(name))];
  const missing = small.filter((name) => !isThere(name));
  if (isThere(set.weights)) return missing;
  if (set.index === undefined || !isThere(set.index)) return [...missing, set.weights];
  return [...missing, ...shardsOf(path.join(snapshot, set.index)).filter((shard) => !isThere(shard))];
}

const treeSchema = z.looseObject({ format_version: z.literal(1), files: z.looseObject({}) });

/**
 * The names of a commit's files where Python has noted them (`trees/COMMIT.json`): a download that Python was stopped
 * in the middle of can hold the weights and lack the tokenizer. A note of another form is no note.
 */
function listedByPython(snapshot: string, commit: string): ReadonlySet<string> {
  const file = path.join(snapshot, "..", "..", "trees", `${commit}.json`);
  if (!fs.existsSync(file)) return new Set();
  try {
    return new Set(Object.keys(treeSchema.parse(readJsonFile(file)).files));
  } catch {
    return new Set();
  }
}
