/**
 * @file Bottleneck adapters in adapter folders. PEFT has no format for them, so the `peft_type` is deltafit's own and
 * PEFT refuses it by name; the fields are those of AdapterHub's `BnConfig`, the tensors' names follow PEFT's rules.
 * Source: adapter-hub/adapters, src/adapters/configuration/adapter_config.py, version 1.3.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import type { BottleneckConfiguration } from "../methods/bottleneck.ts";
import { activationSchema } from "../models/configuration.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { existingModules, nameListSchema, refuseFields } from "./peft-fields.ts";

const factor = z.number().positive();
const maximumLayers = 2 ** 16;

const understoodFields = {
  mh_adapter: z.boolean().default(false),
  output_adapter: z.boolean().default(true),
  reduction_factor: z.union([factor, z.record(z.string(), factor)]).default(16),
  non_linearity: z.string().toLowerCase().pipe(activationSchema).default("relu"),
  original_ln_before: z.boolean().default(false),
  original_ln_after: z.boolean().default(true),
  ln_before: z.boolean().default(false),
  ln_after: z.boolean().default(false),
  init_weights: z.enum(["bert", "mam_adapter"]).default("bert"),
  is_parallel: z.boolean().default(false),
  scaling: z.number().default(1),
  residual_before_ln: z.union([z.boolean(), z.literal("post_add")]).default(true),
  leave_out: z.array(z.int().nonnegative()).max(maximumLayers).default([]),
  dropout: z.number().min(0).lt(1).default(0),
  modules_to_save: nameListSchema.nullish(),
};
const schema = z.looseObject(understoodFields);

/** Parts of AdapterHub's adapters that are off. */
const unused = {
  adapter_residual_before_ln: false,
  use_gating: false,
  inv_adapter: null,
  cross_adapter: false,
  phm_layer: false,
  stochastic_depth: 0,
};

/** `residual_before_ln` by what the adapter adds to. */
const skipNames: ReadonlyMap<boolean | "post_add", BottleneckConfiguration["skipFrom"]> = new Map<
  boolean | "post_add",
  BottleneckConfiguration["skipFrom"]
>([
  [true, "output"],
  [false, "input"],
  ["post_add", "sum"],
]);

export const bottleneckFormat: AdapterFormat<BottleneckConfiguration> = {
  isOwn: true,
  defaults: { ...unused, modules_to_save: null },
  understood: [...Object.keys(understoodFields), ...Object.keys(unused)],
  defaultTargets: {},
  fromPeft(raw, { modules, where }) {
    const fields = parseWithSchema(schema, raw, where);
    refuseFields(fields, unused, where);
    const { reduction_factor: reduction } = fields;
    const { default: rest = 16, ...layers } =
      typeof reduction === "number" ? { default: reduction } : reduction;
    return {
      after: [
        ...(fields.mh_adapter ? (["attention"] as const) : []),
        ...(fields.output_adapter ? (["feed-forward"] as const) : []),
      ],
      reduction: rest,
      layerReductions: Object.keys(layers).length > 0 ? layers : undefined,
      activation: fields.non_linearity,
      isParallel: fields.is_parallel,
      joinBefore: fields.original_ln_before,
      joinAfter: fields.original_ln_after,
      normBefore: fields.ln_before,
      normAfter: fields.ln_after,
      skipFrom: skipNames.get(fields.residual_before_ln) ?? "output",
      scaling: fields.scaling,
      dropout: fields.dropout,
      leaveOut: fields.leave_out,
      initial: fields.init_weights,
      modulesToSave: existingModules([...new Set(fields.modules_to_save)], modules),
    };
  },
  toPeft: ({ after, layerReductions, modulesToSave = [], ...configuration }) => ({
    ...unused,
    mh_adapter: after.includes("attention"),
    output_adapter: after.includes("feed-forward"),
    reduction_factor:
      layerReductions === undefined
        ? configuration.reduction
        : { ...layerReductions, default: configuration.reduction },
    non_linearity: configuration.activation,
    original_ln_before: configuration.joinBefore,
    original_ln_after: configuration.joinAfter,
    ln_before: configuration.normBefore,
    init_weights: configuration.initial,
    is_parallel: configuration.isParallel,
    scaling: configuration.scaling,
    ln_after: configuration.normAfter,
    residual_before_ln:
      [...skipNames].find(([, skipFrom]) => skipFrom === configuration.skipFrom)?.[0] ?? true,
    leave_out: [...configuration.leaveOut],
    dropout: configuration.dropout,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
  }),
  fileNames: () => (key) => modulePrefix + key,
};
