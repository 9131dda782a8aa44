/**
 * @file Beam search as transformers defines it: the most likely texts found by following several beginnings at once,
 * scored by log-probability / tokens ** length penalty. Knows the model only as a function from tokens to logits.
 */
import { kthLargest, logSoftmax, penalised } from "./sampling.ts";
import type { SamplingSettings } from "./sampling.ts";

/** What a search needs of a decoder. */
export interface BeamDecoder {
  advance(tokens: readonly (readonly number[])[]): Promise<readonly Float32Array[]>;
  selectRows(rows: readonly number[]): void;
}

export interface BeamSettings extends SamplingSettings {
  readonly beams: number;
  readonly lengthPenalty: number;
  /** New tokens at most. */
  readonly limit: number;
  readonly stopTokens: ReadonlySet<number>;
}

interface Beam {
  readonly tokens: readonly number[];
  /** Sum of the tokens' log-probabilities; of a finished one the text's score. */
  readonly score: number;
}

/** One token more for one beam. */
interface Candidate {
  readonly beam: number;
  readonly id: number;
  readonly score: number;
}

/** The best text that a search has found. */
export interface FoundText {
  /** The new tokens, the stop token included. */
  readonly tokens: readonly number[];
  /** Sum of their log-probabilities / number ** length penalty. */
  readonly score: number;
}

/** The best text found. `decoder` has one row, of nothing yet. */
export async function beamSearch(
  decoder: BeamDecoder,
  prompt: readonly number[],
  settings: BeamSettings,
): Promise<FoundText> {
  const { beams, limit, lengthPenalty, stopTokens } = settings;
  let running: Beam[] = [{ tokens: [], score: 0 }];
  let finished: Beam[] = [];
  let logits = await decoder.advance([prompt]);
  for (let length = 1; ; length++) {
    const scoreOf = (sum: number): number => sum / length ** lengthPenalty;
    const isEnd = ({ id }: Candidate): boolean => length === limit || stopTokens.has(id);
    // Even if every beam ended with each of its stop tokens, as many beams would be left to go on.
    const candidates = bestCandidates(
      running,
      logits,
      prompt,
      settings,
      beams * Math.max(2, 1 + stopTokens.size),
    );
    const extended = (candidate: Candidate, score: number): Beam => ({
      tokens: [...(running[candidate.beam]?.tokens ?? []), candidate.id],
      score,
    });
    // An end counts only among the best: a bad one must not crowd out what goes on.
    const ended = candidates
      .slice(0, beams)
      .filter(isEnd)
      .map((candidate) => extended(candidate, scoreOf(candidate.score)));
    finished = [...finished, ...ended].sort((a, b) => b.score - a.score).slice(0, beams);
    const going = candidates.filter((candidate) => !isEnd(candidate)).slice(0, beams);
    const worst = finished.length === beams ? (finished.at(-1)?.score ?? -Infinity) : -Infinity;
    const [best] = going;
    if (!best || scoreOf(best.score) <= worst) return finished[0] ?? { tokens: [], score: 0 };
    decoder.selectRows(going.map(({ beam }) => beam));
    running = going.map((candidate) => extended(candidate, candidate.score));
    logits = await decoder.advance(going.map(({ id }) => [id]));
  }
}

/** The `count` best continuations of all beams, the best first. */
function bestCandidates(
  running: readonly Beam[],
  logits: readonly Float32Array[],
  prompt: readonly number[],
  settings: SamplingSettings,
  count: number,
): Candidate[] {
  const all = running.flatMap(({ tokens, score }, beam) => {
    const scores = penalised(
      logSoftmax(logits[beam] ?? new Float32Array(0)),
      [...prompt, ...tokens],
      settings,
    );
    // No beam can bring more than `count` of the best.
    const threshold = kthLargest(scores, Math.min(count, scores.length));
    const candidates: Candidate[] = [];
    for (const [id, logProbability] of scores.entries())
      if (logProbability >= threshold && logProbability > -Infinity)
        candidates.push({ beam, id, score: score + logProbability });
    return candidates;
  });
  return all.sort((a, b) => b.score - a.score).slice(0, count);
}
