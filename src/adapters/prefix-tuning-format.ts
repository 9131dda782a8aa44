/**
 * @file Prefix tuning in PEFT's format: the fields of `PrefixTuningConfig` and the name of its tensor. Of an encoder
 * only the result is saved, which is the prefix.
 * Source: huggingface/peft, src/peft/tuners/prefix_tuning, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { ModuleTable } from "../methods/contract.ts";
import { encoderWidthOf, prefixShape } from "../methods/prefix-tuning.ts";
import type { PrefixTuningConfiguration } from "../methods/prefix-tuning.ts";
import { readsSource } from "../methods/virtual-tokens.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules } from "./peft-fields.ts";
import {
  checkSizes,
  encoderWidthSchema,
  promptFieldDefaults,
  promptFields,
  promptFileName,
  promptToPeft,
} from "./prompt-fields.ts";
import type { ModelSizes } from "./prompt-fields.ts";

const understoodFields = {
  ...promptFields,
  init_weights: z.literal("zero").nullish(),
  encoder_hidden_size: encoderWidthSchema,
  prefix_projection: z.boolean().default(false),
};
const schema = z.looseObject(understoodFields);

/** With grouped queries PEFT counts what belongs to keys and values. */
function sizesOf(modules: ModuleTable): ModelSizes {
  const { width, heads, layers } = prefixShape(modules);
  return {
    token_dim: width,
    num_attention_heads: heads,
    num_layers: layers,
    num_transformer_submodules: readsSource(modules) ? 2 : 1,
  };
}

export const prefixTuningFormat: AdapterFormat<PrefixTuningConfiguration> = {
  defaults: {
    ...promptFieldDefaults,
    init_weights: null,
    encoder_hidden_size: null,
    prefix_projection: false,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    checkSizes(fields, sizesOf(modules), where);
    return {
      virtualTokens: fields.num_virtual_tokens,
      projection: fields.prefix_projection,
      encoderWidth: fields.encoder_hidden_size ?? undefined,
      condensed: true,
      initial: fields.init_weights ?? "normal",
      modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
    };
  },
  toPeft: (configuration, { modules }) => ({
    ...promptToPeft(configuration.virtualTokens, sizesOf(modules), configuration.modulesToSave),
    init_weights: configuration.initial === "zero" ? "zero" : null,
    encoder_hidden_size: encoderWidthOf(configuration, prefixShape(modules)),
    prefix_projection: configuration.projection,
  }),
  fileNames: () => promptFileName,
};
