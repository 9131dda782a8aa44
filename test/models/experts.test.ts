/** @file The mixture of experts against its definition: each token through its own experts alone, and how busy those are. */
import { describe, expect, test } from "vitest";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { graphOf } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import { createForwardContext } from "../../src/methods/forward-pass.ts";
import type { ForwardContext } from "../../src/models/forward.ts";
import { balanceLoss, mixtureOfExperts } from "../../src/models/layers/experts.ts";
import type { Routing } from "../../src/models/layers/experts.ts";

const [batch, length, hidden, experts, perToken] = [2, 3, 4, 5, 2];
const tokens = batch * length;
const mask = [1, 1, 1, 1, 1, 0];
const numbers = (count: number, step: number) =>
  Array.from({ length: count }, (_, index) => Math.sin((index + 1) * step));
const x = numbers(tokens * hidden, 0.8);
const gate = numbers(experts * hidden, 1.7);

interface Run {
  readonly output: readonly number[];
  readonly probabilities: readonly number[];
  readonly chosen: readonly number[];
  readonly loss: number;
}

/** Expert number n is x -> (n + 1) x + x², so that what each adds can be told apart. */
const expertOf = (number: number, value: number) => (number + 1) * value + value * value;

/** @param layers how often the same layer is met. */
function run(gateWeight: readonly number[], { padding = true, layers = 1 } = {}): Run {
  const builder = new GraphBuilder();
  const context: ForwardContext = createForwardContext({
    builder,
    adapters: [],
    training: false,
    padding,
    attentionBlocks: 1,
  });
  const expert = (path: string, value: Value) =>
    builder.add(builder.scale(value, Number(path.split(".").at(-1)) + 1), builder.multiply(value, value));
  const input = builder.input("x", "float32", [context.sequence.tokens, hidden]);
  const results = Array.from({ length: layers }, (_, index) =>
    mixtureOfExperts(context, "moe", index === 0 ? input : builder.negate(input), {
      ...{ hidden, experts, perToken, expert },
    }),
  );
  const routings = results.map(({ routing }) => routing);
  const [first] = results as [{ output: Value; routing: Routing }];
  const outputs = interpret(
    graphOf([
      { name: "output", value: first.output },
      { name: "probabilities", value: first.routing.probabilities },
      { name: "chosen", value: first.routing.chosen },
      { name: "loss", value: balanceLoss(context, routings) },
      // The position ids bind the symbols of the batch and the length.
      { name: "positions", value: context.sequence.positions },
    ]),
    {
      x: { shape: [tokens, hidden], data: Float64Array.from(x) },
      "moe.gate.weight": { shape: [experts, hidden], data: Float64Array.from(gateWeight) },
      position_ids: {
        shape: [batch, length],
        data: Float64Array.from({ length: tokens }, (_, at) => at % length),
      },
      attention_mask: { shape: [batch, length], data: Float64Array.from(mask) },
    },
  );
  const read = (name: string) => Array.from(outputs[name]?.data ?? []);
  return {
    output: read("output"),
    probabilities: read("probabilities"),
    chosen: read("chosen"),
    loss: read("loss")[0] ?? NaN,
  };
}

const row = (values: readonly number[], index: number, width: number) =>
  values.slice(index * width, (index + 1) * width);
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

/** Probabilities of the experts for a token, and the numbers of the chosen ones, the likeliest first. */
function route(token: readonly number[], gateWeight: readonly number[]) {
  const scores = Array.from({ length: experts }, (_, expert) =>
    Math.exp(sum(token.map((value, at) => value * (gateWeight[expert * hidden + at] ?? 0)))),
  );
  const probabilities = scores.map((score) => score / sum(scores));
  const order = probabilities.map((_, expert) => expert);
  order.sort((a, b) => (probabilities[b] ?? 0) - (probabilities[a] ?? 0) || a - b);
  return { probabilities, chosen: order.slice(0, perToken) };
}

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 12);
}

test("each token is the weighted sum of its own experts", () => {
  const expected = Array.from({ length: tokens }, (_, index) => {
    const token = row(x, index, hidden);
    const { probabilities, chosen } = route(token, gate);
    const whole = sum(chosen.map((expert) => probabilities[expert] ?? 0));
    return token.map((value) =>
      sum(chosen.map((expert) => ((probabilities[expert] ?? 0) / whole) * expertOf(expert, value))),
    );
  }).flat();
  expectClose(run(gate).output, expected);
});

test("of equally likely experts the first are chosen", () => {
  const { chosen } = run(new Array<number>(experts * hidden).fill(0));
  expect(chosen).toEqual(new Array(tokens).fill([1, 1, 0, 0, 0]).flat());
});

describe("the balance loss", () => {
  const expectedOver = (inputs: readonly (readonly number[])[]) => {
    const routes = inputs.map((token) => route(token, gate));
    const parts = Array.from({ length: experts }, (_, expert) => {
      const share = routes.filter(({ chosen }) => chosen.includes(expert)).length / routes.length;
      return share * (sum(routes.map(({ probabilities }) => probabilities[expert] ?? 0)) / routes.length);
    });
    return experts * sum(parts);
  };
  const all = Array.from({ length: tokens }, (_, index) => row(x, index, hidden));
  const own = all.filter((_, index) => mask[index] === 1);

  test("is that of the tokens, without padding", () => {
    expect(run(gate).loss).toBeCloseTo(expectedOver(own), 12);
    expect(run(gate, { padding: false }).loss).toBeCloseTo(expectedOver(all), 12);
    expect(Math.abs(expectedOver(own) - expectedOver(all))).toBeGreaterThan(1e-3);
  });

  test("takes the tokens of all layers together", () => {
    const negated = own.map((token) => token.map((value) => -value));
    expect(run(gate, { layers: 2 }).loss).toBeCloseTo(expectedOver([...own, ...negated]), 12);
  });

  test("is the number of experts for a token where all are equally likely", () => {
    expect(run(new Array<number>(experts * hidden).fill(0)).loss).toBeCloseTo(perToken, 12);
  });
});
