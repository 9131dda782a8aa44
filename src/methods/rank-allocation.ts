/**
 * @file How AdaLoRA shares out its budget of ranks (Zhang et al. 2023, section 3.2): after each update it scores every
 * singular value with its two vectors, and from time to time sets those of the lowest scores to zero. The arithmetic
 * is torch's, in 32 bits.
 * Source: huggingface/peft, src/peft/tuners/adalora, version 0.21.
 */
import type { AppliedUpdate, UpdateRule } from "./contract.ts";

export interface AllocationSettings {
  readonly rank: number;
  readonly initialRank: number;
  readonly totalSteps: number;
  readonly initialSteps: number;
  readonly finalSteps: number;
  readonly allocateEvery: number;
  readonly sensitivityDecay: number;
  readonly uncertaintyDecay: number;
}

/** A module's three parameters by their keys: A [rank, in], E [rank, 1] and B [out, rank]. */
export interface AllocationSite {
  readonly linear: { readonly in: number; readonly out: number };
  readonly a: string;
  readonly e: string;
  readonly b: string;
}

/** Key of the state that counts choices of ranks: [1]. */
export const allocations = "allocations";
/** Key of the state that marks a module's dropped ranks with 1, by the key of its E: [rank]. */
export const dropped = (e: string): string => `${e}.dropped`;
const sensitivity = (key: string): string => `${key}.sensitivity`;
const uncertainty = (key: string): string => `${key}.uncertainty`;

export function rankAllocation(sites: readonly AllocationSite[], settings: AllocationSettings): UpdateRule {
  const { initialRank, totalSteps, finalSteps } = settings;
  const end = totalSteps - finalSteps;
  const scored = sites.flatMap(({ a, b, e, linear }) => [
    { key: a, shape: [initialRank, linear.in] },
    { key: e, shape: [initialRank, 1] },
    { key: b, shape: [linear.out, initialRank] },
  ]);
  return {
    state: [
      { key: allocations, shape: [1] },
      ...sites.map(({ e }) => ({ key: dropped(e), shape: [initialRank] })),
      ...scored.flatMap(({ key, shape }) => [
        { key: sensitivity(key), shape },
        { key: uncertainty(key), shape },
      ]),
    ],
    apply(update) {
      const { step } = update;
      if (step > end) {
        for (const { e } of sites) dropMarked(update, e);
        return;
      }
      if (step < end) for (const { key } of scored) updateScore(update, key, settings);
      if (step === end || isChoice(step, settings)) choose(update, sites, settings);
    },
  };
}

/** Whether ranks are chosen after an update, before the end. */
function isChoice(step: number, { initialSteps, allocateEvery }: AllocationSettings): boolean {
  return step > initialSteps && step % allocateEvery === 0;
}

/** Ranks that are kept after an update: all of them at first, then fewer by a cubic curve. */
function budgetAt(step: number, modules: number, settings: AllocationSettings): number {
  const { rank, initialRank, totalSteps, initialSteps, finalSteps } = settings;
  const [first, last] = [initialRank * modules, rank * modules];
  const left = 1 - (step - initialSteps) / (totalSteps - finalSteps - initialSteps);
  return Math.trunc((first - last) * left ** 3 + last);
}

/** Moving means of |value * gradient| and of its deviation from that mean. */
function updateScore(
  { parameter, gradient, state }: AppliedUpdate,
  key: string,
  { sensitivityDecay, uncertaintyDecay }: AllocationSettings,
): void {
  const [values, slopes] = [parameter(key), gradient(key)];
  const [means, deviations] = [state(sensitivity(key)), state(uncertainty(key))];
  for (let at = 0; at < values.length; at++) {
    const importance = Math.abs(Math.fround((values[at] ?? 0) * (slopes[at] ?? 0)));
    const mean = blend(means[at] ?? 0, importance, sensitivityDecay);
    means[at] = mean;
    const deviation = Math.abs(Math.fround(importance - mean));
    deviations[at] = blend(deviations[at] ?? 0, deviation, uncertaintyDecay);
  }
}

function blend(old: number, added: number, decay: number): number {
  return Math.fround(Math.fround(Math.fround(decay) * old) + Math.fround(Math.fround(1 - decay) * added));
}

/** Marks the ranks of the lowest scores over all modules, as many as are above the budget, and drops them. */
function choose(update: AppliedUpdate, sites: readonly AllocationSite[], settings: AllocationSettings): void {
  const scores = sites.map((site) => scoresOf(update, site, settings.initialRank));
  const all = Float32Array.from(scores.flatMap((own) => [...own])).sort();
  const excess = all.length - budgetAt(update.step, sites.length, settings);
  const threshold = excess > 0 ? (all[excess - 1] ?? -1) : -1;
  for (const [index, { e }] of sites.entries()) {
    update
      .state(dropped(e))
      .set((scores[index] ?? new Float32Array()).map((score) => Number(score <= threshold)));
    dropMarked(update, e);
  }
  const count = update.state(allocations);
  count[0] = (count[0] ?? 0) + 1;
}

/** Of each rank the score of its E, and the mean scores of its row of A and its column of B. */
function scoresOf({ state }: AppliedUpdate, { linear, a, b, e }: AllocationSite, rank: number): Float32Array {
  const score = (key: string, at: number) =>
    Math.fround((state(sensitivity(key))[at] ?? 0) * (state(uncertainty(key))[at] ?? 0));
  const mean = (key: string, count: number, place: (index: number) => number) => {
    let sum = 0;
    for (let index = 0; index < count; index++) sum += score(key, place(index));
    return Math.fround(sum / count);
  };
  return Float32Array.from({ length: rank }, (_, index) => {
    const ofA = mean(a, linear.in, (column) => index * linear.in + column);
    const ofB = mean(b, linear.out, (row) => row * rank + index);
    return score(e, index) + Math.fround(ofA + ofB);
  });
}

function dropMarked({ parameter, state }: AppliedUpdate, e: string): void {
  const marks = state(dropped(e));
  const values = parameter(e);
  for (let index = 0; index < marks.length; index++) if (marks[index] !== 0) values[index] = 0;
}
