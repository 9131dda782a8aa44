/**
 * @file Layers against values that PyTorch computed in float64 (`make.py` writes them): the definitions of the
 * interpreter and the gradient rules at fixed points, to six digits and more.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { gradient } from "../../src/graph/gradient.ts";
import { graphOf } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/graph.ts";
import { interpret } from "../../src/graph/interpret.ts";
import type { HostArray } from "../../src/graph/operation.ts";
import { verify } from "../../src/graph/verify.ts";

const arraySchema = z
  .object({ shape: z.array(z.number()), data: z.array(z.number()) })
  .transform(({ shape, data }): HostArray => ({ shape, data: Float64Array.from(data) }));
const caseSchema = z.object({
  name: z.string(),
  epsilon: z.number().optional(),
  alpha: z.number().optional(),
  beta: z.number().optional(),
  inputs: z.record(z.string(), arraySchema),
  functional: arraySchema,
  output: arraySchema,
  gradients: z.record(z.string(), arraySchema),
});
type RecordedCase = z.output<typeof caseSchema>;

const text = readFileSync(new URL("gradients.fixture.json", import.meta.url), "utf8");
const { cases } = z.object({ torch: z.string(), cases: z.array(caseSchema) }).parse(JSON.parse(text));

/** How deltafit spells each recorded layer; values come in the order in which the case lists its inputs. */
const layers: Readonly<
  Record<string, (builder: GraphBuilder, inputs: readonly Value[], row: RecordedCase) => Value>
> = {
  gelu: (b, [x]) => b.gelu(x!, "none"),
  "gelu-tanh": (b, [x]) => b.gelu(x!, "tanh"),
  silu: (b, [x]) => b.swish(x!),
  tanh: (b, [x]) => b.tanh(x!),
  sigmoid: (b, [x]) => b.sigmoid(x!),
  erf: (b, [x]) => b.erf(x!),
  relu: (b, [x]) => b.relu(x!),
  softmax: (b, [x]) => b.softmax(x!),
  "cross-entropy": (b, [x, targets]) => b.softmaxCrossEntropyLoss(x!, targets!),
  "layer-norm": (b, [x, scale, bias], { epsilon }) => b.layerNormalization(x!, scale!, bias, epsilon!),
  "layer-norm-large-epsilon": (b, [x, scale, bias], { epsilon }) =>
    b.layerNormalization(x!, scale!, bias, epsilon!),
  "rms-norm": (b, [x, scale], { epsilon }) => b.rmsNormalization(x!, scale!, epsilon!),
  embedding: (b, [table, indices]) => b.gather(table!, indices!),
  matmul: (b, [x, y]) => b.matmul(x!, y!),
  linear: (b, [x, weight]) => b.gemm(x!, weight!, { transB: true }),
  addmm: (b, [c, x, weight], { alpha, beta }) => b.gemm(x!, weight!, { alpha: alpha!, beta: beta!, c }),
  rotary: (b, [x, cosine, sine]) => b.rotaryEmbedding(x!, cosine!, sine!),
  attention(b, [q, k, v]) {
    const scores = b.scale(b.matmul(q!, b.transposeLast(k!)), 0.5);
    const [row, column] = [b.reshape(b.range(3), [3, 1]), b.range(3)];
    const masked = b.where(b.lessOrEqual(column, row), scores, b.scalar(-Infinity));
    return b.matmul(b.softmax(masked), v!);
  },
};

const integers = new Set(["targets", "indices"]);

function compute(row: RecordedCase): Record<string, HostArray> {
  const builder = new GraphBuilder();
  const names = Object.keys(row.inputs);
  const values = names.map((name) =>
    builder.input(name, integers.has(name) ? "int64" : "float32", row.inputs[name]!.shape),
  );
  const output = layers[row.name]!(builder, values, row);
  const functional = builder.input("functional", "float32", row.functional.shape);
  const loss = builder.sumAll(builder.multiply(output, functional));
  const wanted = Object.keys(row.gradients);
  const gradients = gradient(
    builder,
    loss,
    wanted.map((name) => values[names.indexOf(name)]!),
  );
  const graph = graphOf([
    { name: "output", value: output },
    ...gradients.map((value, index) => ({ name: `gradient of ${wanted[index]!}`, value: value! })),
  ]);
  verify(graph);
  return interpret(graph, { ...row.inputs, functional: row.functional });
}

function expectClose(actual: HostArray | undefined, expected: HostArray, name: string): void {
  expect(actual?.shape, name).toEqual(expected.shape);
  const magnitude = expected.data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const differences = expected.data.map((value, index) => Math.abs(value - actual!.data[index]!));
  expect(Math.max(...differences), name).toBeLessThanOrEqual(1e-6 * magnitude);
}

test("every layer has recorded values", () => {
  expect(cases.map(({ name }) => name)).toEqual(Object.keys(layers));
});

describe.each(cases.map((row) => [row.name, row] as const))("%s", (_name, row) => {
  test("equals what PyTorch computed", () => {
    const results = compute(row);
    expectClose(results["output"], row.output, "output");
    for (const [name, expected] of Object.entries(row.gradients))
      expectClose(results[`gradient of ${name}`], expected, name);
  });
});
