/** @file Attention over a sequence against the definition: grouped heads, windows, soft caps and row blocks. */
import { describe, expect, it } from "vitest";
import { GraphBuilder } from "../../graph/builder.ts";
import { graphOf } from "../../graph/graph.ts";
import { interpret } from "../../graph/interpret.ts";
import { attend } from "./attention.ts";

const [heads, groups, length, size, scale] = [4, 2, 4, 3, 0.7];

interface Case {
  readonly causal: boolean;
  readonly window?: number;
  readonly softCap?: number;
  readonly blocks?: number;
}

function tensor(count: number, seed: number) {
  const data = Float64Array.from(
    { length: count * length * size },
    (_, index) => 2 * Math.sin((index + 1) * seed),
  );
  return { shape: [1, count, length, size], data };
}

const feeds = { query: tensor(heads, 3.7), key: tensor(groups, 5.9), value: tensor(groups, 7.3) };

function actual({ causal, window, softCap, blocks = 1 }: Case): Float64Array {
  const builder = new GraphBuilder();
  const input = (name: string, count: number) => builder.input(name, "float32", [1, count, length, size]);
  const result = attend(builder, {
    query: input("query", heads),
    key: input("key", groups),
    value: input("value", groups),
    scale,
    causal,
    window,
    softCap,
    pastKeys: 0,
    blocks,
    dropout: (weights) => weights,
  });
  return interpret(graphOf([{ name: "result", value: result }]), feeds)["result"]!.data;
}

function expected({ causal, window = Infinity, softCap }: Case): number[] {
  const row = ({ data }: { data: Float64Array }, head: number, place: number) => [
    ...data.subarray((head * length + place) * size, (head * length + place + 1) * size),
  ];
  const results: number[] = [];
  for (let head = 0; head < heads; head++)
    for (let query = 0; query < length; query++) {
      const group = Math.floor(head / (heads / groups));
      const q = row(feeds.query, head, query);
      const keys = Array.from({ length }, (_, place) => place).filter((place) =>
        causal ? place <= query && query - place < window : Math.abs(query - place) < window,
      );
      const weights = keys.map((place) => {
        const product = row(feeds.key, group, place).reduce(
          (sum, value, index) => sum + value * q[index]!,
          0,
        );
        const score = scale * product;
        return Math.exp(softCap === undefined ? score : softCap * Math.tanh(score / softCap));
      });
      const total = weights.reduce((a, b) => a + b);
      for (let column = 0; column < size; column++)
        results.push(
          keys.reduce(
            (sum, place, index) => sum + (weights[index]! / total) * row(feeds.value, group, place)[column]!,
            0,
          ),
        );
    }
  return results;
}

describe("attend", () => {
  const cases: Record<string, Case> = {
    "keys on both sides": { causal: false },
    "a window to both sides": { causal: false, window: 2 },
    "causal attention": { causal: true },
    "a causal window in two blocks": { causal: true, window: 2, blocks: 2 },
    "a soft cap": { causal: true, softCap: 0.5 },
    "a soft cap in two blocks": { causal: true, softCap: 0.5, blocks: 2 },
  };
  it.each(Object.entries(cases))("follows the definition for %s", (_name, given) => {
    const result = actual(given);
    for (const [index, value] of expected(given).entries()) expect(result[index]).toBeCloseTo(value, 6);
  });
});
