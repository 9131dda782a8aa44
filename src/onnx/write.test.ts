/** @file The ONNX file that a graph becomes, read back message by message. */
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { expectUniqueNames, nodeTexts, readModel } from "../../test/support/onnx-model.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Value } from "../graph/graph.ts";
import { writeOnnx } from "./write.ts";
import type { ExternalTensor } from "./external-tensor.ts";

const nowhere = (name: string): ExternalTensor => {
  throw new Error(`unexpected weight ${name}`);
};

function write(outputs: Readonly<Record<string, Value>>, locate = nowhere) {
  const graph = graphOf(Object.entries(outputs).map(([name, value]) => ({ name, value })));
  const bytes = writeOnnx(graph, locate);
  expect(writeOnnx(graph, locate)).toEqual(bytes);
  return readModel(bytes);
}

test("a small graph, message by message", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", "float32", ["batch", 3]);
  const y = builder.gemm(x, builder.weight("w", [2, 3]), { transB: true, alpha: 0.5 });
  const model = write({ y: builder.gelu(y, "tanh") }, () => ({
    file: "weights-0.bin",
    offset: 4096,
    byteLength: 24,
  }));
  expectUniqueNames(model);
  expect(model).toMatchInlineSnapshot(`
    {
      "graph": {
        "initializer": [
          {
            "data_location": 1,
            "data_type": 1,
            "dims": [
              2,
              3,
            ],
            "external_data": [
              {
                "key": "location",
                "value": "weights-0.bin",
              },
              {
                "key": "offset",
                "value": "4096",
              },
              {
                "key": "length",
                "value": "24",
              },
            ],
            "name": "w",
          },
        ],
        "input": [
          {
            "name": "x",
            "type": {
              "tensor_type": {
                "elem_type": 1,
                "shape": {
                  "dim": [
                    {
                      "dim_param": "batch",
                    },
                    {
                      "dim_value": 3,
                    },
                  ],
                },
              },
            },
          },
        ],
        "node": [
          {
            "attribute": [
              {
                "f": 0.5,
                "name": "alpha",
                "type": 1,
              },
              {
                "f": 1,
                "name": "beta",
                "type": 1,
              },
              {
                "name": "transA",
                "type": 2,
              },
              {
                "i": 1,
                "name": "transB",
                "type": 2,
              },
            ],
            "domain": "",
            "input": [
              "x",
              "w",
            ],
            "name": "Gemm.0",
            "op_type": "Gemm",
            "output": [
              "Gemm_2",
            ],
          },
          {
            "attribute": [
              {
                "name": "approximate",
                "s": {
                  "data": [
                    116,
                    97,
                    110,
                    104,
                  ],
                  "type": "Buffer",
                },
                "type": 3,
              },
            ],
            "domain": "",
            "input": [
              "Gemm_2",
            ],
            "name": "Gelu.1",
            "op_type": "Gelu",
            "output": [
              "y",
            ],
          },
        ],
        "output": [
          {
            "name": "y",
            "type": {
              "tensor_type": {
                "elem_type": 1,
                "shape": {
                  "dim": [
                    {
                      "dim_param": "batch",
                    },
                    {
                      "dim_value": 2,
                    },
                  ],
                },
              },
            },
          },
        ],
      },
      "ir_version": 10,
      "opset_import": [
        {
          "domain": "",
          "version": 23,
        },
        {
          "domain": "com.microsoft",
          "version": 1,
        },
      ],
    }
  `);
});

