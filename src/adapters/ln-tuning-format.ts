/**
 * @file LayerNorm tuning in PEFT's format: the fields of `LNTuningConfig` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/ln_tuning/config.py, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { LnTuningConfiguration } from "../methods/ln-tuning.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { layerNormTargets } from "./default-targets.ts";
import { moduleOf, targetFields, targetsFromPeft, targetsToPeft } from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["norms"];

const understoodFields = {
  target_modules: targetFields.target_modules,
  exclude_modules: targetFields.exclude_modules,
  modules_to_save: targetFields.modules_to_save,
};
const schema = z.looseObject(understoodFields);

export const lnTuningFormat: AdapterFormat<LnTuningConfiguration> = {
  defaults: { target_modules: null, exclude_modules: null, modules_to_save: null },
  understood: Object.keys(understoodFields),
  defaultTargets: layerNormTargets,
  fromPeft: (raw, context) =>
    targetsFromPeft(parseWithSchema(schema, raw, context.where), layerNormTargets, context, kinds),
  toPeft: (configuration, { modules }) =>
    targetsToPeft(
      configuration,
      modules,
      matchTargets(configuration, modules, kinds),
      lnTuningFormat.defaults,
    ),
  fileNames(configuration, modules) {
    const norms = new Set(matchTargets(configuration, modules, kinds));
    return (key) => {
      const path = moduleOf(key);
      return `${modulePrefix}${norms.has(path) ? `${path}.ln_tuning_layers${key.slice(path.length)}` : key}`;
    };
  },
};
