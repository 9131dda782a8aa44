/**
 * @file BOFT's adapters in PEFT's format: the fields of `BOFTConfig` and the names of its tensors. Where PEFT cannot
 * compile its CUDA code it makes one factor, whatever the configuration says: the tensors tell how many there are.
 * Source: huggingface/peft, src/peft/tuners/boft, version 0.21.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema } from "../files/json.ts";
import { boftDefaultBlockSize } from "../methods/boft.ts";
import type { BoftConfiguration } from "../methods/boft.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import type { AdapterFormat, FormatContext } from "./adapter-format.ts";
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

const kinds: readonly ModuleKind[] = ["linears"];
const bias = biasNames("boft_only");

const understoodFields = {
  ...targetFields,
  boft_block_size: z.int().nonnegative().default(4),
  boft_block_num: z.int().nonnegative().default(0),
  boft_n_butterfly_factor: z.int().positive().max(32).default(1),
  boft_dropout: z.number().min(0).lt(1).default(0),
  fan_in_fan_out: z.boolean().nullish(),
  bias: bias.schema,
  init_weights: z.boolean().default(true),
};
const schema = z.looseObject(understoodFields);

export const boftFormat: AdapterFormat<BoftConfiguration> = {
  defaults: {
    ...targetFieldDefaults,
    boft_block_size: 4,
    boft_block_num: 0,
    boft_n_butterfly_factor: 1,
    boft_dropout: 0,
    fan_in_fan_out: false,
    bias: "none",
    init_weights: true,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: loraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    const { boft_block_size: size, boft_block_num: count, boft_n_butterfly_factor: declared } = fields;
    if ((size === 0) === (count === 0))
      throw new DeltafitError(
        "config-invalid",
        `${context.where}: boft_block_size is ${size} and boft_block_num is ${count}; expected one of them to be 0.`,
        "The other follows from it.",
      );
    const hasOneFactor = declared > 1 && holdsOneFactor(context);
    return {
      ...targetsFromPeft(fields, loraTargets, context, kinds),
      blockSize: size === 0 ? undefined : size,
      blockCount: count === 0 ? undefined : count,
      butterflyFactors: hasOneFactor ? 1 : declared,
      declaredFactors: hasOneFactor ? declared : undefined,
      dropout: fields.boft_dropout,
      bias: bias.fromPeft(fields.bias),
      initialWeights: fields.init_weights,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    const { blockCount = 0, blockSize, butterflyFactors, declaredFactors } = configuration;
    return {
      ...targetsToPeft(configuration, modules, adapted, boftFormat.defaults),
      boft_block_size: blockCount === 0 ? (blockSize ?? boftDefaultBlockSize) : 0,
      boft_block_num: blockCount,
      boft_n_butterfly_factor: declaredFactors ?? butterflyFactors,
      boft_dropout: configuration.dropout,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      init_weights: configuration.initialWeights,
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, kinds),
};

function holdsOneFactor({ tensorShapes }: FormatContext): boolean {
  const matrices = [...(tensorShapes ?? [])].filter(([name]) => name.endsWith(".boft_R"));
  return matrices.length > 0 && matrices.every(([, shape]) => shape[0] === 1);
}
