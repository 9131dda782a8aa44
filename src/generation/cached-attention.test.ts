/** @file Attention over a cache against the definition, with padding, windows, grouped heads and a prefix. */
import { describe, expect, it } from "vitest";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import { interpret } from "../graph/interpret.ts";
import { attendCached } from "./cached-attention.ts";

const absent = 2 ** 40;
const [batch, heads, groups, size] = [2, 4, 2, 3];

interface Case {
  /** Positions of the cached places of each row, `absent` where there is no key. */
  readonly past: readonly (readonly number[])[];
  /** Positions of the queries, `absent` for padding. */
  readonly own: readonly (readonly number[])[];
  readonly window?: number;
  readonly prefix?: number;
  readonly softCap?: number;
}

const numbers = (count: number, seed: number) =>
  Float64Array.from({ length: count }, (_, index) => Math.sin((index + 1) * seed));

/** Both results at queries that are no padding, [row][query][head * size]. */
function run({ past, own, window, prefix = 0, softCap }: Case) {
  const builder = new GraphBuilder();
  const [pastLength, length] = [past[0]!.length, own[0]!.length];
  const input = (name: string, count: number, keys: string | number) =>
    builder.input(name, "float32", ["batch", count, keys, size]);
  const front = (name: string) => {
    const value = input(name, groups, "length");
    return prefix === 0
      ? value
      : builder.concat(
          [
            builder.expand(
              builder.constant("float32", [1, 1, prefix, size], [...numbers(prefix * size, 0.3)]),
              ["batch", groups, prefix, size],
            ),
            value,
          ],
          2,
        );
  };
  const pastKey = input("past.key", groups, "past");
  const result = attendCached(
    builder,
    {
      path: "test",
      query: input("query", heads, "length"),
      key: front("key"),
      value: front("value"),
      scale: 0.7,
      causal: true,
      window,
      softCap,
      dropout: 0,
    },
    {
      key: pastKey,
      value: input("past.value", groups, "past"),
      positions: builder.input("positions", "int64", ["batch", "length"]),
      keyPositions: builder.input("key.positions", "int64", ["batch", "length+past"]),
    },
  );
  const tensor = (shape: number[], seed: number) => ({
    shape,
    data: numbers(
      shape.reduce((a, b) => a * b),
      seed,
    ),
  });
  const feeds = {
    "past.key": tensor([batch, groups, pastLength, size], 1.1),
    "past.value": tensor([batch, groups, pastLength, size], 2.3),
    query: tensor([batch, heads, length, size], 3.7),
    key: tensor([batch, groups, length, size], 5.9),
    value: tensor([batch, groups, length, size], 7.3),
    positions: {
      shape: [batch, length],
      data: Float64Array.from(own.flat(), (position) => (position === absent ? 0 : position)),
    },
    "key.positions": {
      shape: [batch, pastLength + length],
      data: Float64Array.from(own.flatMap((row, index) => [...past[index]!, ...row])),
    },
  };
  const actual = interpret(graphOf([{ name: "result", value: result }]), feeds)["result"]!;
  const compared: { actual: number[]; expected: number[] }[] = [];
  for (const [row, positions] of own.entries())
    for (const [query, position] of positions.entries()) {
      if (position === absent) continue;
      for (let head = 0; head < heads; head++) {
        const group = (head / (heads / groups)) | 0;
        const at = (data: Float64Array, count: number, width: number, index: number, place: number) => [
          ...data.subarray(
            ((row * count + index) * width + place) * size,
            ((row * count + index) * width + place + 1) * size,
          ),
        ];
        const q = at(feeds.query.data, heads, length, head, query);
        const seen = [
          ...past[row]!.map((keyPosition, place) => ({
            keyPosition,
            key: at(feeds["past.key"].data, groups, pastLength, group, place),
            value: at(feeds["past.value"].data, groups, pastLength, group, place),
          })),
          ...Array.from({ length: prefix }, (_, place) => ({
            keyPosition: place - prefix,
            key: [...numbers(prefix * size, 0.3).subarray(place * size, (place + 1) * size)],
            value: [...numbers(prefix * size, 0.3).subarray(place * size, (place + 1) * size)],
          })),
          ...positions.map((keyPosition, place) => ({
            keyPosition,
            key: at(feeds.key.data, groups, length, group, place),
            value: at(feeds.value.data, groups, length, group, place),
          })),
        ].filter(
          ({ keyPosition }) =>
            keyPosition <= position && (window === undefined || position - keyPosition < window),
        );
        const scores = seen.map(({ key }) => {
          const score = 0.7 * key.reduce((sum, value, index) => sum + value * q[index]!, 0);
          return Math.exp(softCap === undefined ? score : softCap * Math.tanh(score / softCap));
        });
        const total = scores.reduce((a, b) => a + b);
        const expected = Array.from({ length: size }, (_, index) =>
          seen.reduce((sum, { value }, place) => sum + (scores[place]! / total) * value[index]!, 0),
        );
        compared.push({ actual: at(actual.data, heads, length, head, query), expected });
      }
    }
  return compared;
}

describe("attendCached", () => {
  const cases: Record<string, Case> = {
    "a prompt with left padding over an empty cache": {
      past: [
        [absent, absent],
        [absent, absent],
      ],
      own: [
        [0, 1, 2],
        [absent, 0, 1],
      ],
    },
    "one token over caches of different lengths, with places in reserve": {
      past: [
        [0, 1, 2, absent],
        [absent, 0, 1, absent],
      ],
      own: [[3], [2]],
    },
    "several tokens over a cache": {
      past: [
        [0, 1, absent],
        [0, absent, absent],
      ],
      own: [
        [2, 3],
        [absent, 1],
      ],
    },
    "a window that begins in the cache": {
      past: [
        [0, 1, 2, absent],
        [absent, 0, 1, absent],
      ],
      own: [
        [3, 4],
        [2, 3],
      ],
      window: 3,
    },
    "a prefix in front of the own keys": {
      past: [
        [0, 1, absent],
        [absent, 0, absent],
      ],
      own: [
        [2, 3],
        [1, 2],
      ],
      prefix: 2,
    },
    "a soft cap of the scores": {
      past: [
        [0, 1, absent],
        [absent, 0, absent],
      ],
      own: [
        [2, 3],
        [1, 2],
      ],
      softCap: 0.3,
    },
    "a window that counts a prefix": {
      past: [
        [0, absent],
        [absent, absent],
      ],
      own: [[1], [0]],
      window: 3,
      prefix: 2,
    },
  };
  it.each(Object.entries(cases))("follows the definition for %s", (_name, given) => {
    const compared = run(given);
    expect(compared.length).toBeGreaterThan(0);
    for (const { actual, expected } of compared)
      for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 10);
  });
});
