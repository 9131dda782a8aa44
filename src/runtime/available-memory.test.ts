import os from "node:os";
import { expect, test } from "vitest";
import { availableMemoryBytes, usedInContainer } from "./available-memory.ts";

test("is at least what the process holds and at most what there is", () => {
  const held = process.memoryUsage.rss();
  const available = availableMemoryBytes();
  expect(available).toBeGreaterThan(held / 2);
  expect(available).toBeLessThanOrEqual(os.totalmem());
});

const reader = (files: Readonly<Record<string, string>>) => (path: string) => {
  const text = files[path];
  if (text === undefined) throw new Error(`no ${path}`);
  return text;
};

test.each([
  [
    "version 2, in a namespace of its own",
    {
      "/proc/self/cgroup": "0::/\n",
      "/sys/fs/cgroup/memory.current": "1000\n",
      "/sys/fs/cgroup/memory.stat": "anon 600\ninactive_file 300\nactive_file 50\n",
    },
    650,
  ],
  [
    "version 2, among the machine's groups",
    {
      "/proc/self/cgroup": "0::/user.slice/run.scope\n",
      "/sys/fs/cgroup/user.slice/run.scope/memory.current": "1000\n",
      "/sys/fs/cgroup/user.slice/run.scope/memory.stat": "inactive_file 100\n",
    },
    900,
  ],
  [
    "version 1, by the controller's own path and not the machine's sum",
    {
      "/proc/self/cgroup": "5:cpu,cpuacct:/other\n4:memory:/jobs/7\n",
      "/sys/fs/cgroup/memory/jobs/7/memory.usage_in_bytes": "1000\n",
      "/sys/fs/cgroup/memory/jobs/7/memory.stat": "total_inactive_file 200\ntotal_active_file 100\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "9000\n",
      "/sys/fs/cgroup/memory/memory.stat": "",
    },
    700,
  ],
  [
    "version 1, where the path is the host's",
    {
      "/proc/self/cgroup": "4:memory:/docker/abc\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
      "/sys/fs/cgroup/memory/memory.stat": "total_inactive_file 200\n",
    },
    800,
  ],
  ["no groups", {}, undefined],
] as const)("what a container holds besides cached files: %s", (_name, files, expected) => {
  expect(usedInContainer(reader(files))).toBe(expected);
});
