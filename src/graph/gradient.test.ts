/** @file Whole gradient graphs: what they compute, what they share, and how they read. */
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { GraphBuilder } from "./builder.ts";
import { gradient } from "./gradient.ts";
import { graphOf, nodesOf } from "./graph.ts";
import type { Value } from "./graph.ts";
import { interpret } from "./interpret.ts";
import type { HostArray } from "./operation.ts";
import { print } from "./print.ts";
import { verify } from "./verify.ts";

type Feeds = Record<string, HostArray>;

/** Numbers without symmetries. */
function array(shape: readonly number[], seed: number): HostArray {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, data: Float64Array.from({ length: count }, (_, index) => Math.sin(seed + 1.7 * index)) };
}

/** Gradients as a checked graph, and the largest distance of what it computes from central differences of the loss. */
function check(builder: GraphBuilder, loss: Value, variables: readonly Value[], feeds: Feeds) {
  const gradients = gradient(builder, loss, variables);
  const graph = graphOf(gradients.map((value, index) => ({ name: `gradient${index}`, value: value! })));
  verify(graph);
  const results = interpret(graph, feeds);
  const lossGraph = graphOf([{ name: "loss", value: loss }]);
  const lossAt = (name: string, at: number, offset: number) => {
    const { shape, data } = feeds[name]!;
    const moved = { shape, data: data.map((value, index) => (index === at ? value + offset : value)) };
    return interpret(lossGraph, { ...feeds, [name]: moved })["loss"]!.data[0]!;
  };
  const distances = variables.flatMap((variable, index) => {
    const { name } = variable.node.attributes as { name: string };
    return Array.from(results[`gradient${index}`]!.data, (slope, at) =>
      Math.abs(slope - (lossAt(name, at, 1e-5) - lossAt(name, at, -1e-5)) / 2e-5),
    );
  });
  return { graph, gradients, results, error: Math.max(...distances) };
}

describe("composite graphs have the slopes that finite differences measure", () => {
  test("a two-layer perceptron with a loss over classes", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["batch", 3]);
    const targets = builder.input("targets", "int64", ["batch"]);
    const [first, bias] = [builder.input("first", "float32", [4, 3]), builder.input("bias", "float32", [4])];
    const second = builder.input("second", "float32", [5, 4]);
    const hidden = builder.gelu(builder.gemm(x, first, { transB: true, c: bias }), "tanh");
    const logits = builder.gemm(builder.add(hidden, builder.softmax(hidden)), second, { transB: true });
    const loss = builder.sumAll(builder.softmaxCrossEntropyLoss(logits, targets));
    const feeds = {
      x: array([2, 3], 1),
      targets: { shape: [2], data: Float64Array.of(4, 1) },
      first: array([4, 3], 2),
      bias: array([4], 3),
      second: array([5, 4], 4),
    };
    expect(check(builder, loss, [x, first, bias, second], feeds).error).toBeLessThan(1e-7);
  });

  test("a value used three times, once by way of itself", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [3]);
    const shared = builder.sine(x);
    const sum = builder.add(builder.multiply(shared, shared), builder.exponential(shared));
    expect(check(builder, builder.sumAll(sum), [x], { x: array([3], 5) }).error).toBeLessThan(1e-7);
  });

  test("low-rank factors around a frozen matrix, added up by matrix products", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 4]);
    const frozen = builder.input("frozen", "float32", [4, 4]);
    const [a, b] = [builder.input("a", "float32", [2, 4]), builder.input("b", "float32", [4, 2])];
    const base = builder.gemm(x, frozen, { transB: true });
    const low = builder.gemm(builder.gemm(x, a, { transB: true }), b, { transB: true, alpha: 0.5, c: base });
    const feeds = { x: array([2, 4], 1), frozen: array([4, 4], 2), a: array([2, 4], 3), b: array([4, 2], 4) };
    expect(check(builder, builder.sumAll(builder.tanh(low)), [x, a, b], feeds).error).toBeLessThan(1e-7);
  });
});

