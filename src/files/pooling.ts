/**
 * @file How a folder of sentence-transformers turns hidden states into one vector: modules.json and the configuration of
 * its pooling. Knows no model.
 */
import fs from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema, readJsonFile } from "./json.ts";
import { hubCacheRepository, isPlainFileName, resolveInside } from "./paths.ts";
import { quote } from "./quote.ts";

/** What sentence-transformers does after the last layer. */
export interface SentencePooling {
  readonly pooling: "mean" | "first" | "last";
  /** Whether vectors are scaled to length 1. */
  readonly normalise: boolean;
}

const modulesSchema = z.array(z.looseObject({ type: z.string(), path: z.string() })).max(16);
const poolingSchema = z.looseObject({ pooling_mode: z.string().optional() });

/** Names of the modes in newer files, and their switches in older ones. */
const modes = {
  mean: { mode: "mean", flag: "pooling_mode_mean_tokens" },
  first: { mode: "cls", flag: "pooling_mode_cls_token" },
  last: { mode: "lasttoken", flag: "pooling_mode_lasttoken" },
} as const;

/**
 * The pooling that a folder asks for; `undefined` where it has no modules.json.
 * @throws DeltafitError `config-invalid` for a module or a mode that deltafit does not have; `file-missing`.
 */
export function readSentencePooling(folder: string): SentencePooling | undefined {
  if (!fs.existsSync(join(folder, "modules.json"))) return undefined;
  const root = hubCacheRepository(folder);
  const read = (path: string) => ({ value: readJsonFile(path), where: quote(path) });
  const { value, where } = read(resolveInside(folder, "modules.json", root));
  const modules = parseWithSchema(modulesSchema, value, where);
  const kindOf = (type: string) => type.split(".").at(-1) ?? type;
  const known = ["Transformer", "Pooling", "Normalize"];
  const stranger = modules.find(({ type }) => !known.includes(kindOf(type)));
  if (stranger)
    throw new DeltafitError(
      "config-invalid",
      `${where}: expected the modules ${known.join(", ")}, found ${quote(stranger.type)}.`,
      "Say how to pool with --pooling to leave the folder's own modules out.",
    );
  const pooling = modules.find(({ type }) => kindOf(type) === "Pooling");
  const configuration = (path: string) => {
    if (!isPlainFileName(path))
      throw new DeltafitError(
        "file-refused",
        `${where} refers to ${quote(path)}: expected a plain folder name.`,
      );
    return resolveInside(join(folder, path), "config.json", root ?? folder);
  };
  return {
    pooling: pooling ? readMode(read(configuration(pooling.path))) : "mean",
    normalise: modules.some(({ type }) => kindOf(type) === "Normalize"),
  };
}

function readMode({
  value,
  where,
}: {
  readonly value: unknown;
  readonly where: string;
}): SentencePooling["pooling"] {
  const fields = parseWithSchema(poolingSchema, value, where);
  const flags = Object.keys(fields).filter((key) => key.startsWith("pooling_mode_") && fields[key] === true);
  const asked = fields.pooling_mode === undefined ? flags : [fields.pooling_mode];
  for (const name of ["mean", "first", "last"] as const)
    if (asked.length === 1 && (asked[0] === modes[name].mode || asked[0] === modes[name].flag)) return name;
  throw new DeltafitError(
    "config-invalid",
    `${where}: expected one pooling of mean, cls and lasttoken, found ${asked.map(quote).join(", ") || "none"}.`,
    "Say how to pool with --pooling to leave the folder's own pooling out.",
  );
}
