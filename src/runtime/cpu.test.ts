/** @file Sessions on the CPU: weights from files, what a run refuses, and what is left behind. */
import { existsSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, Node, Value } from "../graph/graph.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { cpu } from "./cpu.ts";
import type { WeightLocation } from "./session.ts";

let cache = "";

beforeEach(() => {
  cache = temporaryFolder();
  vi.stubEnv("DELTAFIT_CACHE", cache);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

const graphWith = (y: Value): Graph => graphOf([{ name: "y", value: y }]);
const noWeights = (name: string): WeightLocation => {
  throw new Error(`unexpected weight ${name}`);
};
const numbers = (tensor: Tensor | undefined) => Array.from<number | bigint, number>(tensor!.data, Number);
const leftInCache = () =>
  existsSync(path.join(cache, "sessions")) ? readdirSync(path.join(cache, "sessions")) : [];

/** x [rows, 2] times a weight [2, 2], which lies behind 100 other numbers. */
function weightedGraph() {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["rows", 2]);
  const graph = graphWith(builder.gemm(x, builder.weight("layer.weight", [2, 2]), { transB: true }));
  const file = path.join(temporaryFolder(), "weights.bin");
  writeFileSync(
    file,
    Float32Array.from({ length: 104 }, (_, index) => (index < 100 ? NaN : index - 99)),
  );
  return { graph, location: { path: file, offset: 400, byteLength: 16 } };
}

describe("weights", () => {
  test("come from a file at an offset, for any number of sessions", async () => {
    const { graph, location } = weightedGraph();
    const builder = new GraphBuilder();
    const doubled = graphWith(builder.scale(builder.weight("layer.weight", [2, 2]), 2));
    const first = await cpu.createSession(graph, () => location);
    const second = await cpu.createSession(doubled, () => location, { threads: 1 });
    const { y } = await first.run({ x: float32Tensor([2, 2], [1, 0, 1, 1]) });
    expect([y!.dtype, y!.shape, numbers(y)]).toEqual(["float32", [2, 2], [1, 3, 3, 7]]);
    await first.dispose();
    expect(numbers((await second.run({}))["y"])).toEqual([2, 4, 6, 8]);
    await second.dispose();
  });

  test("may lie in several files, also behind a symbolic link", async () => {
    const builder = new GraphBuilder();
    const sum = graphWith(builder.add(builder.weight("a", [2]), builder.weight("b", [2])));
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, "a"), Float32Array.of(1, 2));
    writeFileSync(path.join(folder, "target"), Float32Array.of(1, 3));
    symlinkSync("target", path.join(folder, "b"));
    const session = await cpu.createSession(sum, (name) => ({
      path: path.join(folder, name),
      offset: 0,
      byteLength: 8,
    }));
    expect(numbers((await session.run({}))["y"])).toEqual([2, 5]);
    await session.dispose();
  });

  test("that are not there are named", async () => {
    const { graph, location } = weightedGraph();
    const folder = temporaryFolder();
    const missing = { ...location, path: path.join(folder, "gone.bin") };
    expect(await rejectionOf(() => cpu.createSession(graph, () => missing), folder)).toEqual({
      code: "file-missing",
      message:
        "The weights file FOLDER/gone.bin is not there: ENOENT: no such file or directory, realpath 'FOLDER/gone.bin'",
      hint: undefined,
    });
    expect(leftInCache()).toEqual([]);
  });

  test("beyond the end of their file are refused", async () => {
    const { graph, location } = weightedGraph();
    const { code, message } = await rejectionOf(() =>
      cpu.createSession(graph, () => ({ ...location, offset: 404 })),
    );
    expect(code).toBe("runtime-failed");
    expect(message).toMatch(
      /^ONNX Runtime refused a graph: .*External initializer: layer\.weight offset: 404 size to read: 16 given file_length: 416 are out of bounds or can not be read in full\.$/,
    );
    expect(leftInCache()).toEqual([]);
  });
});

test("nothing is left in the cache once a session is made", async () => {
  const { graph, location } = weightedGraph();
  const session = await cpu.createSession(graph, () => location);
  expect(leftInCache()).toEqual([]);
  expect(numbers((await session.run({ x: float32Tensor([1, 2], [0, 1]) }))["y"])).toEqual([2, 4]);
  await session.dispose();
});

describe("what a run is given", () => {
  async function session() {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["batch", "length", 2]);
    const rows = builder.input("rows", "int64", ["batch*length"]);
    const flat = builder.reshape(x, ["batch*length", 2]);
    return cpu.createSession(graphWith(builder.gather(flat, rows)), noWeights);
  }
  const x = float32Tensor([1, 2, 2], [1, 2, 3, 4]);
  const rows = int64Tensor([2], [1, 0]);

  test("may hold more than the graph reads", async () => {
    const running = await session();
    expect(numbers((await running.run({ x, rows, other: x }))["y"])).toEqual([3, 4, 1, 2]);
    await running.dispose();
  });

  test.each<[string, Record<string, Tensor>]>([
    ['the graph\'s input "rows" was not given.', { x }],
    [
      'the input "x" does not fit: expected float32, found int64.',
      { x: int64Tensor([1, 1, 2], [1, 2]), rows },
    ],
    [
      'the input "x" does not fit: expected 3 axes, found 2.',
      { x: float32Tensor([2, 2], [1, 2, 3, 4]), rows },
    ],
    [
      'the input "x" does not fit: axis 2: expected 2, found 4.',
      { x: float32Tensor([1, 1, 4], [1, 2, 3, 4]), rows },
    ],
    [
      'the input "rows" does not fit: axis 0: expected batch*length = 2, found 3.',
      { x, rows: int64Tensor([3], [0, 0, 0]) },
    ],
    ["a tensor of shape [1,2,2] has 3 elements.", { x: float32Tensor([1, 2, 2], [1, 2, 3]), rows }],
  ])("must fit: %s", async (message, feeds) => {
    const running = await session();
    expect(await rejectionOf(() => running.run(feeds))).toEqual({
      code: "internal",
      message: `internal: ${message}`,
      hint: "This is a defect of deltafit; please report it.",
    });
    await running.dispose();
  });

  test("may still make an operation fail, and the session goes on", async () => {
    const running = await session();
    expect(await rejectionOf(() => running.run({ x, rows: int64Tensor([2], [1, 9]) }))).toEqual({
      code: "runtime-failed",
      message:
        "ONNX Runtime failed while running a graph: Non-zero status code returned while running Gather node. " +
        "Name:'Gather.1' Status Message: indices element out of data bounds, idx=9 must be within the inclusive range [-2,1]",
      hint: undefined,
    });
    expect(numbers((await running.run({ x, rows }))["y"])).toEqual([3, 4, 1, 2]);
    await running.dispose();
  });
});

