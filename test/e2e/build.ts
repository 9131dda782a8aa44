/**
 * @file Before the tests: builds dist/ where it is older than the sources, since the end-to-end tests run the built
 * command. A run that names only other tests does not wait for it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const built = path.join(repository, "dist", "cli", "main.js");

function newestSourceMs(): number {
  const folder = path.join(repository, "src");
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const sources = names.filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  return Math.max(...sources.map((name) => statSync(path.join(folder, name)).mtimeMs));
}

/** Whether the words after `vitest run` leave the end-to-end tests out. */
function isElsewhere(): boolean {
  const filters = process.argv.slice(2).filter((word) => /[./]/.test(word) && !word.startsWith("-"));
  return (
    filters.length > 0 &&
    !filters.some((filter) => filter.includes("e2e") || /^(?:\.\/)?test\/?$/.test(filter))
  );
}

export default function setup(): void {
  if (isElsewhere() || (existsSync(built) && statSync(built).mtimeMs >= newestSourceMs())) return;
  const { status, stdout } = spawnSync("npm", ["run", "--silent", "build"], {
    cwd: repository,
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm run build failed:\n${stdout}`);
}
