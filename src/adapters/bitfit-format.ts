/**
 * @file BitFit in adapter folders. PEFT has no format for it, so the `peft_type` is deltafit's own and PEFT refuses
 * it by name; fields and names of tensors follow PEFT's rules for what is trained in place.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { BitFitConfiguration } from "../methods/bitfit.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules, nameListSchema, namesSchema } from "./peft-fields.ts";

const understoodFields = { target_modules: namesSchema.nullish(), modules_to_save: nameListSchema.nullish() };
const schema = z.looseObject(understoodFields);

export const bitFitFormat: AdapterFormat<BitFitConfiguration> = {
  isOwn: true,
  defaults: { target_modules: null, modules_to_save: null },
  understood: Object.keys(understoodFields),
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    return {
      targets: fields.target_modules ?? undefined,
      modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
    };
  },
  toPeft: ({ targets, modulesToSave = [] }) => ({
    target_modules: targets ?? null,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
  }),
  fileNames: () => (key) => modulePrefix + key,
};
