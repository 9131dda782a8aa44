/**
 * @file Choosing the next token from logits: penalties and cuts as transformers' logits processors define them, in
 * the order it applies them, and drawing with a seed. Pure functions over one row's logits [vocabulary].
 */
import { DeltafitError } from "../errors.ts";
import { hashText } from "../graph/print.ts";
import { TorchGenerator } from "../tensor/random.ts";

/** How a token is chosen. What is left out does nothing; without a temperature the most likely token is taken. */
export interface SamplingSettings {
  /** Divides the logits before drawing; 0 takes the most likely token. */
  readonly temperature?: number | undefined;
  /** Draw from this many tokens at most. */
  readonly topK?: number | undefined;
  /** Draw from the most likely tokens that together have this probability (Holtzman et al. 2020). */
  readonly topP?: number | undefined;
  /** Draw from tokens with at least this share of the most likely one's probability (Nguyen et al. 2024). */
  readonly minP?: number | undefined;
  /** Above 1 makes tokens less likely that were there before, the prompt's included (Keskar et al. 2019). */
  readonly repetitionPenalty?: number | undefined;
  /** No sequence of this many tokens comes twice, the prompt's included. */
  readonly noRepeatNgram?: number | undefined;
}

/** Chooses the token after `history`, the prompt's tokens and the new ones so far. */
export type Sampler = (logits: Float32Array, history: readonly number[]) => number;

/** @throws DeltafitError `usage-invalid` for a number out of range. */
export function checkSampling(settings: SamplingSettings): void {
  const check = (name: keyof SamplingSettings, expected: string, holds: (value: number) => boolean): void => {
    const value = settings[name];
    if (value === undefined || holds(value)) return;
    throw new DeltafitError("usage-invalid", `Generation: ${name} is ${value}; expected ${expected}.`);
  };
  const isCount = (value: number): boolean => Number.isInteger(value) && value > 0;
  check("temperature", "a number from 0 up", (value) => value >= 0 && Number.isFinite(value));
  check("topK", "a whole number above 0", isCount);
  check("topP", "a probability above 0 and at most 1", (value) => value > 0 && value <= 1);
  check("minP", "a probability from 0 to 1", (value) => value >= 0 && value <= 1);
  check("repetitionPenalty", "a number above 0", (value) => value > 0 && Number.isFinite(value));
  check("noRepeatNgram", "a whole number above 0", isCount);
}

/** A sampler with random numbers of its own: what it draws depends on the seed, the row and its logits alone. */
export function createSampler(settings: SamplingSettings, seed: number, row: number): Sampler {
  const { temperature = 0 } = settings;
  if (temperature === 0) return (logits, history) => mostLikely(penalised(logits, history, settings));
  const generator = new TorchGenerator(Number.parseInt(hashText(`${seed}/${row}`).slice(0, 8), 16));
  return (logits, history) => {
    const scaled = penalised(logits, history, settings).map((logit) => logit / temperature);
    return draw(cut(scaled, settings), nextUnit(generator));
  };
}

/** 53 random bits: a double in [0, 1). */
function nextUnit(generator: TorchGenerator): number {
  const high = generator.nextUint32() >>> 5;
  return (high * 2 ** 26 + (generator.nextUint32() >>> 6)) * 2 ** -53;
}

/** The logits after the processors that also hold for the most likely token. */
export function penalised(
  logits: Float32Array,
  history: readonly number[],
  settings: SamplingSettings,
): Float32Array {
  const { repetitionPenalty = 1, noRepeatNgram } = settings;
  const penalty = repetitionPenalty === 1 ? logits : penaliseRepetition(logits, history, repetitionPenalty);
  return noRepeatNgram === undefined ? penalty : banRepeatedNgrams(penalty, history, noRepeatNgram);
}

/** The logits after the cuts that only matter for drawing; what is cut off is -Infinity. */
export function cut(logits: Float32Array, { topK, topP = 1, minP = 0 }: SamplingSettings): Float32Array {
  const few = topK === undefined || topK >= logits.length ? logits : keepTopK(logits, topK);
  const nucleus = topP === 1 ? few : keepTopP(few, topP);
  return minP === 0 ? nucleus : keepMinP(nucleus, minP);
}

