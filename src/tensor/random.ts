/**
 * @file Random numbers as torch's CPU generator draws them, so that what other tools derive from a seed
 * (VeRA's projections, initial adapters, shuffles) comes out the same here. Mersenne Twister MT19937
 * (Matsumoto and Nishimura 1998) with torch's ways of turning its 32-bit words into numbers. Knows
 * nothing of which method draws what.
 */
import { DeltafitError } from "../errors.ts";
import { boxMullerBlock, boxMullerBlockLength } from "./box-muller.ts";
import { elementCount } from "./tensor.ts";

const stateLength = 624;
const shiftLength = 397;
/** From this range on torch draws 64 bits for an integer, to keep the bias of the remainder small. */
const wideRange = 2 ** 28;
/** Above this length torch permutes by another algorithm. */
const maximumPermutation = Math.floor((2 ** 32 - 1) / 20);

/** What a generator needs to go on exactly where it was: plain numbers, so it can be kept in JSON. */
export interface GeneratorState {
  /** The 624 words of the Mersenne Twister. */
  readonly words: readonly number[];
  /** The next word to hand out: 624 when a new block is due. */
  readonly position: number;
  /** The second normal number of a pair of which only the first was used. */
  readonly pendingNormal: number | null;
}

/**
 * A random number generator equal to `torch.Generator("cpu").manual_seed(seed)`.
 *
 * @example
 * ```ts
 * new TorchGenerator(0).uniform(2); // torch.manual_seed(0); torch.rand(2) -> 0.4963, 0.7682
 * ```
 */
export class TorchGenerator {
  readonly #words = new Uint32Array(stateLength);
  #position = stateLength;
  #pendingNormal: number | null = null;

  /** @param seed An integer; torch uses its low 32 bits alone. */
  constructor(seed: number | bigint) {
    if (typeof seed === "number" && !Number.isSafeInteger(seed)) {
      throw new DeltafitError("usage-invalid", `Random seed: expected an integer, found ${seed}.`);
    }
    let word = Number(BigInt.asUintN(32, BigInt(seed)));
    this.#words[0] = word;
    for (let index = 1; index < stateLength; index++) {
      word = (Math.imul(1812433253, word ^ (word >>> 30)) + index) >>> 0;
      this.#words[index] = word;
    }
  }

  /** A generator that goes on where `state` was taken. */
  static fromState(state: GeneratorState): TorchGenerator {
    const { words, position } = state;
    const isWord = (word: number): boolean => Number.isInteger(word) && word >= 0 && word < 2 ** 32;
    const positionIsValid = Number.isInteger(position) && position >= 0 && position <= stateLength;
    if (words.length !== stateLength || !words.every(isWord) || !positionIsValid) {
      throw new DeltafitError(
        "usage-invalid",
        `Random generator state: expected ${stateLength} words of 32 bits and a position up to ${stateLength}, ` +
          `found ${words.length} words and position ${position}.`,
      );
    }
    const generator = new TorchGenerator(0);
    generator.#words.set(words);
    generator.#position = position;
    generator.#pendingNormal = state.pendingNormal;
    return generator;
  }

