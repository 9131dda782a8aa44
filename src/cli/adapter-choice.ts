/** @file Which adapters a row of a file has chosen: its field "adapter". */
import type { Row } from "../data/read-rows.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { AdapterGroup } from "./model.ts";

/**
 * The --adapter groups that a row names in its field "adapter", one name or a list of them, in the order of the flags.
 * An empty list, and null, choose the base alone; a row without the field gets them all.
 * @throws DeltafitError `data-invalid` with the row's place.
 */
export function chosenGroups<Group extends AdapterGroup>(
  { values: { adapter }, where }: Row,
  groups: readonly Group[],
): readonly Group[] {
  if (adapter === undefined) return groups;
  const names: readonly unknown[] = Array.isArray(adapter) ? adapter : adapter === null ? [] : [adapter];
  for (const name of names) {
    if (typeof name !== "string")
      throw new DeltafitError(
        "data-invalid",
        `${where}: expected the name of an adapter, or a list of names, under "adapter", found ${JSON.stringify(name).slice(0, 60)}.`,
        knownNames(groups),
      );
    if (!groups.some((group) => group.name === name))
      throw new DeltafitError(
        "data-invalid",
        `${where}: no adapter is called ${quote(name)}.`,
        knownNames(groups),
      );
  }
  return groups.filter(({ name }) => names.includes(name));
}

function knownNames(groups: readonly AdapterGroup[]): string {
  const known = groups.map(({ name }) => quote(name)).join(", ");
  return known === ""
    ? "Load adapters by names: --adapter NAME=FOLDER"
    : `Loaded are ${known}; --adapter NAME=FOLDER gives an adapter a name.`;
}
