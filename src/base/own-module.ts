/**
 * @file A module of the user's own in place of a language model: a forward function over the same context, with
 * weights given as arrays. Whatever adapts a model adapts it the same way.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { DeltafitError } from "../errors.ts";
import type { DataType } from "../tensor/tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { Shape } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { ForwardContext } from "../models/forward.ts";
import { surveyForward } from "../methods/survey.ts";
import type { Base } from "./base.ts";
import { locationsIn, preparedPath, writePrepared } from "./prepared-weights.ts";

/** Where a forward function of the user's own stands: the linear layers, norms and parameters that methods hook into. */
export type ModuleContext = Pick<ForwardContext, "builder" | "linear" | "layerNorm" | "rmsNorm" | "parameter" | "dropout">;

export interface OwnModule<InputName extends string = string> {
  /** Tensors given at every run; extents may be symbols such as "batch". */
  readonly inputs: Readonly<Record<InputName, { readonly dtype: DataType; readonly shape: Shape }>>;
  /** The outputs by name. "loss" is a float32 scalar: the sum over the rows. */
  readonly forward: (context: ModuleContext, inputs: Readonly<Record<InputName, Value>>) => { readonly loss: Value } & Readonly<Record<string, Value>>;
}

/** An own module with its frozen weights: what `createAdapter` and `moduleObjective` take. */
export interface ModuleBase<InputName extends string = string> extends Pick<Base, "modules" | "read" | "readRounded" | "newParameters" | "settings" | "locate"> {
  readonly module: OwnModule<InputName>;
}

/**
 * Checks the weights against what the forward function asks for, and puts them where a session can map them.
 * @param weights float32 values by full parameter name, row-major; a linear layer's matrix is [out, in].
 * @throws DeltafitError `checkpoint-mismatch` naming missing, unknown or misshapen weights.
 */
export function openModule<InputName extends string>(
  module: OwnModule<InputName>,
  weights: Readonly<Record<string, Float32Array>>,
): ModuleBase<InputName> {
  const modules = surveyForward((context) => {
    module.forward(context, moduleInputs(context.builder, module));
  });
  const parameters = [...modules.parameters.values()];
  const expected = new Map(parameters.map(({ stored, shape }) => [stored, shape]));
  const problems = [
    ...[...expected].flatMap(([name, shape]) => {
      const size = weights[name]?.length;
      if (size === undefined) return [`${name} is missing`];
      return size === elementCount(shape) ? [] : [`${name} has ${size} values, expected [${shape.join(", ")}]`];
    }),
    ...Object.keys(weights).flatMap((name) => (expected.has(name) ? [] : [`${name} is not used`])),
  ];
  if (problems.length > 0)
    throw new DeltafitError("checkpoint-mismatch", `The weights do not fit the module: ${problems.join("; ")}.`, "Give one array for each parameter, by its full name.");
  const locations = locationsIn(storeWeights(expected, weights));
  const find = <T>(value: T | undefined, name: string): T => {
    if (value !== undefined) return value;
    throw new DeltafitError("checkpoint-mismatch", `The module has no parameter ${name}.`);
  };
  const read = (name: string) => find(weights[modules.parameters.get(name)?.stored ?? name], name);
  return {
    module,
    modules,
    newParameters: [],
    settings: { task: "regression", labelCount: 1 },
    read,
    readRounded: read,
    locate: (stored) => find(locations.get(stored), stored),
  };
}

/** Creates the graph's inputs of a module. */
export function moduleInputs<InputName extends string>(builder: GraphBuilder, { inputs }: OwnModule<InputName>): Record<InputName, Value> {
  const result: Partial<Record<InputName, Value>> = {};
  for (const name in inputs) result[name] = builder.input(name, inputs[name].dtype, inputs[name].shape);
  return result as Record<InputName, Value>;
}

/** A prepared file in the cache under the hash of its content. */
function storeWeights(shapes: ReadonlyMap<string, readonly number[]>, weights: Readonly<Record<string, Float32Array>>): string {
  const hash = createHash("sha256").update("module 1");
  for (const [name, shape] of shapes) {
    const values = weights[name];
    hash.update(`${name} ${shape.join()}`);
    if (values) hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  const path = preparedPath(hash.digest("hex").slice(0, 40));
  if (!fs.existsSync(path))
    writePrepared(
      path,
      [...shapes].map(([name, shape]) => ({ name, shape, values: () => weights[name] ?? new Float32Array(elementCount(shape)) })),
    );
  return path;
}
