/** @file Attention over the sequence against its definition: windows to both sides, biases of the scores, padding. */
import { expect, test } from "vitest";
import { GraphBuilder } from "../../graph/builder.ts";
import { graphOf } from "../../graph/graph.ts";
import { interpret } from "../../graph/interpret.ts";
import { attend } from "./attention.ts";

const [batch, heads, groups, size, length] = [2, 4, 2, 3, 5];
const scale = 0.6;

interface Case {
  readonly causal: boolean;
  readonly window?: number;
  readonly bias?: boolean;
  readonly past?: number;
  readonly blocks?: number;
  readonly mask?: readonly number[];
}

const numbers = (count: number, seed: number) =>
  Float64Array.from({ length: count }, (_, index) => Math.sin((index + 1) * seed));

function attended({ causal, window, bias = false, past = 0, blocks = 1, mask }: Case) {
  const keys = past + length;
  const builder = new GraphBuilder();
  const data = {
    query: { shape: [batch, heads, length, size], data: numbers(batch * heads * length * size, 0.7) },
    key: { shape: [batch, groups, keys, size], data: numbers(batch * groups * keys * size, 1.1) },
    value: { shape: [batch, groups, keys, size], data: numbers(batch * groups * keys * size, 1.9) },
    bias: { shape: [1, heads, length, length], data: numbers(heads * length * length, 0.4) },
    mask: { shape: [batch, keys], data: Float64Array.from(mask ?? []) },
  };
  const input = (name: "query" | "key" | "value" | "bias") =>
    builder.input(name, "float32", data[name].shape);
  const value = attend(builder, {
    query: input("query"),
    key: input("key"),
    value: input("value"),
    scale,
    causal,
    window,
    bias: bias ? input("bias") : undefined,
    pastKeys: past,
    keyMask: mask ? builder.input("mask", "int64", [batch, keys]) : undefined,
    blocks,
    dropout: (weights) => weights,
  });
  const result = interpret(graphOf([{ name: "result", value }]), data)["result"];
  return { data, keys, result: Array.from(result?.data ?? []) };
}

/** softmax(scale q . k + bias) v over the keys that may be seen. */
function definition({ causal, window = Infinity, bias = false, past = 0, mask }: Case): number[] {
  const { data, keys } = attended({ causal, past });
  const expected: number[] = [];
  for (let row = 0; row < batch; row++)
    for (let head = 0; head < heads; head++)
      for (let i = 0; i < length; i++) {
        const group = row * groups + Math.floor((head * groups) / heads);
        const scores = Array.from({ length: keys }, (_, j) => {
          const distance = i + past - j;
          const isSeen = distance < window && distance > -window && !(causal && distance < 0);
          if (!isSeen || mask?.[row * keys + j] === 0) return -Infinity;
          let product = 0;
          for (let index = 0; index < size; index++)
            product +=
              (data.query.data[((row * heads + head) * length + i) * size + index] ?? 0) *
              (data.key.data[(group * keys + j) * size + index] ?? 0);
          const extra =
            bias && j >= past ? (data.bias.data[(head * length + i) * length + j - past] ?? 0) : 0;
          return scale * product + extra;
        });
        const weights = scores.map((score) => Math.exp(score));
        const total = weights.reduce((a, b) => a + b);
        for (let index = 0; index < size; index++)
          expected.push(
            weights.reduce(
              (sum, weight, j) =>
                sum + (weight / total) * (data.value.data[(group * keys + j) * size + index] ?? 0),
              0,
            ),
          );
      }
  return expected;
}

const mask = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0];

test.each<[string, Case]>([
  ["to both sides", { causal: false }],
  ["in a window to both sides", { causal: false, window: 2 }],
  ["in a window of one key", { causal: false, window: 1 }],
  ["in a window looking back", { causal: true, window: 3 }],
  ["with a bias", { causal: false, bias: true }],
  ["with a bias and padding", { causal: false, bias: true, mask }],
  ["with a bias and keys in front, which get none", { causal: false, bias: true, past: 2 }],
  ["with a bias, causal, in row blocks", { causal: true, bias: true, blocks: 5 }],
])("attention %s", (_name, settings) => {
  const { result } = attended(settings);
  const expected = definition(settings);
  expect(result).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(result[index]).toBeCloseTo(value, 10);
});
