/** @file Learning rate schedules as factors of the peak rate, by update number, equal to transformers'. */

export const scheduleNames = ["linear", "cosine", "constant"] as const;
export type ScheduleName = (typeof scheduleNames)[number];

/**
 * Factor of the learning rate at update `step` (from 0): rises linearly from 0 over `warmup` updates, then falls to
 * 0 at `total` along a line or half a cosine, or stays.
 */
export function scheduleFactor(name: ScheduleName, step: number, warmup: number, total: number): number {
  if (step < warmup) return step / Math.max(1, warmup);
  if (name === "constant") return 1;
  const progress = (step - warmup) / Math.max(1, total - warmup);
  if (name === "linear") return Math.max(0, 1 - progress);
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
}
