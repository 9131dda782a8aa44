/**
 * @file A task's head in adapter folders. PEFT has no format for a head alone, so the `peft_type` is deltafit's own
 * and PEFT refuses it by name; fields and names of tensors follow PEFT's rules for what is trained in place.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { HeadOnlyConfiguration } from "../methods/head-only.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules, nameListSchema } from "./peft-fields.ts";

const understoodFields = { modules_to_save: nameListSchema.nullish() };
const schema = z.looseObject(understoodFields);

export const headOnlyFormat: AdapterFormat<HeadOnlyConfiguration> = {
  isOwn: true,
  defaults: { modules_to_save: null },
  understood: Object.keys(understoodFields),
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    return { modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules) };
  },
  toPeft: ({ modulesToSave }, { modules }) => ({
    modules_to_save: [...(modulesToSave?.length ? modulesToSave : modules.headModules)],
  }),
  fileNames: () => (key) => modulePrefix + key,
};
