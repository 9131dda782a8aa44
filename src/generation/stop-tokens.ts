/** @file The tokens that end a text, as a model's configuration files name them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Base } from "../base/base.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";

const schema = z.looseObject({ eos_token_id: z.union([z.int().min(0), z.array(z.int().min(0))]).nullish() });

/**
 * `eos_token_id` of config.json and generation_config.json: a chat model's end of a turn often stands only in the latter.
 * @throws DeltafitError what reading generation_config.json throws; `config-invalid`.
 */
export function stopTokensOf(base: Base): number[] {
  const path = join(base.folder, "generation_config.json");
  const known = [
    parseWithSchema(schema, base.configuration, "config.json"),
    ...(existsSync(path) ? [parseWithSchema(schema, readJsonFile(path), quote(path))] : []),
  ];
  return [...new Set(known.flatMap(({ eos_token_id: ids }) => ids ?? []))];
}
