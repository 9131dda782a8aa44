/**
 * @file LoKr's adapters in PEFT's format: the fields of `LoKrConfig` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/lokr/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { LokrConfiguration } from "../methods/lokr.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import { lycorisFieldDefaults, lycorisFields, lycorisFromPeft, lycorisToPeft } from "./lycoris-fields.ts";

const understoodFields = {
  ...lycorisFields,
  decompose_both: z.boolean().default(false),
  decompose_factor: z.union([z.literal(-1), z.int().positive()]).default(-1),
  rank_dropout_scale: z.boolean().default(false),
  init_weights: z.union([z.boolean(), z.literal("lycoris")]).default(true),
};
const schema = z.looseObject(understoodFields);

export const lokrFormat: AdapterFormat<LokrConfiguration> = {
  defaults: {
    ...lycorisFieldDefaults,
    decompose_both: false,
    decompose_factor: -1,
    rank_dropout_scale: false,
  },
  understood: Object.keys(understoodFields).filter((name) => name !== "use_effective_conv2d"),
  defaultTargets: loraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return {
      ...lycorisFromPeft(fields, context),
      rankDropoutScale: fields.rank_dropout_scale,
      decomposeBoth: fields.decompose_both,
      decomposeFactor: fields.decompose_factor,
      initialWeights: fields.init_weights,
    };
  },
  toPeft: (configuration, context) => ({
    ...lycorisToPeft(configuration, context),
    decompose_both: configuration.decomposeBoth,
    decompose_factor: configuration.decomposeFactor,
    rank_dropout_scale: configuration.rankDropoutScale,
    init_weights: configuration.initialWeights,
  }),
  fileNames: () => (key) => modulePrefix + key,
};
