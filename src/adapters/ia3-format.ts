/**
 * @file (IA)3's adapters in PEFT's format: the fields of `IA3Config` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/ia3, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";

import type { Ia3Configuration } from "../methods/ia3.ts";
import { matchTargets, namesModule } from "../methods/targets.ts";
import type { ModuleKind, ModuleNames } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { ia3FeedForward, ia3Targets } from "./default-targets.ts";
import {
  fanInFanOut,
  namesSchema,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
  wrappedNames,
} from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["linears"];

const understoodFields = {
  target_modules: targetFields.target_modules,
  exclude_modules: targetFields.exclude_modules,
  modules_to_save: targetFields.modules_to_save,
  feedforward_modules: namesSchema.nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  init_ia3_weights: z.boolean().default(true),
};

const schema = z.looseObject(understoodFields);

export const ia3Format: AdapterFormat<Ia3Configuration> = {
  defaults: {
    target_modules: null,
    exclude_modules: null,
    modules_to_save: null,
    feedforward_modules: null,
    fan_in_fan_out: false,
    init_ia3_weights: true,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: ia3Targets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    const targets = targetsFromPeft(fields, ia3Targets, context, kinds);
    // Without names of its own a file means PEFT's default for the architecture.
    const given = fields.feedforward_modules ?? ia3FeedForward[context.modelType] ?? [];
    return {
      ...targets,
      feedForward: existing(given, matchTargets(targets, context.modules, kinds)),
      initialWeights: fields.init_ia3_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    const { feedForward, initialWeights } = configuration;
    return {
      ...targetsToPeft(configuration, modules, adapted, ia3Format.defaults),
      feedforward_modules: typeof feedForward === "string" ? feedForward : [...feedForward],
      fan_in_fan_out: fanInFanOut(adapted, modules),
      init_ia3_weights: initialWeights,
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, kinds),
};

/** PEFT takes the names of a list that exist. */
function existing(names: ModuleNames, paths: readonly string[]): ModuleNames {
  return typeof names === "string"
    ? names
    : names.filter((name) => paths.some((path) => namesModule([name], path)));
}