/** Positive logits of earlier tokens are divided by the penalty, negative ones multiplied, once for each token. */
export function penaliseRepetition(
  logits: Float32Array,
  history: readonly number[],
  penalty: number,
): Float32Array {
  const result = logits.slice();
  for (const id of new Set(history)) {
    const logit = logits[id];
    if (logit !== undefined) result[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return result;
}

/** Rules out each token that would end a sequence of `length` tokens which the history already has. */
export function banRepeatedNgrams(
  logits: Float32Array,
  history: readonly number[],
  length: number,
): Float32Array {
  const result = logits.slice();
  const start = history.length - (length - 1);
  if (start < 0) return result;
  for (let from = 0; from + length <= history.length; from++) {
    let matches = true;
    for (let index = 0; matches && index < length - 1; index++)
      matches = history[from + index] === history[start + index];
    const banned = history[from + length - 1];
    if (matches && banned !== undefined) result[banned] = -Infinity;
  }
  return result;
}

/** Keeps the k largest logits, and those equal to the smallest of them. */
export function keepTopK(logits: Float32Array, k: number): Float32Array {
  const threshold = kthLargest(logits, k);
  return logits.map((logit) => (logit < threshold ? -Infinity : logit));
}

/** A heap of the k largest so far, the smallest at its root: one pass over a vocabulary, nothing sorted. */
export function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k).sort();
  const at = (index: number): number => heap[index] ?? Infinity;
  for (const value of values.subarray(k)) {
    if (!(value > at(0))) continue;
    let hole = 0;
    for (;;) {
      const left = 2 * hole + 1;
      const child = at(left + 1) < at(left) ? left + 1 : left;
      if (at(child) >= value) break;
      heap[hole] = at(child);
      hole = child;
    }
    heap[hole] = value;
  }
  return at(0);
}

/** Cuts off the least likely tokens that together have a probability of at most 1 - topP; one always stays. */
export function keepTopP(logits: Float32Array, topP: number): Float32Array {
  const probabilities = softmax(logits);
  // The tokens at or below the cut's share for each together stay below the cut: they need no sorting.
  const negligible = (1 - topP) / logits.length;
  let below = 0;
  const candidates: number[] = [];
  for (const [id, probability] of probabilities.entries())
    if (probability > negligible) candidates.push(id);
    else below += probability;
  candidates.sort((a, b) => (probabilities[a] ?? 0) - (probabilities[b] ?? 0) || b - a);
  const kept = new Float32Array(logits.length).fill(-Infinity);
  for (const [index, id] of candidates.entries()) {
    below += probabilities[id] ?? 0;
    if (below > 1 - topP || index === candidates.length - 1) kept[id] = logits[id] ?? -Infinity;
  }
  return kept;
}

/** Keeps tokens with at least `minP` times the largest probability. */
export function keepMinP(logits: Float32Array, minP: number): Float32Array {
  const threshold = largest(logits) + Math.log(minP);
  return logits.map((logit) => (logit < threshold ? -Infinity : logit));
}

/** The id of the largest logit, the first of equal ones. */
export function mostLikely(logits: Float32Array): number {
  const maximum = largest(logits);
  return logits.indexOf(maximum);
}

/** The id whose share of the summed probabilities contains `unit`, a number in [0, 1). */
export function draw(logits: Float32Array, unit: number): number {
  const probabilities = softmax(logits);
  let remaining = unit;
  let last = 0;
  for (const [id, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    remaining -= probability;
    if (remaining < 0) return id;
    last = id;
  }
  // Rounding may leave a crumb beyond the last token.
  return last;
}

/** Probabilities of logits, in float64. */
export function softmax(logits: Float32Array): Float64Array {
  const maximum = largest(logits);
  const exponentials = Float64Array.from(logits, (logit) => Math.exp(logit - maximum));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/** Logarithms of the probabilities of logits. */
export function logSoftmax(logits: Float32Array): Float32Array {
  const maximum = largest(logits);
  const logSum = maximum + Math.log(logits.reduce((total, logit) => total + Math.exp(logit - maximum), 0));
  return logits.map((logit) => logit - logSum);
}

function largest(logits: Float32Array): number {
  let maximum = -Infinity;
  let isNumber = true;
  for (const logit of logits) {
    if (logit > maximum) maximum = logit;
    else if (Number.isNaN(logit)) isNumber = false;
  }
  if (isNumber && Number.isFinite(maximum)) return maximum;
  const found = isNumber
    ? maximum > 0
      ? "infinite ones"
      : "none that any setting allows"
    : "some that are no numbers";
  throw new DeltafitError(
    "not-finite",
    `Generation: expected logits to choose a token from, found ${found}.`,
    "Check the adapter's and the model's weights; with noRepeatNgram, that the vocabulary is not used up.",
  );
}
