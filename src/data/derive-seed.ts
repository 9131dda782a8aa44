/** @file Seeds for independent streams of random numbers out of one seed. Draws nothing itself. */

/**
 * A 32-bit seed from a run's seed and what it is for, such as an epoch and an example's index: each part is
 * added to a multiple of the golden ratio and mixed by the finaliser of MurmurHash3, as in SplitMix (Steele,
 * Lea and Flood 2014). Parts are integers; of large ones all bits count.
 */
export function deriveSeed(...parts: readonly number[]): number {
  return (
    parts.reduce((state, part) => {
      const low = part | 0;
      const high = Math.floor(part / 2 ** 32) | 0;
      return mix((mix((state + 0x9e3779b9 + low) | 0) + high) | 0);
    }, 0) >>> 0
  );
}

function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
