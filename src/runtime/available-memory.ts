/** @file How much memory this process may have, the machine's or the container's, whichever is less. */
import fs from "node:fs";
import os from "node:os";

/** The names of a group's files: in control groups version 2, then 1. */
const versions = [
  {
    controllers: "",
    root: "/sys/fs/cgroup",
    used: "memory.current",
    cache: ["inactive_file", "active_file"],
  },
  {
    controllers: "memory",
    root: "/sys/fs/cgroup/memory",
    used: "memory.usage_in_bytes",
    cache: ["total_inactive_file", "total_active_file"],
  },
];

/**
 * Bytes that this process could hold without anything else giving way: what it holds already, and what is free. Files in
 * the page cache count as free. Where the system does not tell what is free (macOS), all there is.
 */
export function availableMemoryBytes(): number {
  const held = process.memoryUsage.rss();
  const free = process.platform === "darwin" ? os.totalmem() : held + os.freemem();
  const limit = process.constrainedMemory();
  if (limit <= 0 || limit >= os.totalmem()) return free;
  const used = usedInContainer((path) => fs.readFileSync(path, "utf8")) ?? held;
  return Math.min(free, held + Math.max(0, limit - used));
}

/**
 * Bytes that the processes of this process's control group hold besides cached files; `undefined` where there is none.
 * Inside a container the group's own path often belongs to the host: the files are then those of the root.
 * @param read The text of a file.
 */
export function usedInContainer(read: (path: string) => string): number | undefined {
  for (const { controllers, root, used, cache } of versions)
    for (const folder of [`${root}${groupPath(read, controllers)}`, root])
      try {
        const cached = read(`${folder}/memory.stat`)
          .split("\n")
          .map((line) => line.split(" "))
          .reduce((sum, [name = "", bytes]) => sum + (cache.includes(name) ? Number(bytes) : 0), 0);
        return Number(read(`${folder}/${used}`)) - cached;
      } catch {
        // Not this version, or not this folder.
      }
  return undefined;
}

/** The path of this process's group among those of a list of controllers, from lines such as "4:memory:/path". */
function groupPath(read: (path: string) => string, controllers: string): string {
  try {
    const lines = read("/proc/self/cgroup")
      .split("\n")
      .map((line) => line.split(":"));
    const path = lines.find(([, names]) => names?.split(",").includes(controllers))?.[2] ?? "";
    return path === "/" ? "" : path;
  } catch {
    return "";
  }
}