describe("variables", () => {
  test("slices of one flat input are leaves of their own", () => {
    const builder = new GraphBuilder();
    const flat = builder.input("flat", "float32", [6]);
    const [matrix, rest] = [
      builder.reshape(builder.slice(flat, 0, 0, 4), [2, 2]),
      builder.slice(flat, 0, 4, 6),
    ];
    const loss = builder.sumAll(builder.multiply(builder.multiply(matrix, matrix), rest));
    const [slope, other, whole] = gradient(builder, loss, [matrix, rest, flat]);
    const graph = graphOf([
      { name: "matrix", value: slope! },
      { name: "rest", value: other! },
    ]);
    expect(whole).toBeUndefined();
    expect(nodesOf(graph, "Pad")).toEqual([]);
    const results = interpret(graph, { flat: { shape: [6], data: Float64Array.of(1, 2, 3, 4, 5, 6) } });
    expect([...results["matrix"]!.data]).toEqual([10, 24, 30, 48]);
    expect([...results["rest"]!.data]).toEqual([10, 20]);
  });

  test("the flat input itself gets the gradients of all its slices", () => {
    const builder = new GraphBuilder();
    const flat = builder.input("flat", "float32", [3]);
    const [first, second] = builder.split(flat, 0, [2, 1]);
    const loss = builder.sumAll(builder.multiply(builder.multiply(first!, first!), second!));
    const feeds = { flat: { shape: [3], data: Float64Array.of(2, 3, 5) } };
    const { results, error } = check(builder, loss, [flat], feeds);
    expect([...results["gradient0"]!.data]).toEqual([20, 30, 13]);
    expect(error).toBeLessThan(1e-6);
  });

  test("what the loss does not depend on has no gradient", () => {
    const builder = new GraphBuilder();
    const [x, y] = [builder.input("x", "float32", [2]), builder.input("y", "float32", [2])];
    const [slope, none] = gradient(builder, builder.sumAll(builder.negate(x)), [x, y]);
    expect(slope?.shape).toEqual([2]);
    expect(none).toBeUndefined();
  });

  test("a comparison or an integer on the way passes no gradient", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2]);
    const chosen = builder.cast(builder.lessOrEqual(x, builder.scalar(0)), "float32");
    expect(gradient(builder, builder.sumAll(chosen), [x])).toEqual([undefined]);
  });

  test("the loss is a variable too", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", []);
    expect(gradient(builder, x, [x])[0]?.node.attributes).toEqual({ data: [1] });
  });

  test("a second call adds nothing new", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["batch", 2]);
    const loss = builder.sumAll(builder.tanh(x));
    expect(gradient(builder, loss, [x])[0]).toBe(gradient(builder, loss, [x])[0]);
  });

  test("the gradient of a gradient is the second derivative", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", []);
    const [first] = gradient(builder, builder.multiply(builder.multiply(x, x), builder.exponential(x)), [x]);
    expect(check(builder, first!, [x], { x: { shape: [], data: Float64Array.of(0.7) } }).error).toBeLessThan(
      1e-8,
    );
  });
});

