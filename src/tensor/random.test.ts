import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { TorchGenerator } from "./random.ts";

/** A call of torch 2.15 and what it returned, row-major; test/fixtures/rng/README.md tells how it was made. */
interface TorchCase {
  readonly call: string;
  readonly seed: number;
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly projection?: { readonly rank: number; readonly inputs: number; readonly outputs: number };
}

const fixture = new URL("../../test/fixtures/rng/torch.json", import.meta.url);
const cases = JSON.parse(readFileSync(fixture, "utf8")) as readonly TorchCase[];

function drawn({ call, seed, shape, values, projection }: TorchCase): ArrayLike<number> {
  const generator = new TorchGenerator(seed);
  const count = values.length;
  const { rank, inputs, outputs } = projection ?? { rank: 0, inputs: 0, outputs: 0 };
  switch (call) {
    case "rand":
      return generator.uniform(count);
    case "randn":
      return generator.normal(count);
    case "normal_(std=0.5)":
      return generator.normal(count, 0, 0.5);
    case "rand-then-randn":
      return [...generator.uniform(3), ...generator.normal(count - 3)];
    case "kaiming_uniform_(a=sqrt(5))":
      return generator.kaimingUniform(shape, Math.sqrt(5));
    case "vera_A":
      return generator.kaimingUniform([rank, inputs], 0);
    case "vera_B":
      generator.kaimingUniform([rank, inputs], 0);
      return generator.kaimingUniform([outputs, rank], 0);
    case "randperm":
      return generator.permutation(count);
    case "randint(0,1000)":
      return generator.integers(count, 0, 1000);
    case "bernoulli(0.3)":
      return generator.bernoulli(count, 0.3);
    default:
      throw new Error(`The fixture has the unknown call ${call}.`);
  }
}

describe("equals torch bit for bit", () => {
  test.each(cases)("$call, seed $seed, shape $shape", (torchCase) => {
    expect([...Float32Array.from(drawn(torchCase))]).toEqual([...Float32Array.from(torchCase.values)]);
  });
});

test("the words are those of MT19937, and only the low 32 bits of the seed count", () => {
  const generator = new TorchGenerator(2n ** 40n);
  const words = Array.from({ length: 5 }, () => generator.nextUint32());
  expect(words).toEqual([2357136044, 2546248239, 3071714933, 3626093760, 2588848963]);
});

test("word 10,000 of seed 5489 is the one the C++ standard demands of mt19937", () => {
  const generator = new TorchGenerator(5489);
  for (let index = 1; index < 10_000; index++) generator.nextUint32();
  expect(generator.nextUint32()).toBe(4123659995);
});

test("the second of a pair of normal numbers is kept for the next call", () => {
  const once = new TorchGenerator(7).normal(6);
  const generator = new TorchGenerator(7);
  expect([...generator.normal(3), ...generator.normal(3)]).toEqual([...once]);
});

test("a wide range of integers takes two words each and stays within its bounds", () => {
  const generator = new TorchGenerator(0);
  // (2357136044 * 2^32 + 2546248239) mod 2^28 is the second word mod 2^28, and so on.
  const expected = [2546248239, 3626093760].map((word) => (word % 2 ** 28) - 100);
  expect([...generator.integers(2, -100, 2 ** 28 - 100)]).toEqual(expected);
});

test("a generator goes on from its state, also through JSON", () => {
  const generator = new TorchGenerator(3);
  generator.normal(5);
  const state = generator.state();
  const expected = [...generator.normal(5), ...generator.uniform(700)];
  const restored = TorchGenerator.fromState(JSON.parse(JSON.stringify(state)) as typeof state);
  expect([...restored.normal(5), ...restored.uniform(700)]).toEqual(expected);
});

test("mean and standard deviation shift and scale", () => {
  const plain = new TorchGenerator(1).normal(32);
  const scaled = new TorchGenerator(1).normal(32, 2, 0.25);
  expect([...scaled]).toEqual([...plain.map((value) => value * 0.25 + 2)]);
});

describe("refuses", () => {
  test("a seed that is no integer", () => {
    expect(() => new TorchGenerator(0.5)).toThrowErrorMatchingInlineSnapshot(
      `[DeltafitError: Random seed: expected an integer, found 0.5.]`,
    );
  });

  test("a permutation of negative length", () => {
    expect(() => new TorchGenerator(0).permutation(-1)).toThrowErrorMatchingInlineSnapshot(
      `[DeltafitError: Random permutation: expected a length from 0 to 214748364, found -1.]`,
    );
  });

  test("an empty range of integers", () => {
    expect(() => new TorchGenerator(0).integers(1, 5, 5)).toThrowErrorMatchingInlineSnapshot(
      `[DeltafitError: Random integers: expected 32-bit integers low < high, found low 5 and high 5.]`,
    );
  });

  test("a vector for Kaiming's initialisation", () => {
    expect(() => new TorchGenerator(0).kaimingUniform([4], 0)).toThrowErrorMatchingInlineSnapshot(
      `[DeltafitError: Kaiming initialisation: expected two or more axes and a fan-in above 0, found shape [4].]`,
    );
  });

  test("a state of the wrong length", () => {
    const state = { words: [1, 2], position: 0, pendingNormal: null };
    expect(() => TorchGenerator.fromState(state)).toThrowErrorMatchingInlineSnapshot(
      `[DeltafitError: Random generator state: expected 624 words of 32 bits and a position up to 624, found 2 words and position 0.]`,
    );
  });
});
