/** @file Adapters of other tools: the table of their formats, and reading and writing by it. */
import fs from "node:fs";
import type { Adapter } from "../adapters/adapter.ts";
import { readAdapter } from "../adapters/folder.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { adapterHub } from "./adapterhub.ts";
import type { ForeignAdapter, ForeignFormat, ReadOptions } from "./foreign.ts";
import { loralib } from "./loralib.ts";
import { mlx } from "./mlx.ts";
import { onnxAdapter } from "./onnx-adapter.ts";

export type { ForeignAdapter, ReadOptions } from "./foreign.ts";

/** Formats of other tools by name, in the order in which they are looked for. */
const formats = {
  mlx,
  adapterhub: adapterHub,
  "onnx-adapter": onnxAdapter,
  loralib,
} as const satisfies Record<string, ForeignFormat>;

export type ForeignFormatName = keyof typeof formats;

export const foreignFormatNames = Object.keys(formats) as readonly ForeignFormatName[];

/** The formats that can be written. */
export const writableFormatNames: readonly ForeignFormatName[] = foreignFormatNames.filter(
  (name) => formatNamed(name).write !== undefined,
);

function formatNamed(name: ForeignFormatName): ForeignFormat {
  return formats[name];
}

/** The format a file or folder seems to be in; `undefined` for none of them, such as PEFT's own. */
export function recogniseForeignFormat(path: string): ForeignFormatName | undefined {
  return foreignFormatNames.find((name) => formatNamed(name).recognises(path));
}

/**
 * Opens an adapter of another tool, so that a base can be chosen for it.
 * @throws DeltafitError `file-missing`, `file-invalid`, `file-refused`, `config-invalid`, `method-unsupported`.
 */
export function openForeignAdapter(path: string, format: ForeignFormatName): Promise<ForeignAdapter> {
  if (!fs.existsSync(path))
    throw new DeltafitError("file-missing", `${quote(path)} does not exist.`, "Check the path.");
  return formatNamed(format).open(path);
}

/**
 * Fits an adapter of another tool to a base, every tensor of it.
 * @throws DeltafitError `adapter-mismatch`, `method-unsupported`; `usage-invalid` where an option is needed.
 */
export function adoptForeignAdapter(
  opened: ForeignAdapter,
  base: Base,
  options: ReadOptions = {},
): { readonly adapter: Adapter; readonly notes: readonly string[] } {
  const { source, notes } = opened.toPeft(base, options);
  return { adapter: readAdapter(source, base), notes };
}

/** @throws DeltafitError `method-unsupported` for what the format has no place for; `write-failed`. */
export async function writeForeignAdapter(
  path: string,
  format: ForeignFormatName,
  adapter: Adapter,
  base: Base,
): Promise<void> {
  const { write, summary } = formatNamed(format);
  if (write === undefined)
    throw new DeltafitError("method-unsupported", `deltafit reads ${summary}, and writes none.`);
  await write(path, adapter, base);
}
