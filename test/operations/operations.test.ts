/**
 * @file Every operation of the closed table against its own definition: as ONNX Runtime runs it, and as its
 * gradient rule differentiates it.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { gradient } from "../../src/graph/gradient.ts";
import { graphOf } from "../../src/graph/graph.ts";
import type { OperationName } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { operations } from "../../src/graph/operations/index.ts";
import { verify } from "../../src/graph/verify.ts";
import { failureOf } from "../support/failure.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { elementwiseCases } from "./elementwise-cases.ts";
import {
  difference,
  exactly,
  finiteDifferences,
  float32,
  interpretLeaves,
  leafValue,
  leavesOf,
  runLeaves,
} from "./harness.ts";
import type { Leaf, OperationCase } from "./harness.ts";
import { layerCases } from "./layer-cases.ts";
import { shapingCases } from "./shaping-cases.ts";

const cases: readonly OperationCase[] = [...elementwiseCases, ...shapingCases, ...layerCases];

/** What float32 kernels may differ from the float64 definition, relative to the largest magnitude. */
const float32Tolerance = 1e-5;
/** What central differences with a step of 1e-5 may differ from a slope in float64. */
const slopeTolerance = 1e-6;

beforeEach(() => {
  vi.stubEnv("DELTAFIT_CACHE", temporaryFolder());
});

afterEach(() => {
  vi.unstubAllEnvs();
});

/** What comes into a graph only when it is made ready for a runtime; quantised-products.test.ts has its cases. */
const quantised: readonly OperationName[] = [
  ...(["RowScale", "QuantizeRows", "QuantizedGemm", "BlockGemm"] as const),
  "OtherProbabilities",
];

test("every operation of the table has a case", () => {
  const covered = new Set([...cases.map(({ operation }) => operation), ...quantised]);
  expect(Object.keys(operations).filter((name) => !covered.has(name as keyof typeof operations))).toEqual([]);
});

test("no two cases have the same name", () => {
  const names = cases.map(({ operation, name }) => `${operation}: ${name}`);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
});

/** A case's graphs: the forward pass, the same ending in a random linear functional, and that with gradients. */
function graphsOf(operationCase: OperationCase) {
  const builder = new GraphBuilder();
  const leaves = leavesOf(operationCase);
  const values = leaves.map((leaf) => leafValue(builder, leaf));
  const result = operationCase.build(builder, ...values);
  const forward = graphOf([{ name: "result", value: result }]);
  if (result.dtype !== "float32") return { forward, leaves };
  const indices =
    operationCase.variables ??
    [...leaves.keys()].filter((index) => leaves[index]!.source.dtype === "float32");
  if (indices.length === 0) return { forward, leaves };
  const variables = indices.map((index) => ({ leaf: leaves[index]!, value: values[index]! }));
  return { forward, leaves, slopes: slopesOf(builder, operationCase, result, leaves, variables) };
}

function slopesOf(
  builder: GraphBuilder,
  { symbols }: OperationCase,
  result: Value,
  leaves: readonly Leaf[],
  variables: readonly { leaf: Leaf; value: Value }[],
) {
  const [functional] = leavesOf({
    operation: "Input",
    name: "functional",
    sources: [float32(result.shape)],
    build: (_, x) => x,
    ...(symbols ? { symbols } : {}),
  });
  const named = { ...functional!, name: "functional" };
  const loss = builder.sumAll(builder.multiply(result, leafValue(builder, named)));
  const gradients = gradient(
    builder,
    loss,
    variables.map(({ value }) => value),
  );
  // Symbolic extents are told by the forward pass's inputs, which the gradients alone may not read.
  const anchor = symbols ? [{ name: "loss", value: loss }] : [];
  const alone = variables.map(({ value }) => gradient(builder, loss, [value])[0]);
  return {
    leaves: [...leaves, named],
    lossGraph: graphOf([{ name: "loss", value: loss }]),
    gradientGraph: graphOf([
      ...anchor,
      ...gradients.map((value, index) => ({ name: `gradient${index}`, value: value! })),
    ]),
    variables: variables.map(({ leaf }) => leaf),
    gradients,
    alone,
  };
}

