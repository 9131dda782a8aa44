/** @file Sections whose subject deltafit does not have yet: every case is counted as skipped. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CaseSkipped } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

const subjects = {
  memory: "parameter counts of other methods and models are not implemented yet",
} as const;

export const pending: ReferenceSection = ({ root }) =>
  Object.entries(subjects).flatMap(([section, reason]) => {
    const folder = join(root, section);
    const names = existsSync(folder) ? readdirSync(folder).sort() : [];
    return names.map((name): ReferenceCase => ({
      name: `${section}/${name.replace(/\.json$/, "")}`,
      check() {
        throw new CaseSkipped(reason);
      },
    }));
  });
