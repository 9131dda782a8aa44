/** @file What a model folder holds, for `deltafit inspect`. */
import { join } from "node:path";
import { z } from "zod";
import { openBase } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { openCheckpoint } from "../files/checkpoint.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { createModel } from "../models/index.ts";
import { tokenTaskOf } from "../methods/survey.ts";
import type { Model } from "../models/forward.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { CommandResult } from "./command.ts";
import { describeProblems, describeTensors } from "./inspect-text.ts";
import { openTokenizer } from "./model.ts";

export async function inspectModelFolder(folder: string): Promise<CommandResult> {
  const path = join(folder, "config.json");
  const configuration = parseWithSchema(z.record(z.string(), z.unknown()), readJsonFile(path), quote(path));
  const problems: string[] = [];
  const model = await collect(problems, () => createModel(configuration));
  const checkpoint = await collect(problems, () => openCheckpoint(folder));
  const newParameters = model && checkpoint ? await checkWhole(folder, model, problems) : [];
  const tensors = [...(checkpoint?.tensors.values() ?? [])].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
  }));
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const bytes = checkpoint?.totalBytes ?? 0;
  const modelType = String(configuration["model_type"]);
  const sizes = model && {
    layers: model.layerCount,
    hiddenSize: model.hiddenSize,
    vocabularySize: model.vocabularySize,
    // JSON has no infinity.
    maximumPositions: Number.isFinite(model.maximumPositions) ? model.maximumPositions : null,
  };
  return {
    json: {
      kind: "model",
      folder,
      modelType,
      sizes: sizes ?? null,
      parameters,
      bytes,
      newParameters,
      tensors,
      problems,
    },
    text: [
      `model: ${modelType}${sizes ? `, ${sizes.layers} layers, ${sizes.hiddenSize} wide, ${sizes.vocabularySize} tokens, ${sizes.maximumPositions ?? "any number of"} positions` : ""}`,
      `${parameters} parameters in ${tensors.length} tensors, ${bytes} bytes`,
      ...describeTensors(tensors),
      ...(newParameters.length === 0
        ? []
        : [`without a head for this task; missing: ${newParameters.join(", ")}`]),
      ...describeProblems(problems),
    ].join("\n"),
  };
}

/** Checks tensors against the architecture, and the tokenizer against both. */
async function checkWhole(folder: string, model: Model, problems: string[]): Promise<readonly string[]> {
  const base = await collect(problems, () =>
    openBase({ path: folder, task: tokenTaskOf(model) ?? "classification" }),
  );
  if (base) await collect(problems, () => openTokenizer(base));
  return base?.newParameters ?? [];
}

async function collect<Result>(
  problems: string[],
  look: () => Result | Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await look();
  } catch (error) {
    if (!DeltafitError.isInstance(error)) throw error;
    problems.push(error.message);
    return undefined;
  }
}
