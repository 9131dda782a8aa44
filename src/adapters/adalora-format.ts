/**
 * @file AdaLoRA's adapters in PEFT's format: the fields of `AdaLoraConfig`, which has all of LoRA's, and the names of
 * its tensors. After training the file holds the chosen ranks alone, and `rank_pattern` says which these are.
 * Source: huggingface/peft, src/peft/tuners/adalora, version 0.21.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema } from "../files/json.ts";
import type { AdaloraConfiguration } from "../methods/adalora.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { adaloraTargets } from "./default-targets.ts";
import { loraFormat } from "./lora-format.ts";
import {
  biasNames,
  fanInFanOut,
  refuseFields,
  shown,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
  wrappedNames,
} from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["linears"];
const bias = biasNames("lora_only");
/** Far above any rank. */
const maximumRank = 2 ** 16;

const understoodFields = {
  ...targetFields,
  target_r: z.int().positive().default(8),
  init_r: z.int().positive().max(maximumRank).default(12),
  tinit: z.int().nonnegative().default(0),
  tfinal: z.int().nonnegative().default(0),
  deltaT: z.int().positive().default(1),
  beta1: z.number().gt(0).lt(1).default(0.85),
  beta2: z.number().gt(0).lt(1).default(0.85),
  orth_reg_weight: z.number().nonnegative().default(0.5),
  total_step: z.int().positive(),
  rank_pattern: z.record(z.string(), z.array(z.boolean()).max(maximumRank)).nullish(),
  lora_alpha: z.number().positive().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  bias: bias.schema,
  init_lora_weights: z.boolean().default(true),
  fan_in_fan_out: z.boolean().nullish(),
};
const schema = z.looseObject(understoodFields);

/** Fields of LoRA that make another method of the adapter, with the value that leaves them unused. */
const unimplemented = {
  use_dora: false,
  layer_replication: null,
  target_parameters: [],
  trainable_token_indices: [],
  loftq_config: {},
};

/** What stands behind a module's path in the names of `rank_pattern`. */
const patternSuffix = ".lora_E";

export const adaloraFormat: AdapterFormat<AdaloraConfiguration> = {
  defaults: {
    ...loraFormat.defaults,
    target_r: 8,
    init_r: 12,
    tinit: 0,
    tfinal: 0,
    deltaT: 1,
    beta1: 0.85,
    beta2: 0.85,
    orth_reg_weight: 0.5,
    total_step: null,
    rank_pattern: null,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: adaloraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    refuseFields(raw, unimplemented, context.where);
    return {
      ...targetsFromPeft(fields, adaloraTargets, context, kinds),
      rank: fields.target_r,
      initialRank: fields.init_r,
      alpha: fields.lora_alpha,
      dropout: fields.lora_dropout,
      totalSteps: fields.total_step,
      initialSteps: fields.tinit,
      finalSteps: fields.tfinal,
      allocateEvery: fields.deltaT,
      sensitivityDecay: fields.beta1,
      uncertaintyDecay: fields.beta2,
      orthogonality: fields.orth_reg_weight,
      bias: bias.fromPeft(fields.bias),
      ranks: ranksFromPeft(fields.rank_pattern, context.where),
      initialWeights: fields.init_lora_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    const { ranks } = configuration;
    return {
      ...targetsToPeft(configuration, modules, adapted, adaloraFormat.defaults),
      target_r: configuration.rank,
      init_r: configuration.initialRank,
      lora_alpha: configuration.alpha,
      lora_dropout: configuration.dropout,
      total_step: configuration.totalSteps,
      tinit: configuration.initialSteps,
      tfinal: configuration.finalSteps,
      deltaT: configuration.allocateEvery,
      beta1: configuration.sensitivityDecay,
      beta2: configuration.uncertaintyDecay,
      orth_reg_weight: configuration.orthogonality,
      bias: bias.toPeft(configuration.bias),
      rank_pattern:
        ranks === undefined
          ? null
          : Object.fromEntries(Object.entries(ranks).map(([path, left]) => [path + patternSuffix, left])),
      init_lora_weights: configuration.initialWeights,
      fan_in_fan_out: fanInFanOut(adapted, modules),
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, kinds),
};

function ranksFromPeft(
  pattern: Readonly<Record<string, readonly boolean[]>> | null | undefined,
  where: string,
): AdaloraConfiguration["ranks"] {
  if (pattern === null || pattern === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(pattern).map(([name, left]) => {
      if (name.endsWith(patternSuffix)) return [name.slice(0, -patternSuffix.length), left];
      throw new DeltafitError(
        "config-invalid",
        `${where}: rank_pattern names ${shown(name)}; expected the path of a module and ${patternSuffix}.`,
        "Save the adapter again with PEFT 0.21.",
      );
    }),
  );
}
