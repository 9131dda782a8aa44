/**
 * @file VB-LoRA's adapters in PEFT's format: the fields of `VBLoRAConfig` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/vblora, version 0.21.
 */
import { z } from "zod";
import { parseWithSchema } from "../files/json.ts";
import { matchTargets } from "../methods/targets.ts";
import type { ModuleKind } from "../methods/targets.ts";
import { vbloraBank } from "../methods/vblora.ts";
import type { VbloraConfiguration } from "../methods/vblora.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { vbloraTargets } from "./default-targets.ts";
import { vbloraPacking } from "./vblora-packing.ts";
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
const bias = biasNames("vblora_only");

const understoodFields = {
  ...targetFields,
  r: z.int().positive().default(4),
  num_vectors: z.int().positive().default(256),
  vector_length: z.int().positive().default(256),
  topk: z.int().positive().default(2),
  save_only_topk_weights: z.boolean().nullish(),
  vblora_dropout: z.number().min(0).lt(1).default(0),
  fan_in_fan_out: z.boolean().nullish(),
  bias: bias.schema,
  init_vector_bank_bound: z.number().nonnegative().default(0.02),
  init_logits_std: z.number().nonnegative().default(0.1),
};

const schema = z.looseObject(understoodFields);

export const vbloraFormat: AdapterFormat<VbloraConfiguration> = {
  defaults: {
    ...targetFieldDefaults,
    r: 4,
    num_vectors: 256,
    vector_length: 256,
    topk: 2,
    save_only_topk_weights: false,
    vblora_dropout: 0,
    fan_in_fan_out: false,
    bias: "none",
    init_vector_bank_bound: 0.02,
    init_logits_std: 0.1,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: vbloraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    return {
      ...targetsFromPeft(fields, vbloraTargets, context, kinds),
      rank: fields.r,
      vectorCount: fields.num_vectors,
      vectorLength: fields.vector_length,
      topVectors: fields.topk,
      saveTopOnly: fields.save_only_topk_weights ?? false,
      dropout: fields.vblora_dropout,
      bias: bias.fromPeft(fields.bias),
      initialVectorBound: fields.init_vector_bank_bound,
      initialLogitDeviation: fields.init_logits_std,
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, kinds);
    return {
      ...targetsToPeft(configuration, modules, adapted, vbloraFormat.defaults),
      r: configuration.rank,
      num_vectors: configuration.vectorCount,
      vector_length: configuration.vectorLength,
      topk: configuration.topVectors,
      save_only_topk_weights: configuration.saveTopOnly ?? false,
      vblora_dropout: configuration.dropout,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      init_vector_bank_bound: configuration.initialVectorBound,
      init_logits_std: configuration.initialLogitDeviation,
    };
  },
  fileNames(configuration, modules) {
    const names = wrappedNames(configuration, modules, kinds);
    // The bank belongs to no module: it stands outside of the model's own names.
    return (key) => (key === vbloraBank ? `base_model.${key}` : names(key));
  },
  packing: vbloraPacking,
};
