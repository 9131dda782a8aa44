/**
 * @file Trainable tokens in PEFT's format: the fields of `TrainableTokensConfig` and the name of its tensor, which
 * holds the new rows themselves.
 * Source: huggingface/peft, src/peft/tuners/trainable_tokens/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { TrainableTokensConfiguration } from "../methods/trainable-tokens.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { namesSchema, tokenListSchema } from "./peft-fields.ts";

const understoodFields = {
  target_modules: namesSchema.nullish(),
  token_indices: tokenListSchema.default([]),
  // Rows that start random in place of the base's: only a start, which the file's values replace.
  init_weights: z.boolean().nullish(),
};
const schema = z.looseObject(understoodFields);

export const trainableTokensFormat: AdapterFormat<TrainableTokensConfiguration> = {
  defaults: { target_modules: null, token_indices: [], init_weights: true },
  understood: ["target_modules", "token_indices"],
  defaultTargets: {},
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return { tokens: fields.token_indices, targets: fields.target_modules ?? undefined };
  },
  toPeft: ({ tokens, targets }) => ({
    target_modules: targets === undefined || typeof targets === "string" ? (targets ?? null) : [...targets],
    token_indices: [...tokens],
  }),
  fileNames: () => (key) => modulePrefix + key,
};
