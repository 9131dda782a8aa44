/** @file Memory in words: sizes, what an estimate consists of, and what a run that does not fit could do. */
import { DeltafitError } from "../errors.ts";
import type { SmallerRun } from "../fine-tuning/run-memory.ts";
import type { MemoryBytes } from "../memory/estimate.ts";
import { kebab } from "./flags.ts";

/** In the unit that leaves up to four digits. */
export function describeBytes(bytes: number): string {
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  const unit = bytes < 1e12 ? { size: 1e9, name: "GB" } : { size: 1e12, name: "TB" };
  const count = bytes / unit.size;
  return `${count.toFixed(count < 10 ? 2 : count < 100 ? 1 : 0)} ${unit.name}`;
}

/** What a run is expected to take, in two lines. */
export function describeEstimate(bytes: MemoryBytes, availableBytes: number): string[] {
  const { weights, gradients, optimizer, activations, workspace, total } = bytes;
  const part = (name: string, size: number) => `${name} ${describeBytes(size)}`;
  return [
    `memory: about ${describeBytes(total)} of ${describeBytes(availableBytes)} available`,
    `  ${[part("weights", weights), part("training", gradients + optimizer), part("activations", activations), part("workspace", workspace)].join(", ")}`,
  ];
}

/**
 * A run that would not fit, with what would.
 * @param otherwise What is said where nothing would.
 */
export function memoryExceeded(
  { total }: Pick<MemoryBytes, "total">,
  availableBytes: number,
  ways: readonly SmallerRun[],
  otherwise = "No smaller batch, shorter row or storage makes it fit: use a smaller model or a method that trains less.",
): DeltafitError {
  const described = ways.map(({ settings, totalBytes }) => {
    const flags = Object.entries(settings).map(([name, value]) =>
      value === true ? `--${kebab(name)}` : `--${kebab(name)} ${String(value)}`,
    );
    return `${flags.join(" ")} (${describeBytes(totalBytes)})`;
  });
  const instead = described.length > 0 ? `These fit: ${described.join("; ")}.` : otherwise;
  return new DeltafitError(
    "memory-exceeded",
    `The run does not fit into memory: expected at most ${describeBytes(availableBytes)}, which are available, found about ${describeBytes(total)}.`,
    `${instead} --ignore-memory starts it all the same.`,
  );
}
