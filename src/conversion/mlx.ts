/**
 * @file Adapters of mlx-lm: a folder with adapters.safetensors, whose matrices are PEFT's transposed, and
 * adapter_config.json with the arguments of the run. The scale is absolute, not divided by the rank.
 * Source: ml-explore/mlx-lm, mlx_lm/tuner/{lora,dora,utils}.py.
 */
import fs from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Adapter } from "../adapters/adapter.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { writeFileAtomic, writeFolderAtomic } from "../files/atomic.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import type { SafetensorsFile } from "../files/safetensors.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { ForeignFormat } from "./foreign.ts";
import { scaled, transposed } from "./named-values.ts";
import type { NamedValues } from "./named-values.ts";
import { modulesOfLora, peftLora } from "./plain-lora.ts";
import type { LoraModule } from "./plain-lora.ts";

const configurationName = "adapter_config.json";
const weightsName = "adapters.safetensors";

const schema = z.looseObject({
  fine_tune_type: z.enum(["lora", "dora", "full"]).default("lora"),
  lora_parameters: z.looseObject({
    rank: z.int().positive().optional(),
    scale: z.number().optional(),
    alpha: z.number().optional(),
  }),
});

export const mlx: ForeignFormat = {
  summary: "a folder of mlx-lm",
  recognises: (path) =>
    fs.existsSync(join(path, weightsName)) && fs.existsSync(join(path, configurationName)),
  open(path) {
    const where = quote(join(path, configurationName));
    const configuration = parseWithSchema(schema, readJsonFile(join(path, configurationName)), where);
    if (configuration.fine_tune_type === "full")
      throw new DeltafitError(
        "method-unsupported",
        `${where}: fine_tune_type is "full"; expected "lora" or "dora".`,
        "Weights that were trained whole are a model, not an adapter.",
      );
    const weights = openSafetensors(join(path, weightsName));
    const modules = modulesIn(weights, configuration.lora_parameters);
    return Promise.resolve({
      labelCount: undefined,
      toPeft: (base) => ({ source: peftLora({ modules }, base, path), notes: [] }),
    });
  },
  write: (path, adapter, base) => writeFolderAtomic(path, (folder) => writeFiles(folder, adapter, base)),
};

/** mlx-lm's default. */
const defaultScale = 20;

function modulesIn(
  weights: SafetensorsFile,
  parameters: z.infer<typeof schema>["lora_parameters"],
): LoraModule[] {
  const read = (name: string): NamedValues => ({
    shape: weights.tensors.get(name)?.shape ?? [],
    values: readFloat32(weights, name),
  });
  const known = new Set<string>();
  const modules = [...weights.tensors.keys()].flatMap((name): LoraModule[] => {
    const path = /^(.+)\.lora_a$/.exec(name)?.[1];
    if (path === undefined || !weights.tensors.has(`${path}.lora_b`)) return [];
    const [a, b, magnitude] = [name, `${path}.lora_b`, `${path}.m`];
    for (const part of [a, b, magnitude]) known.add(part);
    const rank = weights.tensors.get(a)?.shape[1] ?? 1;
    const scale =
      parameters.scale ??
      (parameters.alpha === undefined ? defaultScale : parameters.alpha / (parameters.rank ?? rank));
    return [
      {
        path,
        a: transposed(read(a)),
        b: transposed(read(b)),
        scale,
        magnitude: weights.tensors.has(magnitude) ? read(magnitude) : undefined,
      },
    ];
  });
  const unknown = [...weights.tensors.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0)
    throw new DeltafitError(
      "method-unsupported",
      `${quote(weights.path)} holds more than matrices of LoRA: ${unknown.slice(0, 3).map(quote).join(", ")}${unknown.length > 3 ? ` and ${unknown.length - 3} more` : ""}.`,
      "Merge it with mlx_lm.fuse.",
    );
  return modules;
}

const layerPattern = /^.*?\.(\d+)\.(.+)$/;

function writeFiles(folder: string, adapter: Adapter, base: Base): void {
  const modules = modulesOfLora(adapter, "mlx-lm");
  const places = modules.map(({ path }) => {
    const [, layer, key] = layerPattern.exec(path) ?? [];
    if (layer === undefined || key === undefined || base.modules.embeddings.has(path))
      throw new DeltafitError(
        "method-unsupported",
        `mlx-lm adapts layers of the model; the adapter has ${quote(path)}.`,
        "Train an adapter without it, or merge it into the base.",
      );
    return { layer: Number(layer), key };
  });
  const rank = Math.max(...modules.map(({ a }) => a.shape[0] ?? 0));
  const scale = modules[0]?.scale ?? 1;
  const tensors = modules.flatMap((module) => {
    const b = scaled(module.b, module.scale / scale);
    return [
      { name: `${module.path}.lora_a`, ...widened(transposed(module.a), rank) },
      { name: `${module.path}.lora_b`, ...heightened(transposed(b), rank) },
      ...(module.magnitude === undefined ? [] : [{ name: `${module.path}.m`, ...module.magnitude }]),
    ];
  });
  const configuration = {
    model: base.name,
    fine_tune_type: modules.some(({ magnitude }) => magnitude !== undefined) ? "dora" : "lora",
    num_layers: base.model.layerCount - Math.min(...places.map(({ layer }) => layer)),
    lora_parameters: { rank, scale, dropout: 0, keys: [...new Set(places.map(({ key }) => key))].sort() },
  };
  writeSafetensors(
    join(folder, weightsName),
    tensors.map(({ name, shape, values }) => ({ name, tensor: float32Tensor(shape, values) })),
    { format: "mlx" },
  );
  writeFileAtomic(join(folder, configurationName), `${JSON.stringify(configuration, null, 4)}\n`);
}

/** One rank for all modules: zeros to the right of [in, rank]. */
function widened({ shape, values }: NamedValues, rank: number): NamedValues {
  const [rows = 0, columns = 0] = shape;
  const result = new Float32Array(rows * rank);
  for (let row = 0; row < rows; row++)
    result.set(values.subarray(row * columns, (row + 1) * columns), row * rank);
  return { shape: [rows, rank], values: result };
}

/** Zeros below [rank, out]. */
function heightened({ shape, values }: NamedValues, rank: number): NamedValues {
  const [, columns = 0] = shape;
  const result = new Float32Array(rank * columns);
  result.set(values);
  return { shape: [rank, columns], values: result };
}
