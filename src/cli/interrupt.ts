/** @file Ctrl-C: the first one asks the work to stop where it can go on later, the second ends the process. */
import type { Terminal } from "./terminal.ts";

const signals = ["SIGINT", "SIGTERM"] as const;

/** Runs work with a signal that is aborted by the first Ctrl-C. */
export async function untilInterrupted<Result>(
  terminal: Terminal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  const stop = (): void => {
    // Without a listener the next signal does what the system does by default: it ends the process, even inside a step.
    ignore();
    terminal.note("stopping after this step; press Ctrl-C again to end at once");
    controller.abort();
  };
  const ignore = (): void => {
    for (const signal of signals) process.removeListener(signal, stop);
  };
  for (const signal of signals) process.on(signal, stop);
  try {
    return await work(controller.signal);
  } finally {
    ignore();
  }
}
