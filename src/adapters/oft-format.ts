/**
 * @file OFT's adapters in PEFT's format: the fields of `OFTConfig` and the names of its tensors. A number of blocks or
 * an extent of 0 is one that follows from the other.
 * Source: huggingface/peft, src/peft/tuners/oft, version 0.21.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema } from "../files/json.ts";
import { oftDefaultBlockSize, oftKinds } from "../methods/oft.ts";
import type { OftConfiguration } from "../methods/oft.ts";
import { matchTargets } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import {
  biasNames,
  fanInFanOut,
  targetFieldDefaults,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
  wrappedNames,
} from "./peft-fields.ts";

const bias = biasNames("oft_only");

const understoodFields = {
  ...targetFields,
  r: z.int().nonnegative().default(0),
  // Files of an older OFT, which rotated outputs, have no such field.
  oft_block_size: z.int().nonnegative().optional(),
  module_dropout: z.number().min(0).lt(1).default(0),
  fan_in_fan_out: z.boolean().nullish(),
  bias: bias.schema,
  init_weights: z.boolean().default(true),
  coft: z.boolean().default(false),
  eps: z.number().positive().default(6e-5),
  block_share: z.boolean().default(false),
  use_cayley_neumann: z.boolean().default(true),
  num_cayley_neumann_terms: z.int().default(5),
};
const schema = z.looseObject(understoodFields);

export const oftFormat: AdapterFormat<OftConfiguration> = {
  defaults: {
    ...targetFieldDefaults,
    r: 0,
    oft_block_size: 32,
    module_dropout: 0,
    fan_in_fan_out: false,
    bias: "none",
    init_weights: true,
    coft: false,
    eps: 6e-5,
    block_share: false,
    use_cayley_neumann: true,
    num_cayley_neumann_terms: 5,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: loraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    const { r, oft_block_size: size } = fields;
    if (size === undefined)
      throw new DeltafitError(
        "method-unsupported",
        `${context.where}: there is no oft_block_size, as in files that PEFT wrote before version 0.14.`,
        "That OFT rotated otherwise. Train the adapter anew.",
      );
    if ((r === 0) === (size === 0))
      throw new DeltafitError(
        "config-invalid",
        `${context.where}: r is ${r} and oft_block_size is ${size}; expected one of them to be 0.`,
        "The other follows from it.",
      );
    return {
      ...targetsFromPeft(fields, loraTargets, context, oftKinds),
      blockSize: size === 0 ? undefined : size,
      blockCount: r === 0 ? undefined : r,
      exactRotation: !fields.use_cayley_neumann,
      neumannTerms: fields.num_cayley_neumann_terms,
      sharedBlocks: fields.block_share,
      constrained: fields.coft,
      constraint: fields.eps,
      moduleDropout: fields.module_dropout,
      bias: bias.fromPeft(fields.bias),
      initialWeights: fields.init_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, oftKinds);
    const { blockCount = 0, blockSize } = configuration;
    return {
      ...targetsToPeft(configuration, modules, adapted, oftFormat.defaults),
      r: blockCount,
      oft_block_size: blockCount === 0 ? (blockSize ?? oftDefaultBlockSize) : 0,
      module_dropout: configuration.moduleDropout,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      init_weights: configuration.initialWeights,
      coft: configuration.constrained,
      eps: configuration.constraint,
      block_share: configuration.sharedBlocks,
      use_cayley_neumann: !configuration.exactRotation,
      num_cayley_neumann_terms: configuration.neumannTerms,
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, oftKinds),
};
