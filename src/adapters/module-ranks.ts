/** @file Ranks of single modules as a LoRA configuration states them: one rank, and patterns where others differ. */
import type { LoraConfiguration } from "../methods/lora.ts";

/** The settings under which each module has its rank and a factor of one, alpha / rank. */
export function rankSettings(
  ranks: ReadonlyMap<string, number>,
): Pick<LoraConfiguration, "rank" | "alpha" | "rankPattern" | "alphaPattern" | "rankStabilised"> {
  const counts = new Map<number, number>();
  for (const rank of ranks.values()) counts.set(rank, (counts.get(rank) ?? 0) + 1);
  const [usual] = [...counts].sort(([a, timesA], [b, timesB]) => timesB - timesA || b - a);
  const rank = usual?.[0] ?? 1;
  const others = Object.fromEntries([...ranks].filter(([, own]) => own !== rank));
  const pattern = Object.keys(others).length === 0 ? undefined : others;
  return { rank, alpha: rank, rankPattern: pattern, alphaPattern: pattern, rankStabilised: false };
}
