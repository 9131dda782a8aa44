/**
 * @file Parts that the `adapter_config.json` of PEFT's methods with virtual tokens have in common: sizes of the model
 * that it repeats, and names of tensors. Knows no method.
 * Source: huggingface/peft, src/peft/config.py, src/peft/utils/save_and_load.py, version 0.21.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import type { ModuleTable } from "../methods/contract.ts";
import { promptEmbeddings, readsSource, tokenTable } from "../methods/virtual-tokens.ts";
import { nameListSchema } from "./peft-fields.ts";

/** Far above what any model has positions. */
const maximumVirtualTokens = 2 ** 16;
const size = z.int().positive().nullish();

export const promptFields = {
  num_virtual_tokens: z.int().positive().max(maximumVirtualTokens),
  token_dim: size,
  num_transformer_submodules: size,
  num_attention_heads: size,
  num_layers: size,
  modules_to_save: nameListSchema.nullish(),
};

/** Width of an encoder's hidden layer: a file of a few bytes must not ask for more than any has. */
export const encoderWidthSchema = z
  .int()
  .positive()
  .max(2 ** 16)
  .nullish();

type PromptFields = z.output<z.ZodObject<typeof promptFields>>;

/** PEFT's defaults of {@link promptFields}. */
export const promptFieldDefaults = {
  num_virtual_tokens: null,
  token_dim: null,
  num_transformer_submodules: null,
  num_attention_heads: null,
  num_layers: null,
  modules_to_save: null,
};

/** What PEFT repeats of the model in an adapter's configuration. */
export interface ModelSizes {
  readonly token_dim: number;
  readonly num_attention_heads: number;
  readonly num_layers: number;
  /** 2 for an encoder-decoder. */
  readonly num_transformer_submodules: number;
}

/** @throws DeltafitError `adapter-mismatch` where a file repeats other sizes than the model has. */
export function checkSizes(fields: PromptFields, sizes: ModelSizes, where: string): void {
  for (const name of Object.keys(sizes) as (keyof ModelSizes)[]) {
    const found = fields[name];
    if (found === null || found === undefined || found === sizes[name]) continue;
    throw new DeltafitError(
      "adapter-mismatch",
      `${where}: ${name} is ${found}; for this base it is ${sizes[name]}.`,
      "Open the base the adapter was trained on.",
    );
  }
}

/** The fields of {@link promptFields}. */
export function promptToPeft(
  virtualTokens: number,
  sizes: ModelSizes,
  modulesToSave: readonly string[] = [],
) {
  return {
    num_virtual_tokens: virtualTokens,
    ...sizes,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
  };
}

/** PEFT keeps no adapter around the model for these methods: saved modules have a shorter prefix. */
export function promptFileName(key: string): string {
  return key === promptEmbeddings ? key : `base_model.${key}`;
}

/** The sizes that PEFT repeats where virtual tokens are embeddings. */
export function embeddingSizes(method: string, modules: ModuleTable): ModelSizes {
  const hasSource = readsSource(modules);
  // PEFT counts an encoder-decoder's layers on the side that reads.
  const layers = modules.attentions.filter(({ kind }) => (kind === "source") === hasSource);
  return {
    token_dim: tokenTable(method, modules).size,
    num_attention_heads: Number(layers[0]?.query.shape[1] ?? 0),
    num_layers: layers.length,
    num_transformer_submodules: hasSource ? 2 : 1,
  };
}
