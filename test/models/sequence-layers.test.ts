/** @file What a forward pass offers over the sequence, and the convolution along it, against their definitions. */
import { expect, test } from "vitest";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { graphOf } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import { createForwardContext } from "../../src/methods/forward-pass.ts";
import type { ForwardContext } from "../../src/models/forward.ts";
import { convolveSequence } from "../../src/models/layers/convolution.ts";

const [batch, length, width] = [2, 4, 3];
const x = Array.from({ length: batch * length * width }, (_, index) => Math.sin((index + 1) * 0.8));
const mask = [1, 1, 1, 1, 1, 1, 0, 0];
const [out, kernel] = [2, 3];
const weight = Array.from({ length: out * width * kernel }, (_, index) => Math.sin((index + 1) * 1.7));
const bias = [0.5, -0.25];

/** Runs a function over hidden states x [tokens, width]. */
function run(build: (context: ForwardContext, x: Value) => Value, padding: boolean): number[] {
  const builder = new GraphBuilder();
  const context = createForwardContext({
    builder,
    adapters: [],
    training: false,
    padding,
    attentionBlocks: 1,
  });
  const value = build(context, builder.input("x", "float32", [context.sequence.tokens, width]));
  const array = (shape: readonly number[], data: readonly number[]) => ({
    shape,
    data: Float64Array.from(data),
  });
  const places = Array.from({ length: batch * length }, (_, index) => index % length);
  // The position ids bind the symbols of the batch and the length.
  const positions = { name: "positions", value: context.sequence.positions };
  const outputs = interpret(graphOf([{ name: "result", value }, positions]), {
    x: array([batch * length, width], x),
    position_ids: array([batch, length], places),
    attention_mask: array([batch, length], mask),
    "conv.weight": array([out, width, kernel], weight),
    "conv.bias": array([out], bias),
  });
  return Array.from(outputs["result"]?.data ?? []);
}

/** Element of x, zero outside of its row. */
const at = (row: number, position: number, column: number) =>
  position < 0 || position >= length ? 0 : (x[(row * length + position) * width + column] ?? 0);

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [index, value] of expected.entries()) expect(actual[index]).toBeCloseTo(value, 12);
}

test.each([true, false])("the mean over a sequence's tokens, padding %s", (padding) => {
  const expected = Array.from({ length: batch * width }, (_, index) => {
    const [row, column] = [Math.floor(index / width), index % width];
    const tokens = [0, 1, 2, 3].filter((position) => !padding || mask[row * length + position] === 1);
    return tokens.reduce((sum, position) => sum + at(row, position, column), 0) / tokens.length;
  });
  expectClose(
    run((context, value) => context.meanTokens(value), padding),
    expected,
  );
});

test("rows of padding become zero", () => {
  const expected = x.map((value, index) => value * (mask[Math.floor(index / width)] ?? 0));
  expectClose(
    run((context, value) => context.zeroPadding(value), true),
    expected,
  );
});

test("without padding every row stays", () => {
  expectClose(
    run((context, value) => context.zeroPadding(context.builder.negate(value)), false),
    x.map((value) => -value),
  );
});

test("a convolution sees zeros beyond a row's ends, not the next row", () => {
  const expected: number[] = [];
  for (let row = 0; row < batch; row++)
    for (let position = 0; position < length; position++)
      for (let channel = 0; channel < out; channel++) {
        let sum = bias[channel] ?? 0;
        for (let column = 0; column < width; column++)
          for (let tap = 0; tap < kernel; tap++)
            sum +=
              (weight[(channel * width + column) * kernel + tap] ?? 0) * at(row, position + tap - 1, column);
        expected.push(sum);
      }
  const convolved = run(
    (context, value) => convolveSequence(context, "conv", value, { in: width, out, kernel }),
    false,
  );
  expectClose(convolved, expected);
});