describe("weights", () => {
  test("must have as many bytes as their shape says", () => {
    const builder = new GraphBuilder();
    const w = builder.weight("w", [2, 3]);
    expect(failureOf(() => write({ w }, () => ({ file: "f", offset: 0, byteLength: 23 }))).message).toBe(
      "internal: the weight w should have 24 bytes, but has 23.",
    );
  });

  test("keep their places in different files", () => {
    const builder = new GraphBuilder();
    const sum = builder.add(builder.weight("a", [2]), builder.weight("b", [2]));
    const { graph } = write({ sum }, (name) => ({
      file: `${name}.bin`,
      offset: name === "a" ? 0 : 8,
      byteLength: 8,
    }));
    expect(graph.initializer.map(({ external_data: entries }) => entries?.map(({ value }) => value))).toEqual(
      [
        ["a.bin", "0", "8"],
        ["b.bin", "8", "8"],
      ],
    );
    expect(graph.initializer.map((tensor) => [tensor.data_location, tensor.raw_data])).toEqual([
      [1, undefined],
      [1, undefined],
    ]);
  });
});

describe("literals", () => {
  test("equal ones are written once", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 3]);
    const sums = builder.add(builder.reduceSum(x, [1]), builder.reduceMean(x, [1]));
    const model = write({ sums });
    expect(model.graph.initializer.map(({ name }) => name)).toEqual(["constant.int64[1][1]"]);
    expectUniqueNames(model);
  });

  test("different ones never share a name, however long or alike", () => {
    const builder = new GraphBuilder();
    const many = Array.from({ length: 100 }, (_, index) => index);
    const literals = [
      ...[0, -0, NaN, Infinity, -Infinity].map((value) => builder.scalar(value)),
      builder.constant("float32", [1], [0]),
      builder.constant("int64", [], [0]),
      builder.constant("float32", [100], many),
      builder.constant("float32", [10, 10], many),
      builder.constant("int64", [100], many),
      builder.constant(
        "float32",
        [100],
        many.map((value) => (value === 0 ? -0 : value)),
      ),
      builder.constant(
        "float32",
        [100],
        many.map((value) => (value === 7 ? Infinity : value)),
      ),
      builder.constant(
        "float32",
        [100],
        many.map((value) => (value === 7 ? NaN : value)),
      ),
    ];
    const model = write(Object.fromEntries(literals.map((value, index) => [`y${index}`, value])));
    expectUniqueNames(model);
    expect(model.graph.initializer).toHaveLength(literals.length);
    const floats = model.graph.initializer
      .slice(0, 5)
      .map(({ raw_data: bytes }) => Buffer.from(bytes!).toString("hex"));
    expect(floats).toEqual(["00000000", "00000080", "0000c07f", "0000807f", "000080ff"]);
  });

  test("every element type has its bytes", () => {
    const builder = new GraphBuilder();
    const bytesOf = (value: Value) => {
      const [tensor] = write({ y: value }).graph.initializer;
      return [tensor!.data_type, Buffer.from(tensor!.raw_data!).toString("hex")];
    };
    expect(bytesOf(builder.constant("float32", [2], [1, -2]))).toEqual([1, "0000803f000000c0"]);
    expect(bytesOf(builder.constant("int64", [1], [-2]))).toEqual([7, "feffffffffffffff"]);
    expect(bytesOf(builder.constant("int32", [1], [-2]))).toEqual([6, "feffffff"]);
    expect(bytesOf(builder.constant("uint32", [1], [2 ** 32 - 2]))).toEqual([12, "feffffff"]);
    expect(bytesOf(builder.constant("int8", [2], [-2, 3]))).toEqual([3, "fe03"]);
    expect(bytesOf(builder.constant("uint8", [2], [254, 3]))).toEqual([2, "fe03"]);
    expect(bytesOf(builder.constant("bool", [2], [1, 0]))).toEqual([9, "0100"]);
  });
});

