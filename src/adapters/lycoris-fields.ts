/**
 * @file The fields that the configurations of PEFT's LyCORIS methods have in common, both ways.
 * Source: huggingface/peft, src/peft/tuners/lycoris_utils.py, version 0.21.
 */
import { z } from "zod";
import type { LycorisConfiguration } from "../methods/lycoris.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import type { FormatContext } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import {
  patternSchema,
  targetFieldDefaults,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
} from "./peft-fields.ts";

const kinds: readonly ModuleKind[] = ["linears"];
const shareSchema = z.number().min(0).lt(1).default(0);

export const lycorisFields = {
  ...targetFields,
  r: z.int().positive().default(8),
  alpha: z.number().positive().default(8),
  rank_dropout: shareSchema,
  module_dropout: shareSchema,
  rank_pattern: patternSchema(z.int().positive()),
  alpha_pattern: patternSchema(z.number().positive()),
  // Of convolutions alone.
  use_effective_conv2d: z.boolean().default(false),
};

export const lycorisFieldDefaults = {
  ...targetFieldDefaults,
  r: 8,
  alpha: 8,
  rank_dropout: 0,
  module_dropout: 0,
  rank_pattern: {},
  alpha_pattern: {},
  use_effective_conv2d: false,
  init_weights: true,
};

type Fields = z.output<z.ZodObject<typeof lycorisFields>>;

export function lycorisFromPeft(
  fields: Fields,
  context: FormatContext,
): Omit<LycorisConfiguration, "rankDropoutScale"> {
  return {
    ...targetsFromPeft(fields, loraTargets, context, kinds),
    rank: fields.r,
    alpha: fields.alpha,
    rankDropout: fields.rank_dropout,
    moduleDropout: fields.module_dropout,
    rankPattern: fields.rank_pattern ?? undefined,
    alphaPattern: fields.alpha_pattern ?? undefined,
  };
}

export function lycorisToPeft(
  configuration: LycorisConfiguration,
  { modules }: FormatContext,
): Record<string, unknown> {
  const adapted = matchTargets(configuration, modules, kinds);
  return {
    ...targetsToPeft(configuration, modules, adapted, lycorisFieldDefaults),
    r: configuration.rank,
    alpha: configuration.alpha,
    rank_dropout: configuration.rankDropout,
    module_dropout: configuration.moduleDropout,
    rank_pattern: configuration.rankPattern ?? {},
    alpha_pattern: configuration.alphaPattern ?? {},
  };
}
