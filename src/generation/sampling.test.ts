/** @file Sampling against cases computed by hand. */
import { describe, expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import {
  banRepeatedNgrams,
  checkSampling,
  createSampler,
  cut,
  draw,
  keepMinP,
  keepTopK,
  keepTopP,
  mostLikely,
  penalised,
  penaliseRepetition,
  softmax,
} from "./sampling.ts";

const row = (...logits: number[]) => Float32Array.from(logits);
/** Logits whose probabilities are the given numbers, which sum to 1. */
const withProbabilities = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);
const kept = (logits: Float32Array) =>
  [...logits.entries()].filter(([, logit]) => logit !== -Infinity).map(([id]) => id);

describe("processors", () => {
  it("divides positive and multiplies negative logits of earlier tokens, each once", () => {
    expect([...penaliseRepetition(row(2, -2, 3, 0), [0, 1, 1, 0], 2)]).toEqual([1, -4, 3, 0]);
  });

  it("bans what would complete an n-gram again", () => {
    // After 1 2 came 3 and 4; the history ends in 1 2.
    expect(kept(banRepeatedNgrams(row(0, 0, 0, 0, 0, 0), [1, 2, 3, 1, 2, 4, 1, 2], 3))).toEqual([0, 1, 2, 5]);
    expect(kept(banRepeatedNgrams(row(0, 0, 0), [2], 3))).toEqual([0, 1, 2]);
    // With n = 1 no token comes twice.
    expect(kept(banRepeatedNgrams(row(0, 0, 0), [2, 0], 1))).toEqual([1]);
    expect(kept(banRepeatedNgrams(row(0, 0, 0), [1, 1], 2))).toEqual([0, 2]);
  });

  it("keeps the k largest and ties with the last of them", () => {
    expect(kept(keepTopK(row(1, 5, 3, 3, 0), 2))).toEqual([1, 2, 3]);
    expect(kept(keepTopK(row(1, 5, 3, 2, 0), 1))).toEqual([1]);
    expect(kept(keepTopK(row(9, 8, 7, 6, 5, 4), 3))).toEqual([0, 1, 2]);
    expect(kept(keepTopK(row(4, 5, 6, 7, 8, 9), 4))).toEqual([2, 3, 4, 5]);
  });

  it("agrees with sorting for the k largest of many", () => {
    const logits = Float32Array.from(
      { length: 1000 },
      (_, index) => Math.fround(Math.sin(index * 12.9898) * 43758.5453) % 1,
    );
    for (const k of [1, 2, 7, 50, 999]) {
      const threshold = logits.toSorted().at(-k)!;
      expect(kept(keepTopK(logits, k))).toEqual([...logits.keys()].filter((id) => logits[id]! >= threshold));
    }
  });

  it("cuts off the tail that has at most 1 - p", () => {
    const logits = withProbabilities(0.1, 0.5, 0.05, 0.35);
    // Ascending sums: 0.05, 0.15, 0.5, 1.
    expect(kept(keepTopP(logits, 0.8))).toEqual([1, 3]);
    expect(kept(keepTopP(logits, 0.9))).toEqual([0, 1, 3]);
    expect(kept(keepTopP(logits, 0.97))).toEqual([0, 1, 2, 3]);
    expect(kept(keepTopP(logits, 0.01))).toEqual([1]);
  });

  it("sums the small tokens that it does not sort", () => {
    // 996 tokens of 0.0001 and 0.6 + 0.2 + 0.1 + 0.0004: below 0.07995 fit 799 of the small ones.
    const small = Array.from({ length: 996 }, () => 0.0001);
    const logits = withProbabilities(0.6, 0.2, 0.1, 0.0004, ...small);
    const ids = kept(keepTopP(logits, 0.9));
    expect(ids).toEqual([0, 1, 2]);
    expect(kept(keepTopP(logits, 0.92005)).length).toBe(4 + 996 - 799);
  });

  it("keeps tokens with a share of the largest probability", () => {
    expect(kept(keepMinP(withProbabilities(0.1, 0.5, 0.04, 0.36), 0.19))).toEqual([0, 1, 3]);
    expect(kept(keepMinP(withProbabilities(0.1, 0.5, 0.04, 0.36), 1))).toEqual([1]);
  });

  it("applies each cut to what the one before left", () => {
    const logits = withProbabilities(0.4, 0.3, 0.2, 0.1);
    // Among the two largest, 0.4 and 0.3 have 4/7 and 3/7 of the probability: 3/7 is above 1 - 0.6.
    expect(kept(cut(logits, { topK: 2, topP: 0.6 }))).toEqual([0, 1]);
    // Of all four the sums are 0.1, 0.3, 0.6: the second largest goes beyond 0.4.
    expect(kept(cut(logits, { topP: 0.6 }))).toEqual([0, 1]);
    expect(kept(cut(logits, { topK: 2, topP: 0.57 }))).toEqual([0]);
    expect(kept(cut(logits, { topP: 0.65, minP: 0.7 }))).toEqual([0, 1]);
    expect(kept(cut(logits, {}))).toEqual([0, 1, 2, 3]);
  });

  it("leaves the given logits as they were", () => {
    const logits = row(1, 2, 3);
    penalised(logits, [0, 1], { repetitionPenalty: 3, noRepeatNgram: 1 });
    cut(logits, { topK: 1, topP: 0.5, minP: 0.5 });
    expect([...logits]).toEqual([1, 2, 3]);
  });
});

