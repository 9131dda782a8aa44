/**
 * @file The files of a tokenizer (tokenizer.json, tokenizer_config.json, special_tokens_map.json,
 * chat_template.jinja) read and checked. Encodes nothing.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseJson, parseWithSchema } from "./json.ts";
import { hubCacheRepository, resolveInside } from "./paths.ts";
import { postProcessorSchema } from "./post-processor.ts";
import { quote } from "./quote.ts";
import { readExactly, withOpenFile } from "./read.ts";

/** The largest known tokenizer.json has 33 MB. */
const maximumTokenizerBytes = 128 * 2 ** 20;
const maximumConfigBytes = 16 * 2 ** 20;
/** Known vocabularies stay below 2^20; ids size an array. */
const maximumTokenId = 2 ** 24;
/** Tools write 1e30 for "no limit known". */
const maximumLengthSentinel = 1e9;

const tokenIdSchema = z.int().min(0).max(maximumTokenId);

const addedTokenSchema = z.looseObject({
  content: z.string().min(1).max(4096),
  special: z.boolean().default(false),
});

const tokenizerSchema = z.looseObject({
  added_tokens: z
    .array(z.looseObject({ ...addedTokenSchema.shape, id: tokenIdSchema }))
    .max(2 ** 20)
    .default([]),
  normalizer: z.unknown().optional(),
  pre_tokenizer: z.unknown().optional(),
  post_processor: postProcessorSchema.default(null),
  decoder: z.unknown().optional(),
  model: z.looseObject({ vocab: z.unknown() }),
});

export type TokenizerJson = z.infer<typeof tokenizerSchema>;

const namedTokenSchema = z.union([z.string(), z.looseObject({ content: z.string() }), z.null()]).optional();

const namedTokensShape = {
  bos_token: namedTokenSchema,
  eos_token: namedTokenSchema,
  pad_token: namedTokenSchema,
  unk_token: namedTokenSchema,
  mask_token: namedTokenSchema,
  cls_token: namedTokenSchema,
  sep_token: namedTokenSchema,
};

const namedTokensSchema = z.looseObject(namedTokensShape);
const templateListSchema = z.array(z.looseObject({ name: z.string(), template: z.string() })).max(64);

const configSchema = z.looseObject({
  ...namedTokensShape,
  model_max_length: z.number().positive().nullish(),
  truncation_side: z.enum(["left", "right"]).nullish(),
  chat_template: z.union([z.string(), templateListSchema, z.null()]).optional(),
  added_tokens_decoder: z.record(z.string(), addedTokenSchema).nullish(),
});

/** The roles special tokens have, as tokenizer_config.json names them with `_token` appended. */
export const tokenRoles = ["bos", "eos", "pad", "unk", "mask", "cls", "sep"] as const;
export type TokenRole = (typeof tokenRoles)[number];

/** What a tokenizer's folder says. */
export interface TokenizerFiles {
  /** The path of tokenizer.json in quotes, for error messages. */
  readonly where: string;
  readonly tokenizer: TokenizerJson;
  /** Every token of the vocabulary, added ones included, by its id. */
  readonly tokens: ReadonlyMap<number, string>;
  readonly roles: ReadonlyMap<TokenRole, string>;
  readonly modelMaximumLength: number | undefined;
  readonly truncationSide: "left" | "right";
  readonly chatTemplate: string | undefined;
  /** The one for conversations with tools, where there is one of its own. */
  readonly toolChatTemplate: string | undefined;
  /** SHA-256 of tokenizer.json in hexadecimal. */
  readonly fingerprint: string;
}

/** @throws DeltafitError `file-missing`, `file-refused`, `file-invalid`, `config-invalid`. */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const file = path.join(folder, "tokenizer.json");
  const bytes = readOptional(folder, "tokenizer.json", maximumTokenizerBytes);
  if (bytes === undefined) {
    const hint =
      "deltafit reads fast tokenizers; save the tokenizer with transformers' save_pretrained to get the file.";
    throw new DeltafitError("file-missing", `${quote(folder)} holds no tokenizer.json.`, hint);
  }
  const where = quote(file);
  const tokenizer = parseWithSchema(tokenizerSchema, parseJson(text(bytes, where), where), where);
  const config = readConfig(folder, "tokenizer_config.json", configSchema);
  const roles = tokenRolesOf(
    config ?? {},
    readConfig(folder, "special_tokens_map.json", namedTokensSchema) ?? {},
  );
  const tokens = vocabularyOf(tokenizer, where);
  addTokens(tokenizer, tokens, config?.added_tokens_decoder ?? {}, roles, folder);
  const maximumLength = config?.model_max_length ?? undefined;
  return {
    where,
    tokenizer,
    tokens,
    roles,
    modelMaximumLength:
      maximumLength !== undefined && maximumLength < maximumLengthSentinel ? maximumLength : undefined,
    truncationSide: config?.truncation_side ?? "right",
    chatTemplate: chatTemplateOf(config?.chat_template ?? undefined, folder, "default"),
    toolChatTemplate: chatTemplateOf(config?.chat_template ?? undefined, folder, "tool_use"),
    fingerprint: createHash("sha256").update(bytes).digest("hex"),
  };
}