describe.each(cases.map((row) => [`${row.operation}: ${row.name}`, row] as const))("%s", (_name, row) => {
  const { forward, leaves, slopes } = graphsOf(row);

  test("runs as it is defined", async () => {
    verify(forward);
    expect(forward.nodes.map(({ operation }) => operation)).toContain(row.operation);
    const exact = forward.outputs[0]!.value.dtype !== "float32";
    const actual = await runLeaves(forward, leaves, temporaryFolder());
    const expected = interpretLeaves(forward, leaves);
    expect(difference(actual["result"], expected["result"])).toBeLessThanOrEqual(
      exact ? 0 : float32Tolerance,
    );
  });

  if (!slopes) return;

  test("has the slopes that finite differences measure", () => {
    const { lossGraph, gradientGraph, variables, gradients, alone } = slopes;
    verify(gradientGraph);
    expect(alone.map((value, index) => value === gradients[index])).not.toContain(false);
    const analytic = interpretLeaves(gradientGraph, slopes.leaves);
    for (const [index, variable] of variables.entries()) {
      const measured = finiteDifferences(lossGraph, slopes.leaves, variable);
      expect(difference(analytic[`gradient${index}`], measured), variable.name).toBeLessThanOrEqual(
        slopeTolerance,
      );
    }
  });

  test("has a gradient that runs as it is defined", async () => {
    const { gradientGraph } = slopes;
    const actual = await runLeaves(gradientGraph, slopes.leaves, temporaryFolder());
    const expected = interpretLeaves(gradientGraph, slopes.leaves);
    for (const { name } of gradientGraph.outputs)
      expect(difference(actual[name], expected[name]), name).toBeLessThanOrEqual(float32Tolerance);
  });
});

test("rows added at the same place are all counted, whatever the number of threads", async () => {
  const builder = new GraphBuilder();
  const [count, width] = [50_000, 16];
  const sources = [
    exactly(
      "int64",
      [count],
      Array.from({ length: count }, (_, index) => index % 2),
    ),
    exactly("float32", [count, width], new Array<number>(count * width).fill(1)),
  ];
  const leaves = leavesOf({ operation: "ScatterRows", name: "many", sources, build: (_, x) => x });
  const [indices, updates] = leaves.map((leaf) => leafValue(builder, leaf));
  const graph = graphOf([{ name: "sums", value: builder.scatterRows(indices!, updates!, 2) }]);
  const { sums } = await runLeaves(graph, leaves, temporaryFolder());
  expect([...new Set(sums!.data)]).toEqual([count / 2]);
});

test("what is only there for a gradient has no gradient of its own", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [2, 3]);
  const classes = builder.input("classes", "int64", [2]);
  expect(failureOf(() => gradient(builder, builder.sumAll(builder.softmaxGradient(x, x)), [x])).message).toBe(
    "internal: second derivatives of Softmax are not defined.",
  );
  const slopes = builder.softmaxCrossEntropyLossGradient(
    builder.constant("float32", [2], [1, 2]),
    x,
    classes,
  );
  expect(failureOf(() => gradient(builder, builder.sumAll(slopes), [x])).message).toBe(
    "internal: second derivatives of SoftmaxCrossEntropyLoss are not defined.",
  );
});

test("a dropout mask is the same in ONNX Runtime and in the interpreter, bit for bit", async () => {
  const builder = new GraphBuilder();
  const sources = [
    exactly("float32", [200, 300], new Array<number>(60_000).fill(1)),
    exactly("int32", [1], [-123_456_789]),
  ];
  const leaves = leavesOf({ operation: "SeededDropout", name: "large", sources, build: (_, x) => x });
  const [x, seed] = leaves.map((leaf) => leafValue(builder, leaf));
  const graph = graphOf([
    { name: "kept", value: builder.seededDropout(x!, seed!, { ratio: 0.3, site: 77 }) },
  ]);
  const places = (kept: Float64Array) => kept.map((value) => Math.sign(value));
  const { kept } = await runLeaves(graph, leaves, temporaryFolder());
  expect(places(kept!.data)).toEqual(places(interpretLeaves(graph, leaves)["kept"]!.data));
});
