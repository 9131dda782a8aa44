/** @file Reading back a written ONNX file, for tests: its messages with their types checked, its nodes as text. */
import { expect } from "vitest";
import { z } from "zod";
import { decodeModel } from "../../src/onnx/schema.ts";

const valueInfoSchema = z.object({ name: z.string(), type: z.unknown() });
const tensorSchema = z.object({
  name: z.string(),
  dims: z.array(z.number()).default([]),
  data_type: z.number(),
  raw_data: z.instanceof(Uint8Array).optional(),
  data_location: z.number().optional(),
  external_data: z.array(z.object({ key: z.string(), value: z.string() })).optional(),
});
const nodeSchema = z.object({
  op_type: z.string(),
  name: z.string(),
  domain: z.string().default(""),
  input: z.array(z.string()).default([]),
  output: z.array(z.string()),
  attribute: z.array(z.record(z.string(), z.unknown())).default([]),
});
const modelSchema = z.object({
  ir_version: z.number(),
  opset_import: z.array(z.object({ domain: z.string().default(""), version: z.number() })),
  graph: z.object({
    node: z.array(nodeSchema).default([]),
    initializer: z.array(tensorSchema).default([]),
    input: z.array(valueInfoSchema).default([]),
    output: z.array(valueInfoSchema),
  }),
});

type Model = z.output<typeof modelSchema>;

export function readModel(bytes: Uint8Array): Model {
  return modelSchema.parse(decodeModel(bytes));
}

/** Nodes as text: type(inputs) -> outputs. */
export const nodeTexts = ({ graph }: Model) =>
  graph.node.map(
    ({ op_type: type, input, output }) => `${type}(${input.join(", ")}) -> ${output.join(", ")}`,
  );

/** Every name that a value of the graph goes by must be given once. */
export function expectUniqueNames({ graph }: Model): void {
  const given = [
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name }) => name),
    ...graph.node.flatMap(({ output }) => output.filter((name) => name !== "")),
  ];
  expect(given.filter((name, index) => given.indexOf(name) !== index)).toEqual([]);
  const known = new Set([...given, ""]);
  expect(graph.node.flatMap(({ input }) => input.filter((name) => !known.has(name)))).toEqual([]);
  expect(graph.output.filter(({ name }) => !known.has(name))).toEqual([]);
}
