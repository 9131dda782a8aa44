/** @file Looks at --out before any work is done: a run of hours must not fail at its last step, nor replace something else. */
import fs from "node:fs";
import path from "node:path";
import { stackFileName } from "../adapters/stack.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";

/** Names of which one at least is in a folder that deltafit wrote. */
const ownNames = ["adapter_config.json", "model.safetensors", "checkpoints", stackFileName];

/**
 * @throws DeltafitError `write-failed` where the folder cannot be made; `usage-invalid` where it holds something else
 * than a model or an adapter, which would be lost.
 */
export function checkOutputFolder(folder: string): void {
  const target = path.resolve(folder);
  const existing = nearestExisting(target);
  const status = fs.statSync(existing);
  if (!status.isDirectory())
    throw new DeltafitError(
      "write-failed",
      `Cannot write to ${quote(target)}: expected a folder, found the file ${quote(existing)}. It is untouched.`,
      "Name another folder with --out.",
    );
  try {
    fs.accessSync(existing, fs.constants.W_OK);
  } catch (error) {
    throw new DeltafitError(
      "write-failed",
      `Cannot write to ${quote(target)}: the folder ${quote(existing)} may not be written.`,
      "Name another folder with --out, or change its permissions.",
      error,
    );
  }
  if (existing !== target) return;
  const names = fs.readdirSync(target);
  if (names.length === 0 || ownNames.some((name) => names.includes(name))) return;
  throw new DeltafitError(
    "usage-invalid",
    `The output folder ${quote(target)} would be replaced as a whole, and it holds no adapter and no model: ${names.slice(0, 3).map(quote).join(", ")}${names.length > 3 ? ", ..." : ""}.`,
    "Name a folder of its own with --out.",
  );
}

function nearestExisting(target: string): string {
  let folder = target;
  while (!fs.existsSync(folder) && path.dirname(folder) !== folder) folder = path.dirname(folder);
  return folder;
}
/** @throws DeltafitError `usage-invalid` where a folder that is read would be replaced by what is made of it. */
export function refuseOverwriting(out: string, inputs: readonly string[]): void {
  const real = (folder: string): string =>
    fs.existsSync(folder) ? fs.realpathSync(folder) : path.resolve(folder);
  const input = inputs.find((folder) => fs.existsSync(folder) && real(folder) === real(out));
  if (input === undefined) return;
  throw new DeltafitError(
    "usage-invalid",
    `--out names ${quote(input)}, from which this command reads.`,
    "Name a folder of its own with --out.",
  );
}