describe("symbolic extents are computed from the shapes of inputs", () => {
  test("products, sums and negative coefficients, each once", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", ["2*batch", "length"]);
    const model = write({
      product: builder.expand(builder.scalar(1), ["batch*length", 2]),
      sum: builder.range("length+4"),
      again: builder.negate(builder.expand(builder.scalar(2), ["length+4", "batch*length"])),
      difference: builder.slice(x, 0, 0, "2*batch+-1*length"),
    });
    expectUniqueNames(model);
    expect(nodeTexts(model)).toMatchInlineSnapshot(`
      [
        "Shape(x) -> extent.0",
        "Div(extent.0, constant.int64[1][2]) -> extent.1",
        "Shape(x) -> extent.2",
        "Mul(extent.1, extent.2) -> extent.3",
        "Concat(extent.3, constant.int64[1][2]) -> extents.4",
        "Expand(constant.float32[][1], extents.4) -> product",
        "Add(extent.2, constant.int64[1][4]) -> extent.6",
        "Squeeze(extent.6, constant.int64[1][0]) -> extent.5",
        "Range(constant.int64[][0], extent.5, constant.int64[][1]) -> sum",
        "Concat(extent.6, extent.3) -> extents.7",
        "Expand(constant.float32[][2], extents.7) -> Expand_5",
        "Neg(Expand_5) -> again",
        "Mul(constant.int64[1][2], extent.1) -> extent.8",
        "Mul(constant.int64[1][-1], extent.2) -> extent.9",
        "Add(extent.8, extent.9) -> extent.10",
        "Slice(x, constant.int64[1][0], extent.10, constant.int64[1][0]) -> difference",
      ]
    `);
  });

  test("a symbol that no input tells is refused", () => {
    const builder = new GraphBuilder();
    expect(failureOf(() => write({ y: builder.range("batch") })).message).toBe(
      'internal: no input of the graph tells the dimension "batch".',
    );
    const x = builder.input("x", "float32", ["batch*length"]);
    const other = builder.expand(builder.scalar(1), ["batch", "batch*length"]);
    expect(failureOf(() => write({ y: builder.multiply(x, other) })).message).toBe(
      'internal: no input of the graph tells the dimension "batch".',
    );
  });
});

describe("names", () => {
  test("of inputs, weights and outputs are kept, and nothing made here repeats them", () => {
    const builder = new GraphBuilder();
    const inputs = ["Neg_2", "product.0", "extent.0", "constant.float32[][2]", "sum.1"].map((name) =>
      builder.input(name, "float32", ["batch", 2]),
    );
    const sum = inputs.reduce((a, b) => builder.softmaxGradient(a, b));
    const scaled = builder.multiply(builder.negate(sum), builder.expand(builder.scalar(2), ["batch", 2]));
    const model = write({ "Mul.9": scaled, "scaled.3": builder.tanh(scaled), "scaled.2": scaled });
    expectUniqueNames(model);
    expect(model.graph.input.map(({ name }) => name)).toEqual(
      inputs.map(({ node }) => "name" in node.attributes && node.attributes.name),
    );
    expect(model.graph.output.map(({ name }) => name)).toEqual(["Mul.9", "scaled.3", "scaled.2"]);
  });

  test("an output may be an input, a literal, or given twice", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2]);
    const y = builder.negate(x);
    const model = write({ x, renamed: x, one: builder.scalar(1), y, again: y });
    expectUniqueNames(model);
    expect(nodeTexts(model)).toMatchInlineSnapshot(`
      [
        "Neg(x) -> y",
        "Identity(x) -> renamed",
        "Identity(constant.float32[][1]) -> one",
        "Identity(y) -> again",
      ]
    `);
  });

  test("outputs that nothing reads are left out where the operation allows", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", "float32", [2, 4]);
    const normal = builder.layerNormalization(x, builder.input("scale", "float32", [4]), undefined, 1e-5);
    expect(nodeTexts(write({ normal }))).toEqual(["LayerNormalization(x, scale) -> normal"]);
    const [, mean, inverse] = normal.node.outputs;
    expect(nodeTexts(write({ inverse: inverse! }))).toEqual([
      "LayerNormalization(x, scale) -> LayerNormalization_2, , inverse",
    ]);
    expect(nodeTexts(write({ mean: mean! }))).toEqual([
      "LayerNormalization(x, scale) -> LayerNormalization_2, mean",
    ]);
  });
});
