/**
 * @file P-tuning in PEFT's format: the fields of `PromptEncoderConfig` and the name of its tensor. Of the encoder only
 * the result is saved.
 * Source: huggingface/peft, src/peft/tuners/p_tuning, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import { encoderSettings } from "../methods/p-tuning.ts";
import type { PTuningConfiguration } from "../methods/p-tuning.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules } from "./peft-fields.ts";
import {
  checkSizes,
  embeddingSizes,
  encoderWidthSchema,
  promptFieldDefaults,
  promptFields,
  promptFileName,
  promptToPeft,
} from "./prompt-fields.ts";

const understoodFields = {
  ...promptFields,
  encoder_reparameterization_type: z.enum(["MLP", "LSTM"]).default("MLP"),
  encoder_hidden_size: encoderWidthSchema,
  encoder_num_layers: z.int().positive().max(1024).default(2),
  encoder_dropout: z.number().min(0).lt(1).default(0),
};
const schema = z.looseObject(understoodFields);

export const pTuningFormat: AdapterFormat<PTuningConfiguration> = {
  defaults: {
    ...promptFieldDefaults,
    encoder_reparameterization_type: "MLP",
    encoder_hidden_size: null,
    encoder_num_layers: 2,
    encoder_dropout: 0,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    checkSizes(fields, embeddingSizes("P-tuning", modules), where);
    return {
      virtualTokens: fields.num_virtual_tokens,
      encoder: fields.encoder_reparameterization_type === "LSTM" ? "lstm" : "mlp",
      encoderWidth: fields.encoder_hidden_size ?? undefined,
      encoderLayers: fields.encoder_num_layers,
      encoderDropout: fields.encoder_dropout,
      condensed: true,
      modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
    };
  },
  toPeft: (configuration, { modules }) => ({
    ...promptToPeft(
      configuration.virtualTokens,
      embeddingSizes("P-tuning", modules),
      configuration.modulesToSave,
    ),
    encoder_reparameterization_type: configuration.encoder === "lstm" ? "LSTM" : "MLP",
    encoder_hidden_size: encoderSettings(configuration, modules).width,
    encoder_num_layers: configuration.encoderLayers,
    encoder_dropout: configuration.encoderDropout,
  }),
  fileNames: () => promptFileName,
};
