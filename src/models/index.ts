/** @file The table of architectures by `model_type`. */
import { DeltafitError } from "../errors.ts";
import type { Architecture, Model, Task } from "./forward.ts";
import { albert } from "./albert.ts";
import { bert } from "./bert.ts";
import { debertaV2 } from "./deberta-v2.ts";
import { deberta } from "./deberta.ts";
import { distilbert } from "./distilbert.ts";
import { electra } from "./electra.ts";
import { gemma2 } from "./gemma2.ts";
import { gemma3Text } from "./gemma3-text.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { modernbert } from "./modernbert.ts";
import { olmo2 } from "./olmo2.ts";
import { opt } from "./opt.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { roberta, xlmRoberta } from "./roberta.ts";
import { smollm3 } from "./smollm3.ts";
import { t5 } from "./t5.ts";

const table: ReadonlyMap<string, Architecture> = new Map(
  [
    albert,
    bert,
    deberta,
    debertaV2,
    distilbert,
    electra,
    gemma2,
    gemma3Text,
    gpt2,
    gptNeox,
    llama,
    mistral,
    mixtral,
    modernbert,
    olmo2,
    opt,
    phi3,
    qwen2,
    qwen3,
    roberta,
    smollm3,
    t5,
    xlmRoberta,
  ].map((architecture) => [architecture.modelType, architecture]),
);

/** The `model_type`s that deltafit implements, sorted. */
export const knownModelTypes: readonly string[] = [...table.keys()].sort();

/**
 * The model a config.json describes.
 * @param isStored whether the checkpoint, where there is one, has a tensor.
 * @param task what the model is for; left out, the names of modules are those of most tasks.
 * @throws DeltafitError `architecture-unknown` or `config-invalid`.
 */
export function createModel(
  configuration: Readonly<Record<string, unknown>>,
  isStored?: (tensor: string) => boolean,
  task?: Task,
): Model {
  const model = architectureOf(configuration).create(configuration, isStored);
  return (task && model.forTask?.(task)) ?? model;
}

/** A configuration with the sizes it left out. */
export interface CompletedConfiguration {
  readonly configuration: Readonly<Record<string, unknown>>;
  /** The sizes that were left out, as transformers' configuration class has them. */
  readonly assumed: Readonly<Record<string, number>>;
}

/**
 * A configuration completed as transformers' class of the architecture does it. For models without weights only: of a
 * checkpoint a missing size means a damaged file.
 * @throws DeltafitError `architecture-unknown`.
 */
export function completeConfiguration(
  configuration: Readonly<Record<string, unknown>>,
): CompletedConfiguration {
  const { classDefaults = {} } = architectureOf(configuration);
  const assumed = Object.fromEntries(
    Object.entries(classDefaults).filter(([key]) => configuration[key] === undefined),
  );
  return { configuration: { ...configuration, ...assumed }, assumed };
}

function architectureOf(configuration: Readonly<Record<string, unknown>>): Architecture {
  const modelType = configuration["model_type"];
  const architecture = typeof modelType === "string" ? table.get(modelType) : undefined;
  if (architecture) return architecture;
  throw new DeltafitError(
    "architecture-unknown",
    `config.json: the model_type ${JSON.stringify(modelType ?? null)} is not known.`,
    `Known are ${knownModelTypes.join(", ")}.`,
  );
}
