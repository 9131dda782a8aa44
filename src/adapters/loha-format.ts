/**
 * @file LoHa's adapters in PEFT's format: the fields of `LoHaConfig` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/loha/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { LohaConfiguration } from "../methods/loha.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import { lycorisFieldDefaults, lycorisFields, lycorisFromPeft, lycorisToPeft } from "./lycoris-fields.ts";

const understoodFields = { ...lycorisFields, init_weights: z.boolean().default(true) };
const schema = z.looseObject(understoodFields);

export const lohaFormat: AdapterFormat<LohaConfiguration> = {
  defaults: lycorisFieldDefaults,
  understood: Object.keys(understoodFields).filter((name) => name !== "use_effective_conv2d"),
  defaultTargets: loraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return {
      ...lycorisFromPeft(fields, context),
      rankDropoutScale: true,
      initialWeights: fields.init_weights,
    };
  },
  toPeft: (configuration, context) => ({
    ...lycorisToPeft(configuration, context),
    init_weights: configuration.initialWeights,
  }),
  fileNames: () => (key) => modulePrefix + key,
};
