/**
 * @file VeRA's adapters in PEFT's format: the fields of `VeraConfig`, the names of its tensors, and the shared
 * matrices, which stand in the file once where they are saved at all.
 * Source: huggingface/peft, src/peft/tuners/vera, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import { veraProjections } from "../methods/vera.ts";
import type { VeraConfiguration } from "../methods/vera.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import {
  biasNames,
  fanInFanOut,
  targetFields,
  targetFieldDefaults,
  targetsFromPeft,
  targetsToPeft,
  wrappedNames,
} from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["linears"];
const bias = biasNames("vera_only");
const { exclude_modules: _exclude, ...targets } = targetFields;
const { exclude_modules: _none, ...targetDefaults } = targetFieldDefaults;

const understoodFields = {
  ...targets,
  r: z.int().positive().default(256),
  projection_prng_key: z.int().default(0),
  save_projection: z.boolean().default(true),
  vera_dropout: z.number().min(0).lt(1).default(0),
  d_initial: z.number().default(0.1),
  fan_in_fan_out: z.boolean().nullish(),
  bias: bias.schema,
  init_weights: z.boolean().default(true),
};

const schema = z.looseObject(understoodFields);
const defaultTargets = { ...loraTargets, phi: ["q_proj", "v_proj"] };

export const veraFormat: AdapterFormat<VeraConfiguration> = {
  defaults: {
    ...targetDefaults,
    r: 256,
    projection_prng_key: 0,
    save_projection: true,
    vera_dropout: 0,
    d_initial: 0.1,
    fan_in_fan_out: false,
    bias: "none",
    init_weights: true,
  },
  understood: Object.keys(understoodFields),
  defaultTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return {
      ...targetsFromPeft({ ...fields, exclude_modules: null }, defaultTargets, context, kinds),
      rank: fields.r,
      projectionSeed: fields.projection_prng_key,
      saveProjection: fields.save_projection,
      dropout: fields.vera_dropout,
      initialD: fields.d_initial,
      bias: bias.fromPeft(fields.bias),
      initialWeights: fields.init_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    return {
      ...targetsToPeft(configuration, modules, adapted, veraFormat.defaults),
      r: configuration.rank,
      projection_prng_key: configuration.projectionSeed,
      save_projection: configuration.saveProjection,
      vera_dropout: configuration.dropout,
      d_initial: configuration.initialD,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      init_weights: configuration.initialWeights,
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, kinds),
  // These two belong to no module: they stand outside of the model's own names.
  constantNames: ({ saveProjection }): Readonly<Record<string, string>> =>
    saveProjection
      ? Object.fromEntries(Object.values(veraProjections).map((key) => [key, `base_model.${key}`]))
      : {},
};
