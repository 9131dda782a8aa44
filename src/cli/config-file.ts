/**
 * @file Settings from a YAML file and from `--set`, as values of a command's flags. Checks names here; values are
 * checked with those of the command line.
 */
import type { Document } from "yaml";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { readExactly, withOpenFile } from "../files/read.ts";
import { nearestName } from "../methods/targets.ts";
import { kebab, numberFromText } from "./flags.ts";
import type { Flag, FlagTable, Given } from "./flags.ts";

const maximumBytes = 2 ** 20;

/** @throws DeltafitError `file-missing`, `file-refused`, `file-invalid`; `usage-invalid` for a key that is no flag. */
export async function readConfigFile(path: string, table: FlagTable): Promise<Map<string, Given>> {
  const where = quote(path);
  // Most calls read no file, and the library costs each of them some hundredths of a second.
  const { parseDocument } = await import("yaml");
  const document = parseDocument(readText(path), { uniqueKeys: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const [reason = ""] = problem.message.split("\n");
    throw new DeltafitError("file-invalid", `${where} is not valid YAML: ${reason.replace(/[.:]$/, "")}.`);
  }
  const content: unknown = plainValue(document, where) ?? {};
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new DeltafitError(
      "file-invalid",
      `${where}: expected settings such as "rank: 8", one a line, found ${Array.isArray(content) ? "a list" : "something else"}.`,
    );
  return new Map(
    Object.entries(content).map(([key, value]: [string, unknown]) => {
      const { name, flag } = flagOf(key, table, where);
      const read = typeof value === "string" ? flag.kind.fromText(value) : value;
      return [name, { value: read, where: `${where}, ${key}` }];
    }),
  );
}

function plainValue(document: Pick<Document, "toJS">, where: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new DeltafitError("file-invalid", `${where} cannot be used: ${reason}.`, undefined, error);
  }
}

function readText(path: string): string {
  return withOpenFile(path, (file) => {
    const { byteLength } = file.identity;
    if (byteLength > maximumBytes)
      throw new DeltafitError(
        "file-invalid",
        `${quote(path)} is too large: expected at most ${maximumBytes} bytes, found ${byteLength}.`,
        "Check that this is the file of settings.",
      );
    const bytes = new Uint8Array(byteLength);
    readExactly(file, bytes, 0);
    return new TextDecoder().decode(bytes);
  });
}

function flagOf(
  key: string,
  table: FlagTable,
  where: string,
): { readonly name: string; readonly flag: Flag<unknown> } {
  for (const [name, flag] of Object.entries(table)) if (kebab(name) === key) return { name, flag };
  const known = Object.keys(table).map(kebab);
  const nearest = nearestName(key, known);
  throw new DeltafitError(
    "usage-invalid",
    `${where}: there is no setting ${quote(key)}.`,
    nearest === undefined ? `The settings are ${known.join(", ")}.` : `Did you mean ${quote(nearest)}?`,
  );
}

/**
 * Puts settings of the form `name=value` or `name.key=value` over what is given already.
 * @throws DeltafitError `usage-invalid` for another form or an unknown name.
 */
export function applySettings(
  settings: readonly string[],
  table: FlagTable,
  given: Map<string, Given>,
): void {
  for (const setting of settings) {
    const where = `--set ${setting}`;
    const at = setting.indexOf("=");
    if (at <= 0)
      throw new DeltafitError(
        "usage-invalid",
        `--set: expected NAME=VALUE, found ${quote(setting)}.`,
        "For example: --set rank-pattern.q_proj=4",
      );
    const [path, value] = [setting.slice(0, at), setting.slice(at + 1)];
    const dot = path.indexOf(".");
    const { name, flag } = flagOf(dot < 0 ? path : path.slice(0, dot), table, "--set");
    if (dot < 0) {
      given.set(name, { value: flag.kind.fromText(value), where });
      continue;
    }
    if (flag.kind.hasKeys !== true)
      throw new DeltafitError("usage-invalid", `--set: ${quote(path.slice(0, dot))} has no entries to set.`);
    const earlier = given.get(name)?.value;
    const entry = { [path.slice(dot + 1)]: numberFromText(value) };
    given.set(name, { value: { ...(typeof earlier === "object" ? earlier : {}), ...entry }, where });
  }
}
