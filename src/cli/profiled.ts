/** @file A command's run with a page of its memory, where one is asked for. */
import { writeFileAtomic } from "../files/atomic.ts";
import { quote } from "../files/quote.ts";
import { liveThroughRun } from "../fine-tuning/run-memory.ts";
import type { RunShape } from "../fine-tuning/run-memory.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import type { CommandResult } from "./command.ts";
import { memoryPage } from "./memory-page.ts";
import { startMemoryProfile } from "./memory-profile.ts";
import type { Terminal } from "./terminal.ts";

/** What the page says of a run. */
export interface ProfiledRun {
  readonly title: string;
  readonly lines: readonly string[];
  readonly run: RunShape;
  readonly estimate: MemoryBytes;
}

export interface RunningMemoryPage {
  readonly mark: (label: string) => void;
  /** Called once, when it is known what will run. */
  readonly describe: (run: ProfiledRun) => void;
}

/**
 * Runs a command and writes the page when it has ended well.
 * @param path Without it nothing is sampled and nothing written.
 * @throws DeltafitError `write-failed`; whatever the command throws, with a page that was there untouched.
 */
export async function profiled(
  path: string | undefined,
  terminal: Terminal,
  run: (page: RunningMemoryPage | undefined) => Promise<CommandResult>,
): Promise<CommandResult> {
  if (path === undefined) return run(undefined);
  const profile = startMemoryProfile();
  let described: ProfiledRun | undefined;
  try {
    const result = await run({ mark: profile.mark, describe: (given) => (described = given) });
    // A dry run has nothing to show.
    if (described === undefined) return result;
    const page = { ...described, profile: await profile.stop(), step: liveThroughRun(described.run) };
    writeFileAtomic(path, memoryPage(page));
    terminal.note(`memory over time: ${quote(path)}`);
    return { ...result, json: { ...result.json, profileMemory: path } };
  } finally {
    await profile.stop();
  }
}
