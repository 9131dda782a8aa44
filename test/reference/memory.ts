/**
 * @file Parameter counts against PEFT's, from configurations alone: of the base, of what each method trains, and of the
 * head it trains besides.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { bindNewAdapter } from "../../src/adapters/adapter.ts";
import { formatOf, requireMethodType } from "../../src/adapters/method-table.ts";
import { shapeOf } from "../../src/base/base.ts";
import type { BaseShape } from "../../src/base/base.ts";
import { DeltafitError } from "../../src/errors.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { countParameters } from "../../src/memory/parameter-counts.ts";
import type { ParameterCounts } from "../../src/memory/parameter-counts.ts";
import type { BoundMethod } from "../../src/methods/contract.ts";
import { insideModule } from "../../src/methods/targets.ts";
import { completeConfiguration } from "../../src/models/index.ts";
import { elementCount } from "../../src/tensor/tensor.ts";
import { CaseFailure } from "./cases.ts";
import { skipOn } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

const rowsSchema = z.array(
  z.object({
    model: z.string(),
    task: z.enum(["causal-lm", "sequence-classification"]),
    config_class: z.string(),
    config: z.record(z.string(), z.unknown()),
    method: z.string(),
    settings: z.record(z.string(), z.unknown()),
    base_parameters: z.int(),
    trainable: z.int(),
    total: z.int(),
    of_which_saved_head: z.int(),
  }),
);
type Row = z.output<typeof rowsSchema>[number];

/** `model_type` by transformers' class of the configuration. */
const modelTypes: Readonly<Record<string, string>> = {
  BertConfig: "bert",
  DebertaV2Config: "deberta-v2",
  GPT2Config: "gpt2",
  LlamaConfig: "llama",
  MistralConfig: "mistral",
  Qwen2Config: "qwen2",
  RobertaConfig: "roberta",
  T5Config: "t5",
};

export const memory: ReferenceSection = ({ root }) => {
  const folder = join(root, "memory");
  const files = existsSync(folder) ? readdirSync(folder).sort() : [];
  return files.flatMap((file) =>
    rowsSchema
      .parse(readJsonFile(join(folder, file)))
      .map((row): ReferenceCase => ({ name: nameOf(file, row), check: () => checkRow(row) })),
  );
};

const nameOf = (file: string, { model, method, settings }: Row) =>
  `memory/${file.replace(/\.json$/, "")}/${model}-${method.replace(/Config$/, "")}-${Object.values(settings).flat().join("-")}`;

async function checkRow(row: Row): Promise<void> {
  const { shape, method } = await skipOn(["architecture-unknown", "method-unsupported"], () => {
    const opened = openRow(row);
    return { shape: opened, method: methodOf(row, opened) };
  }).catch((error: unknown) => {
    // A method that would train nothing is refused.
    if (row.trainable > 0 || !DeltafitError.isInstance(error) || error.code !== "target-unmatched")
      throw error;
    return { shape: openRow(row), method: { parameters: [] } };
  });
  const counts = countParameters(shape.modules, method);
  const found = row.method === "BitFit" ? bitFitCounts(counts, shape) : asPeftCounts(counts);
  const expected = {
    base: row.base_parameters,
    trainable: row.trainable,
    total: row.total,
    head: row.of_which_saved_head,
  };
  const problems = (["base", "trainable", "total", "head"] as const).flatMap((name) =>
    found[name] === expected[name] ? [] : [`${name}: ${found[name]}, expected ${expected[name]}`],
  );
  if (problems.length > 0) throw new CaseFailure(problems.join("; "));
}

function openRow({ config_class: className, config, task }: Row): BaseShape {
  const { configuration } = completeConfiguration({
    ...config,
    model_type: modelTypes[className] ?? className,
  });
  return shapeOf(configuration, { task: task === "causal-lm" ? task : "classification" });
}

/** The method as PEFT's configuration class makes it; the task's head comes with it. */
function methodOf({ method: className, settings }: Row, shape: BaseShape): BoundMethod {
  if (className === "BitFit")
    return bindNewAdapter({ ...target(shape), type: "BITFIT", configuration: {} }).method;
  const peftType = className
    .replace(/Config$/, "")
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .toUpperCase();
  const type = requireMethodType(peftType, className);
  const { modules, model } = shape;
  const format = formatOf(type);
  const fields = { ...format.defaults, ...settings };
  const stored = format.fromPeft(fields, { modules, modelType: model.modelType, where: "settings" });
  // Of an encoder only the result is stored; what is counted is what is trained.
  const configuration = "condensed" in stored ? { ...stored, condensed: false } : stored;
  return bindNewAdapter({ ...target(shape), type, configuration }).method;
}

const target = ({ modules, settings }: BaseShape) => ({ base: { modules, settings, newParameters: [] } });

interface Counts {
  readonly base: number;
  readonly trainable: number;
  readonly total: number;
  readonly head: number;
}

/** PEFT keeps the frozen head beside the trained copy, and counts both. */
function asPeftCounts(counts: ParameterCounts): Counts {
  const { baseParameters, trainableParameters, headParameters, totalParameters } = counts;
  return {
    base: baseParameters,
    trainable: trainableParameters + headParameters,
    total: totalParameters + headParameters,
    head: headParameters,
  };
}

/** The case counts every bias, those of the head among them, and the whole head apart. */
function bitFitCounts(counts: ParameterCounts, { modules }: BaseShape): Counts {
  const headBiases = [...modules.parameters.values()]
    .filter(({ name }) => name.endsWith(".bias") && insideModule(["classifier"], name))
    .reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return {
    base: counts.baseParameters,
    trainable: counts.trainableParameters + headBiases,
    total: counts.totalParameters,
    head: counts.headParameters,
  };
}
