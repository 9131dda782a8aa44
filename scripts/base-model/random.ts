/**
 * @file A small seeded random source for generated text: the same seed gives the same choices on every
 * platform. It knows nothing about words or documents and is not fit for cryptography.
 */

/** A stream of numbers in [0, 1); reading it advances it. */
export interface Random {
  next(): number;
}

/**
 * Makes a random source with the mulberry32 recurrence, whose 32-bit integer arithmetic is exact in JavaScript.
 * @param seed any integer; only its low 32 bits count.
 */
export function createRandom(seed: number): Random {
  let state = seed | 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    },
  };
}

/** A seed for item `index` of stream `seed`, so that neighbouring items start from unrelated states. */
export function deriveSeed(seed: number, index: number): number {
  let mixed = Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul((index | 0) + 0x7f4a7c15, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) | 0;
}

/** An integer from `low` to `high`, both included. */
export function integerBetween(random: Random, low: number, high: number): number {
  return low + Math.floor(random.next() * (high - low + 1));
}

/** True with the given probability. */
export function chance(random: Random, probability: number): boolean {
  return random.next() < probability;
}

/** One element of a non-empty list. */
export function pick<T>(random: Random, list: readonly T[]): T {
  const chosen = list[Math.floor(random.next() * list.length)];
  if (chosen === undefined) {
    throw new RangeError("pick: the list is empty or has holes.");
  }
  return chosen;
}

/** One element of a non-empty list of [weight, value] pairs, in proportion to the weights. */
export function pickWeighted<T>(random: Random, list: readonly (readonly [number, T])[]): T {
  const total = list.reduce((sum, [weight]) => sum + weight, 0);
  let left = random.next() * total;
  for (const [weight, value] of list) {
    left -= weight;
    if (left < 0) {
      return value;
    }
  }
  return pick(
    random,
    list.map(([, value]) => value),
  );
}

/** A shuffled copy (Fisher-Yates). */
export function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const copy = [...list];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(random.next() * (last + 1));
    const moved = copy[last] as T;
    copy[last] = copy[other] as T;
    copy[other] = moved;
  }
  return copy;
}
