/** @file What adapters are called: --adapter FOLDER by its folder, --adapter NAME=FOLDER by the name in front. */
import fs from "node:fs";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";

/** An adapter as the command line names it. */
export interface NamedReference {
  readonly name: string;
  /** A folder, or a name on the hub. */
  readonly reference: string;
}

const named = /^([A-Za-z0-9][\w.-]*)=(.+)$/;

/**
 * Names and places of adapters. One that is given twice without a name gets a number; a folder that has a "=" in its own
 * name is a folder.
 * @throws DeltafitError `usage-invalid` where two have one name.
 */
export function namedReferences(given: readonly string[]): readonly NamedReference[] {
  const all = given.map((text, index): NamedReference => {
    const [, name, reference] = (fs.existsSync(text) ? null : named.exec(text)) ?? [];
    if (name !== undefined && reference !== undefined) return { name, reference };
    const earlier = given.slice(0, index).filter((other) => other === text).length;
    return { name: earlier === 0 ? text : `${text} (${earlier + 1})`, reference: text };
  });
  const twice = all.find(({ name }, index) => all.findIndex((other) => other.name === name) !== index);
  if (twice === undefined) return all;
  throw new DeltafitError(
    "usage-invalid",
    `--adapter: two adapters are called ${quote(twice.name)}.`,
    "Give each a name of its own: --adapter a=FOLDER --adapter b=FOLDER",
  );
}
