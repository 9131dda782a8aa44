/** @file How much memory the process has used. */

/** Largest resident set so far; Node reports it in KiB everywhere. */
export const peakMemoryBytes = (): number => process.resourceUsage().maxRSS * 1024;