function readOptional(folder: string, name: string, maximumBytes: number): Uint8Array | undefined {
  if (!fs.existsSync(path.join(folder, name))) return undefined;
  const file = resolveInside(folder, name, hubCacheRepository(folder));
  return withOpenFile(file, (open) => {
    const { byteLength } = open.identity;
    if (byteLength > maximumBytes) {
      const found = `expected at most ${maximumBytes} bytes, found ${byteLength}`;
      throw new DeltafitError("file-invalid", `${quote(file)} is too large: ${found}.`);
    }
    const bytes = new Uint8Array(byteLength);
    readExactly(open, bytes, 0);
    return bytes;
  });
}

function text(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new DeltafitError("file-invalid", `${where} is not UTF-8 text.`, "Save it as UTF-8.", error);
  }
}

function readConfig<Output>(folder: string, name: string, schema: z.ZodType<Output>): Output | undefined {
  const bytes = readOptional(folder, name, maximumConfigBytes);
  const where = quote(path.join(folder, name));
  return bytes === undefined
    ? undefined
    : parseWithSchema(schema, parseJson(text(bytes, where), where), where);
}

/** tokenizer_config.json goes before special_tokens_map.json, which newer tools no longer write. */
function tokenRolesOf(
  config: z.infer<typeof namedTokensSchema>,
  map: z.infer<typeof namedTokensSchema>,
): Map<TokenRole, string> {
  const roles = new Map<TokenRole, string>();
  for (const role of tokenRoles) {
    const named = config[`${role}_token`] ?? map[`${role}_token`];
    const content = typeof named === "string" ? named : named?.content;
    if (content !== undefined && content !== "") roles.set(role, content);
  }
  return roles;
}

/** Checks every entry by hand: a schema would copy a quarter of a million of them. */
function vocabularyOf(tokenizer: TokenizerJson, where: string): Map<number, string> {
  const { vocab } = tokenizer.model;
  const tokens = new Map<number, string>();
  const add = (token: unknown, id: unknown): void => {
    if (typeof token !== "string" || typeof id !== "number" || !tokenIdSchema.safeParse(id).success) {
      const found = `${JSON.stringify(token)}: ${JSON.stringify(id)}`;
      const expected = `tokens with ids from 0 to ${maximumTokenId}`;
      throw new DeltafitError(
        "file-invalid",
        `${where}: model.vocab: expected ${expected}, found ${quote(found)}.`,
      );
    }
    const other = tokens.get(id);
    if (other !== undefined) {
      const message = `${where}: model.vocab gives the id ${id} to both ${quote(other)} and ${quote(token)}.`;
      throw new DeltafitError("file-invalid", message);
    }
    tokens.set(id, token);
  };
  if (Array.isArray(vocab))
    vocab.forEach((entry: unknown, id) => add(Array.isArray(entry) ? entry[0] : entry, id));
  else if (typeof vocab === "object" && vocab !== null)
    for (const [token, id] of Object.entries(vocab)) add(token, id);
  if (tokens.size === 0) throw new DeltafitError("file-invalid", `${where}: model.vocab holds no tokens.`);
  return tokens;
}

/**
 * Completes `added_tokens` as transformers does on loading: by those that only tokenizer_config.json knows,
 * and by the tokens with a role, which are recognised inside texts.
 */
function addTokens(
  tokenizer: TokenizerJson,
  tokens: Map<number, string>,
  fromConfig: Readonly<Record<string, z.infer<typeof addedTokenSchema>>>,
  roles: ReadonlyMap<TokenRole, string>,
  folder: string,
): void {
  const known = new Set(tokenizer.added_tokens.map((token) => token.content));
  for (const [key, token] of Object.entries(fromConfig)) {
    const id = parseWithSchema(
      tokenIdSchema,
      Number(key),
      `${quote(folder)}: key ${quote(key)} of added_tokens_decoder`,
    );
    if (!known.has(token.content)) tokenizer.added_tokens.push({ ...token, id });
    known.add(token.content);
  }
  for (const { id, content } of tokenizer.added_tokens) tokens.set(id, content);
  const missing = new Map(
    [...roles].filter(([, content]) => !known.has(content)).map(([role, content]) => [content, role]),
  );
  if (missing.size === 0) return;
  for (const [id, content] of [...tokens]) {
    if (!missing.delete(content)) continue;
    tokenizer.added_tokens.push({ id, content, special: true, normalized: false });
  }
  for (const [content, role] of missing) {
    const message = `${quote(folder)}: the ${role}_token ${quote(content)} is not in the vocabulary of tokenizer.json.`;
    throw new DeltafitError(
      "file-invalid",
      message,
      "Correct the name in tokenizer_config.json or special_tokens_map.json.",
    );
  }
}

/** Files of the templates that have names in transformers. */
export const chatTemplateFiles = {
  default: "chat_template.jinja",
  tool_use: "additional_chat_templates/tool_use.jinja",
} as const;

/** A file of its own goes before tokenizer_config.json, which has one template, or several by name. */
function chatTemplateOf(
  configured: string | z.infer<typeof templateListSchema> | undefined,
  folder: string,
  name: keyof typeof chatTemplateFiles,
): string | undefined {
  const file = chatTemplateFiles[name];
  const bytes = readOptional(folder, file, maximumConfigBytes);
  if (bytes !== undefined) return text(bytes, quote(path.join(folder, file)));
  if (typeof configured === "string") return name === "default" ? configured : undefined;
  return configured?.find((entry) => entry.name === name)?.template;
}
