/** @file The table of architectures by `model_type`. */
import { DeltafitError } from "../errors.ts";
import type { Architecture, Model } from "./forward.ts";
import { bert } from "./bert.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { roberta } from "./roberta.ts";

const table: ReadonlyMap<string, Architecture> = new Map(
  [bert, gpt2, llama, roberta].map((architecture) => [architecture.modelType, architecture]),
);

/** The `model_type`s that deltafit implements, sorted. */
export const knownModelTypes: readonly string[] = [...table.keys()].sort();

/**
 * The model a config.json describes.
 * @throws DeltafitError `architecture-unknown` or `config-invalid`.
 */
export function createModel(configuration: Readonly<Record<string, unknown>>): Model {
  const modelType = configuration["model_type"];
  const architecture = typeof modelType === "string" ? table.get(modelType) : undefined;
  if (architecture) return architecture.create(configuration);
  throw new DeltafitError(
    "architecture-unknown",
    `config.json: the model_type ${JSON.stringify(modelType ?? null)} is not known.`,
    `Known are ${knownModelTypes.join(", ")}.`,
  );
}