describe("what has no gradient is refused", () => {
  test("a loss with axes or of integers", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["batch"]);
    expect(failureOf(() => gradient(builder, x, [x])).message).toBe(
      "internal: only a float32 scalar has a gradient, not float32[batch].",
    );
    const count = builder.input("count", "int64", []);
    expect(failureOf(() => gradient(builder, count, [count])).message).toBe(
      "internal: only a float32 scalar has a gradient, not int64[].",
    );
  });

  test("tables of a rotary embedding", () => {
    const builder = new GraphBuilder();
    const [x, table] = [
      builder.input("x", "float32", [1, 1, 2, 4]),
      builder.input("table", "float32", [1, 2, 2]),
    ];
    const loss = builder.sumAll(builder.rotaryEmbedding(x, table, table));
    expect(failureOf(() => gradient(builder, loss, [table])).message).toBe(
      "internal: RotaryEmbedding has no gradient with respect to input 1.",
    );
  });

  test("second derivatives through the statistics of a norm", () => {
    const builder = new GraphBuilder();
    const [x, scale] = [builder.input("x", "float32", [2, 4]), builder.input("scale", "float32", [4])];
    const [first] = gradient(
      builder,
      builder.sumAll(builder.sine(builder.rmsNormalization(x, scale, 1e-6))),
      [x],
    );
    expect(failureOf(() => gradient(builder, builder.sumAll(first!), [x])).message).toBe(
      "internal: RMSNormalization has no gradient through its output 1.",
    );
  });

  test("a mean over an extent that is not known", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["batch"]);
    expect(failureOf(() => gradient(builder, builder.reduceMean(x, [0], false), [x])).message).toBe(
      "internal: ReduceMean over a symbolic extent has no gradient rule.",
    );
  });
});

describe("sums are folded into matrix products", () => {
  test.each([undefined, 0.5])("and stay the same with a beta of %s in the product", (beta) => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 3]);
    const [first, second] = [
      builder.input("first", "float32", [3, 2]),
      builder.input("second", "float32", [3, 2]),
    ];
    const options = beta === undefined ? {} : { beta };
    const sum = builder.add(builder.gemm(x, first, options), builder.tanh(builder.gemm(x, second, options)));
    const feeds = { x: array([2, 3], 1), first: array([3, 2], 2), second: array([3, 2], 3) };
    const loss = builder.sumAll(builder.multiply(sum, sum));
    const { graph, error } = check(builder, loss, [x, first, second], feeds);
    expect(error).toBeLessThan(1e-7);
    const folded = nodesOf(graph, "Gemm").filter(({ inputs }) => inputs.length === 3);
    expect(folded.map(({ attributes }) => attributes.beta)).toEqual([1]);
  });

  test("whatever else is added", () => {
    const builder = new GraphBuilder();
    const [x, w] = [builder.input("x", "float32", [2, 2]), builder.input("w", "float32", [2, 2])];
    const y = builder.add(
      builder.add(builder.gemm(x, w, { beta: 3 }), builder.gemm(w, x)),
      builder.multiply(x, x),
    );
    const { error } = check(builder, builder.sumAll(builder.sine(y)), [x, w], {
      x: array([2, 2], 1),
      w: array([2, 2], 2),
    });
    expect(error).toBeLessThan(1e-7);
  });
});

test("a gradient graph reads like this", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["batch", 3]);
  const w = builder.input("w", "float32", [2, 3]);
  const loss = builder.sumAll(builder.relu(builder.gemm(x, w, { transB: true })));
  const [slope] = gradient(builder, loss, [w]);
  expect(
    print(
      graphOf([
        { name: "loss", value: loss },
        { name: "slope", value: slope! },
      ]),
    ),
  ).toMatchInlineSnapshot(`
    "%0: float32[batch, 3] = Input(name="x")
    %1: float32[2, 3] = Input(name="w")
    %2: float32[batch, 2] = Gemm(%0, %1, alpha=1, beta=1, transA=false, transB=true)
    %3: float32[batch, 2] = Relu(%2)
    %4: float32[] = ReduceSum(%3, axes=[0,1], keepDimensions=false)
    %5: float32[] = Constant(data=[1])
    %6: float32[1, 1] = Reshape(%5, shape=[1,1])
    %7: float32[batch, 2] = Expand(%6, shape=["batch",2])
    %8: float32[] = Constant(data=[0])
    %9: bool[batch, 2] = LessOrEqual(%2, %8)
    %10: float32[batch, 2] = Where(%9, %8, %7)
    %11: float32[2, 3] = Gemm(%10, %0, alpha=1, beta=1, transA=true, transB=false)
    loss = %4
    slope = %11"
  `);
});
