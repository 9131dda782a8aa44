/**
 * @file Finishes what `tsc` leaves in dist/: removes outputs whose source is gone, so that a package or an import
 * never sees them, and makes the command executable. `npx` sets that bit only when it links the package for the
 * first time, so a rebuilt dist/ would otherwise be refused. Plain JavaScript, because it runs during the
 * installation, before anything else is known to work.
 */
import { chmodSync, existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const output = join(root, "dist");

for (const name of readdirSync(output, { recursive: true, encoding: "utf8" })) {
  const source = join(root, "src", name.replace(/\.(?:d\.ts|js\.map|js)$/, ".ts"));
  const path = join(output, name);
  if (statSync(path).isFile() && !existsSync(source)) rmSync(path);
}

const command = join(output, "cli", "main.js");
if (existsSync(command)) chmodSync(command, 0o755);
