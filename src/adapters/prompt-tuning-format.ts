/**
 * @file Prompt tuning in PEFT's format: the fields of `PromptTuningConfig` and the name of its tensor.
 * Source: huggingface/peft, src/peft/tuners/prompt_tuning/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { PromptStart, PromptTuningConfiguration } from "../methods/prompt-tuning.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules } from "./peft-fields.ts";
import {
  checkSizes,
  embeddingSizes,
  promptFieldDefaults,
  promptFields,
  promptFileName,
  promptToPeft,
} from "./prompt-fields.ts";

const understoodFields = {
  ...promptFields,
  prompt_tuning_init: z.enum(["RANDOM", "TEXT", "SAMPLE_VOCAB"]).default("RANDOM"),
  prompt_tuning_init_text: z.string().nullish(),
  tokenizer_name_or_path: z.string().nullish(),
};
const schema = z.looseObject(understoodFields);

export const promptTuningFormat: AdapterFormat<PromptTuningConfiguration> = {
  defaults: {
    ...promptFieldDefaults,
    prompt_tuning_init: "RANDOM",
    prompt_tuning_init_text: null,
    tokenizer_name_or_path: null,
    // Only a start, like the text: it is kept and means nothing once there are values.
    tokenizer_kwargs: null,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    checkSizes(fields, embeddingSizes("Prompt tuning", modules), where);
    return {
      virtualTokens: fields.num_virtual_tokens,
      initial: startOf(fields),
      modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
    };
  },
  toPeft({ virtualTokens, initial, modulesToSave }, { modules }) {
    const text = typeof initial === "object" ? initial : undefined;
    return {
      ...promptToPeft(virtualTokens, embeddingSizes("Prompt tuning", modules), modulesToSave),
      prompt_tuning_init: text ? "TEXT" : initial === "vocabulary" ? "SAMPLE_VOCAB" : "RANDOM",
      prompt_tuning_init_text: text?.text ?? null,
      tokenizer_name_or_path: text?.tokenizer ?? null,
    };
  },
  fileNames: () => promptFileName,
};

function startOf(fields: z.output<typeof schema>): PromptStart {
  switch (fields.prompt_tuning_init) {
    case "RANDOM":
      return "random";
    case "SAMPLE_VOCAB":
      return "vocabulary";
    case "TEXT":
      return { text: fields.prompt_tuning_init_text ?? "", tokenizer: fields.tokenizer_name_or_path ?? "" };
  }
}
