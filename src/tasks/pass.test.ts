import { expect, test } from "vitest";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf, nodesOf } from "../graph/graph.ts";
import type { Node } from "../graph/graph.ts";
import { interpret } from "../graph/interpret.ts";
import { verify } from "../graph/verify.ts";
import { layOut } from "../methods/layout.ts";
import { lossAndGradient, lossAndGradientInTurn, trainableInput } from "./pass.ts";
import type { LossPart } from "./pass.ts";

const specs = [
  { key: "body", shape: [4, 4] },
  { key: "head", shape: [4, 500] },
];

/** The cross-entropy of tanh(x body) head over parts of the rows: body and head are trained. */
function graphInParts(parts: number, inTurn: boolean) {
  const builder = new GraphBuilder();
  const layout = layOut(
    specs.map((spec) => ({ adapter: "a", spec: { ...spec, initial: () => new Float32Array(0) } })),
  );
  const vector = builder.input(trainableInput, "float32", [layout.size]);
  const trained = ({ offset, size }: { offset: number; size: number }) =>
    builder.slice(vector, 0, offset, offset + size);
  const [body, head] = layout.entries.map((entry) => builder.reshape(trained(entry), entry.shape));
  if (!body || !head) throw new Error("two parameters were laid out");
  const hidden = builder.tanh(builder.gemm(builder.input("x", "float32", ["rows", 4]), body));
  const lossParts = Array.from({ length: parts }, (_, part): LossPart => {
    const places = builder.input(`rows${part}`, "int64", [`rows${part}`]);
    const targets = builder.input(`targets${part}`, "int64", [`rows${part}`]);
    return {
      input: builder.gather(hidden, places, true),
      lossOf: (rows) => builder.sumAll(builder.softmaxCrossEntropyLoss(builder.gemm(rows, head), targets)),
    };
  });
  const pass = { builder, layout, trained, segments: [] };
  const whole = () =>
    lossParts.map(({ input, lossOf }) => lossOf(input)).reduce((sum, loss) => builder.add(sum, loss));
  const graph = graphOf(inTurn ? lossAndGradientInTurn(pass, lossParts) : lossAndGradient(pass, whole()));
  verify(graph);
  return graph;
}

const numbers = (count: number) => Float64Array.from({ length: count }, (_, index) => Math.sin(index + 1));
const feeds = {
  [trainableInput]: { shape: [2016], data: numbers(2016) },
  x: { shape: [6, 4], data: numbers(24) },
  ...Object.fromEntries(
    [0, 1, 2].flatMap((part) => [
      [`rows${part}`, { shape: [2], data: Float64Array.of(part, part + 3) }],
      [`targets${part}`, { shape: [2], data: Float64Array.of(7 * part, 40 - part) }],
    ]),
  ),
};

test("the loss of parts in turn and its gradient are those of their sum", () => {
  const [inTurn, together] = [true, false].map((how) => interpret(graphInParts(3, how), feeds));
  for (const name of ["loss", "gradient"]) {
    const [found, expected] = [inTurn?.[name]?.data ?? [], together?.[name]?.data ?? []];
    expect(found.length).toBe(name === "loss" ? 1 : 2016);
    for (const [index, value] of found.entries()) expect(value).toBeCloseTo(expected[index] ?? NaN, 14);
  }
});

test("no product is computed twice", () => {
  const [inTurn, together] = [graphInParts(3, true), graphInParts(3, false)];
  expect(nodesOf(inTurn, "Gemm").length).toBe(nodesOf(together, "Gemm").length);
});

test("no part begins before the losses and the slopes of the one before it are done, in whatever order nodes run", () => {
  const graph = graphInParts(3, true);
  const slopes = nodesOf(graph, "SoftmaxCrossEntropyLossGradient");
  const losses = nodesOf(graph, "SoftmaxCrossEntropyLoss");
  const logits = losses.map(({ inputs }) => inputs[0]?.node);
  expect([slopes, losses, logits].map(({ length }) => length)).toEqual([3, 3, 3]);
  for (const part of [1, 2]) {
    const before = nodesBefore(logits[part]);
    expect(before.has(slopes[part - 1])).toBe(true);
    expect(before.has(losses[part - 1])).toBe(true);
  }
});

/** Everything that a node waits for. */
function nodesBefore(node: Node | undefined): ReadonlySet<Node | undefined> {
  const before = new Set<Node | undefined>();
  const pending = [node];
  for (let next = pending.pop(); next; next = pending.pop())
    for (const input of next.inputs)
      if (input && !before.has(input.node)) {
        before.add(input.node);
        pending.push(input.node);
      }
  return before;
}
