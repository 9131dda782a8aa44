/**
 * @file FourierFT's adapters in PEFT's format: the fields of `FourierFTConfig` and the name of its tensor.
 * Source: huggingface/peft, src/peft/tuners/fourierft/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { FourierftConfiguration } from "../methods/fourierft.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import {
  biasNames,
  fanInFanOut,
  patternSchema,
  targetFieldDefaults,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
  wrappedNames,
} from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["linears"];
const bias = biasNames("fourier_only");

const understoodFields = {
  ...targetFields,
  n_frequency: z.int().positive().default(1000),
  n_frequency_pattern: patternSchema(z.int().positive()),
  scaling: z.number().default(150),
  // Without a seed PEFT draws other places at every start: such a file cannot be computed again.
  random_loc_seed: z.int().default(777),
  fan_in_fan_out: z.boolean().nullish(),
  bias: bias.schema,
  init_weights: z.boolean().default(false),
};
const schema = z.looseObject(understoodFields);
const defaultTargets = { ...loraTargets, gpt2: ["mlp.c_proj"], gpt_bigcode: ["mlp.c_proj"] };

export const fourierftFormat: AdapterFormat<FourierftConfiguration> = {
  defaults: {
    ...targetFieldDefaults,
    n_frequency: 1000,
    n_frequency_pattern: {},
    scaling: 150,
    random_loc_seed: 777,
    fan_in_fan_out: false,
    bias: "none",
    init_weights: false,
  },
  understood: Object.keys(understoodFields),
  defaultTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return {
      ...targetsFromPeft(fields, defaultTargets, context, kinds),
      frequencies: fields.n_frequency,
      frequencyPattern: fields.n_frequency_pattern ?? undefined,
      scaling: fields.scaling,
      locationSeed: fields.random_loc_seed,
      bias: bias.fromPeft(fields.bias),
      initialWeights: fields.init_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    return {
      ...targetsToPeft(configuration, modules, adapted, fourierftFormat.defaults),
      n_frequency: configuration.frequencies,
      n_frequency_pattern: configuration.frequencyPattern ?? {},
      scaling: configuration.scaling,
      random_loc_seed: configuration.locationSeed,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      init_weights: configuration.initialWeights,
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, kinds),
};