describe("choosing", () => {
  it("takes the first of equally likely tokens", () => {
    expect(mostLikely(row(1, 4, 4, 2))).toBe(1);
  });

  it("draws where the number falls", () => {
    const logits = withProbabilities(0.25, 0.5, 0.25);
    expect([0, 0.2, 0.3, 0.7, 0.8, 0.999].map((unit) => draw(logits, unit))).toEqual([0, 0, 1, 1, 2, 2]);
    expect(draw(row(-Infinity, 0, -Infinity), 0)).toBe(1);
  });

  it("has probabilities that sum to one, whatever the logits' size", () => {
    expect(softmax(row(1000, 1000))).toEqual(Float64Array.of(0.5, 0.5));
  });

  it("draws the same from the same seed and row, and else differently", () => {
    const logits = row(...Array.from({ length: 50 }, (_, id) => Math.sin(id)));
    const ids = (seed: number, index: number) => {
      const sampler = createSampler({ temperature: 1 }, seed, index);
      return Array.from({ length: 20 }, () => sampler(logits, []));
    };
    expect(ids(1, 0)).toEqual(ids(1, 0));
    expect(ids(1, 0)).not.toEqual(ids(2, 0));
    expect(ids(1, 0)).not.toEqual(ids(1, 1));
  });

  it("draws tokens as often as they are likely", () => {
    const sampler = createSampler({ temperature: 2 }, 7, 0);
    const logits = row(0, 2 * Math.log(3));
    const count = Array.from({ length: 4000 }, () => sampler(logits, [])).filter((id) => id === 1).length;
    // Mean 3000, deviation 27.
    expect(Math.abs(count - 3000)).toBeLessThan(110);
  });

  it("penalises also without drawing", () => {
    expect(createSampler({ repetitionPenalty: 2 }, 0, 0)(row(3, 2), [0])).toBe(1);
  });
});

describe("errors", () => {
  it("names the setting", () => {
    expect(failureOf(() => checkSampling({ topP: 1.5 })).message).toBe(
      "Generation: topP is 1.5; expected a probability above 0 and at most 1.",
    );
    expect(failureOf(() => checkSampling({ topK: 0 })).message).toBe(
      "Generation: topK is 0; expected a whole number above 0.",
    );
    expect(failureOf(() => checkSampling({ temperature: Number.NaN })).message).toBe(
      "Generation: temperature is NaN; expected a number from 0 up.",
    );
  });

  it("refuses logits that are no numbers, and rows without a token left", () => {
    expect(failureOf(() => mostLikely(row(1, Number.NaN))).message).toBe(
      "Generation: expected logits to choose a token from, found some that are no numbers.",
    );
    expect(failureOf(() => mostLikely(row(-Infinity, -Infinity))).message).toBe(
      "Generation: expected logits to choose a token from, found none that any setting allows.",
    );
    expect(failureOf(() => mostLikely(row(Infinity, 0))).message).toBe(
      "Generation: expected logits to choose a token from, found infinite ones.",
    );
  });
});
