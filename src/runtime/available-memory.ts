/** @file How much memory this process may have, the machine's or the container's, whichever is less. */
import fs from "node:fs";
import os from "node:os";

/** The files of a container's limit: of control groups version 2, then 1. */
const controlGroups = [
  {
    used: "/sys/fs/cgroup/memory.current",
    stat: "/sys/fs/cgroup/memory.stat",
    cache: ["inactive_file", "active_file"],
  },
  {
    used: "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    stat: "/sys/fs/cgroup/memory/memory.stat",
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
  return Math.min(free, held + Math.max(0, limit - usedInContainer()));
}

function usedInContainer(): number {
  for (const { used, stat, cache } of controlGroups)
    try {
      const lines = fs.readFileSync(stat, "utf8").split("\n");
      const cached = lines
        .map((line) => line.split(" "))
        .reduce((sum, [name = "", bytes]) => sum + (cache.includes(name) ? Number(bytes) : 0), 0);
      return Number(fs.readFileSync(used, "utf8")) - cached;
    } catch {
      // Not this version.
    }
  return process.memoryUsage.rss();
}