test("results of every type that graphs yield come back", async () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", [2]);
  const outputs = (["float32", "int64", "int32", "bool"] as const).map((dtype) => ({
    name: dtype,
    value: builder.cast(x, dtype),
  }));
  const session = await cpu.createSession(graphOf(outputs), noWeights);
  const results = await session.run({ x: float32Tensor([2], [0, 2]) });
  expect(Object.values(results).map((tensor) => [tensor.dtype, tensor.shape, numbers(tensor)])).toEqual([
    ["float32", [2], [0, 2]],
    ["int64", [2], [0, 2]],
    ["int32", [2], [0, 2]],
    ["bool", [2], [0, 1]],
  ]);
  await session.dispose();
  const bytes = await cpu.createSession(graphWith(builder.cast(x, "uint8")), noWeights);
  expect((await rejectionOf(() => bytes.run({ x: float32Tensor([2], [0, 2]) }))).message).toBe(
    'internal: the output "y" has the type uint8, which no graph of deltafit yields.',
  );
  await bytes.dispose();
});

test("a graph the runtime has no kernel for is refused", async () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "int64", [2]);
  const outputs: Value[] = [];
  const node: Node = { id: 5, operation: "Erf", attributes: {}, inputs: [x], outputs };
  outputs.push({ node, outputIndex: 0, dtype: "int64", shape: [2] });
  const { code, message } = await rejectionOf(
    () => cpu.createSession(graphWith(outputs[0]!), noWeights),
    cache,
  );
  expect(code).toBe("runtime-failed");
  expect(message.replace(/sessions\/[0-9a-f-]+/, "sessions/ID")).toBe(
    "ONNX Runtime refused a graph: Load model from FOLDER/sessions/ID/graph.onnx failed:This is an invalid model. " +
      "Type Error: Type 'tensor(int64)' of input parameter (x) of operator (Erf) in node (Erf.0) is invalid.",
  );
  expect(leftInCache()).toEqual([]);
});

test("a disposed session does not run, and disposing it again does nothing", async () => {
  const builder = new GraphBuilder();
  const session = await cpu.createSession(
    graphWith(builder.scale(builder.input("x", "float32", [1]), 2)),
    noWeights,
  );
  await session.dispose();
  await session.dispose();
  expect(await rejectionOf(() => session.run({ x: float32Tensor([1], [1]) }))).toEqual({
    code: "runtime-failed",
    message: "ONNX Runtime failed while running a graph: Session already disposed.",
    hint: undefined,
  });
});

describe("the optimiser's work on a large graph", () => {
  const kept = () => readdirSync(path.join(cache, "graphs"));

  /** sin applied over and over to a weight and an input: [result] of enough nodes to be kept. */
  function largeGraph() {
    const builder = new GraphBuilder();
    let value = builder.add(builder.input("x", "float32", ["rows", 2]), builder.weight("shift", [2]));
    for (let step = 0; step < 600; step++) value = builder.sine(value);
    const file = path.join(temporaryFolder(), "weights.bin");
    writeFileSync(file, Float32Array.of(0.5, 1));
    return { graph: graphWith(value), file, locate: () => ({ path: file, offset: 0, byteLength: 8 }) };
  }

  async function resultOf({ graph, locate }: ReturnType<typeof largeGraph>): Promise<number[]> {
    const session = await cpu.createSession(graph, locate);
    const { y } = await session.run({ x: float32Tensor([1, 2], [0.25, -2]) });
    await session.dispose();
    return numbers(y);
  }

  test("is kept and used again, and made again where it was damaged", async () => {
    const large = largeGraph();
    const first = await resultOf(large);
    const names = kept();
    expect(names).toHaveLength(1);
    expect(await resultOf(large)).toEqual(first);
    expect(kept()).toEqual(names);
    const file = path.join(cache, "graphs", names[0] ?? "");
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.subarray(0, 100));
    expect(await resultOf(large)).toEqual(first);
    expect(readFileSync(file)).toEqual(bytes);
    expect(leftInCache()).toEqual([]);
  });

  test("is not taken for that of other weights in the same place", async () => {
    const large = largeGraph();
    const first = await resultOf(large);
    const before = kept().length;
    writeFileSync(large.file, Float32Array.of(0.5, 3, 0));
    expect(await resultOf(large)).not.toEqual(first);
    expect(kept()).toHaveLength(before + 1);
  });
});