  state(): GeneratorState {
    return { words: [...this.#words], position: this.#position, pendingNormal: this.#pendingNormal };
  }

  /** The next word of the Mersenne Twister, 0 to 2^32 - 1. */
  nextUint32(): number {
    if (this.#position === stateLength) this.#refill();
    let word = this.#words[this.#position++] as number;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #refill(): void {
    const words = this.#words;
    for (let index = 0; index < stateLength; index++) {
      const next = words[(index + 1) % stateLength] as number;
      const mixed = ((words[index] as number) & 0x80000000) | (next & 0x7fffffff);
      const far = words[(index + shiftLength) % stateLength] as number;
      words[index] = far ^ (mixed >>> 1) ^ (next & 1 ? 0x9908b0df : 0);
    }
    this.#position = 0;
  }

  /** 24 bits of one word: a float32 in [0, 1). */
  #nextUnitFloat32(): number {
    return (this.nextUint32() & 0xffffff) * 2 ** -24;
  }

  /** 53 bits of two words, the high word first: a double in [0, 1). */
  #nextUnitFloat64(): number {
    const high = this.nextUint32() & 0x1fffff;
    return (high * 2 ** 32 + this.nextUint32()) * 2 ** -53;
  }

  /** `torch.empty(count).uniform_(from, to)`: float32 in [from, to). */
  uniform(count: number, from = 0, to = 1): Float32Array {
    const low = Math.fround(from);
    const range = Math.fround(Math.fround(to) - low);
    // torch's compiled code fuses the product and the sum: the product of two 24-bit numbers is exact in a
    // double, so that only the sum is rounded.
    const values = new Float32Array(count);
    for (let index = 0; index < count; index++) values[index] = this.#nextUnitFloat32() * range + low;
    return values;
  }

  /**
   * `torch.empty(count).normal_(mean, std)`: float32. As in torch, the numbers for 15 elements are not the
   * first 15 of those for 16.
   */
  normal(count: number, mean = 0, standardDeviation = 1): Float32Array {
    if (count < boxMullerBlockLength) {
      return Float32Array.from({ length: count }, () => this.#nextNormal() * standardDeviation + mean);
    }
    const values = this.uniform(count);
    for (let start = 0; start + boxMullerBlockLength <= count; start += boxMullerBlockLength) {
      boxMullerBlock(values.subarray(start, start + boxMullerBlockLength), mean, standardDeviation);
    }
    if (count % boxMullerBlockLength !== 0) {
      const last = values.subarray(count - boxMullerBlockLength);
      last.set(this.uniform(boxMullerBlockLength));
      boxMullerBlock(last, mean, standardDeviation);
    }
    return values;
  }

  /** Box and Muller 1958: two uniform numbers become two normal ones; the second waits for the next call. */
  #nextNormal(): number {
    if (this.#pendingNormal !== null) {
      const pending = this.#pendingNormal;
      this.#pendingNormal = null;
      return pending;
    }
    const u1 = this.#nextUnitFloat64();
    const u2 = this.#nextUnitFloat64();
    const radius = Math.sqrt(-2 * Math.log1p(-u2));
    this.#pendingNormal = radius * Math.sin(2 * Math.PI * u1);
    return radius * Math.cos(2 * Math.PI * u1);
  }

  /** `torch.randperm(n)`. */
  permutation(length: number): Int32Array {
    if (!Number.isInteger(length) || length < 0 || length > maximumPermutation) {
      throw new DeltafitError(
        "usage-invalid",
        `Random permutation: expected a length from 0 to ${maximumPermutation}, found ${length}.`,
      );
    }
    const values = Int32Array.from({ length }, (_, index) => index);
    for (let index = 0; index < length - 1; index++) {
      const other = index + (this.nextUint32() % (length - index));
      const kept = values[index] as number;
      values[index] = values[other] as number;
      values[other] = kept;
    }
    return values;
  }

  /** `torch.randint(low, high, [count])`: integers in [low, high). */
  integers(count: number, low: number, high: number): Int32Array {
    const range = high - low;
    const isInt32 = low === (low | 0) && high - 1 === ((high - 1) | 0);
    if (!isInt32 || range <= 0) {
      throw new DeltafitError(
        "usage-invalid",
        `Random integers: expected 32-bit integers low < high, found low ${low} and high ${high}.`,
      );
    }
    const isWide = range >= wideRange;
    return Int32Array.from(
      { length: count },
      () => low + (isWide ? this.#wide(range) : this.nextUint32() % range),
    );
  }

  #wide(range: number): number {
    const high = BigInt(this.nextUint32());
    return Number(((high << 32n) | BigInt(this.nextUint32())) % BigInt(range));
  }

  /** `torch.bernoulli(torch.full([count], probability))`: 1 with the given probability, else 0. */
  bernoulli(count: number, probability: number): Uint8Array {
    const threshold = Math.fround(probability);
    return Uint8Array.from({ length: count }, () => (this.#nextUnitFloat32() < threshold ? 1 : 0));
  }

  /**
   * `torch.nn.init.kaiming_uniform_(torch.empty(shape), a)` (He et al. 2015, fan-in mode, leaky ReLU of
   * slope `a`): uniform within sqrt(6 / ((1 + a^2) * fan in)), row-major. The fan-in is the product of all
   * extents but the first. LoRA's A has a = sqrt(5), VeRA's projections a = 0.
   */
  kaimingUniform(shape: readonly number[], a: number): Float32Array {
    const fanIn = elementCount(shape.slice(1));
    if (shape.length < 2 || fanIn === 0) {
      throw new DeltafitError(
        "usage-invalid",
        `Kaiming initialisation: expected two or more axes and a fan-in above 0, found shape [${shape.join(", ")}].`,
      );
    }
    const gain = Math.sqrt(2 / (1 + a * a));
    const bound = Math.sqrt(3) * (gain / Math.sqrt(fanIn));
    return this.uniform(elementCount(shape), -bound, bound);
  }
}
