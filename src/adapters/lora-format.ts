/**
 * @file LoRA's adapters in PEFT's format: the fields of `LoraConfig` and the names of its tensors.
 * Source: huggingface/peft, src/peft/tuners/lora/config.py, version 0.21.
 */
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema } from "../files/json.ts";
import { loraKinds } from "../methods/lora.ts";
import type { LoraConfiguration, LoraTokens } from "../methods/lora.ts";
import { loraStart, loraStarts } from "../methods/lora/start.ts";
import { matchTargets } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { loraTargets } from "./default-targets.ts";
import {
  biasNames,
  fanInFanOut,
  patternSchema,
  refuseFields,
  shown,
  targetFieldDefaults,
  targetFields,
  targetsFromPeft,
  targetsToPeft,
  tokenListSchema,
  wrappedNames,
} from "./peft-fields.ts";

const bias = biasNames("lora_only");

const understoodFields = {
  ...targetFields,
  r: z.int().positive().default(8),
  lora_alpha: z.number().positive().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  use_rslora: z.boolean().default(false),
  rank_pattern: patternSchema(z.int().positive()),
  alpha_pattern: patternSchema(z.number().positive()),
  bias: bias.schema,
  lora_bias: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  trainable_token_indices: z.union([tokenListSchema, z.record(z.string(), tokenListSchema)]).nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  loftq_config: z
    .union([
      z.looseObject({ loftq_bits: z.int().default(4), loftq_iter: z.int().positive().default(1) }),
      z.object({}),
    ])
    .nullish(),
  // PEFT corrects a wrong value with a warning; the layout of the base's own matrices decides.
  fan_in_fan_out: z.boolean().nullish(),
};

const schema = z.looseObject(understoodFields);

/** Fields that make another method of the adapter, with the value that leaves them unused. */
const unimplemented = {
  use_qalora: false,
  use_bdlora: false,
  layer_replication: null,
  target_parameters: [],
  alora_invocation_tokens: null,
  megatron_config: null,
  arrow_config: null,
  kasa_config: null,
  monteclora_config: null,
  velora_config: null,
  ensure_weight_tying: false,
};

export const loraFormat: AdapterFormat<LoraConfiguration> = {
  defaults: {
    ...targetFieldDefaults,
    r: 8,
    lora_alpha: 8,
    lora_dropout: 0,
    fan_in_fan_out: false,
    bias: "none",
    use_rslora: false,
    init_lora_weights: true,
    rank_pattern: {},
    alpha_pattern: {},
    megatron_config: null,
    megatron_core: "megatron.core",
    trainable_token_indices: null,
    loftq_config: {},
    eva_config: null,
    corda_config: null,
    lora_ga_config: null,
    use_dora: false,
    velora_config: null,
    alora_invocation_tokens: null,
    use_qalora: false,
    qalora_group_size: 16,
    monteclora_config: null,
    layer_replication: null,
    lora_bias: false,
    target_parameters: null,
    use_bdlora: null,
    arrow_config: null,
    kasa_config: null,
    ensure_weight_tying: false,
  },
  understood: Object.keys(understoodFields),
  defaultTargets: loraTargets,
  fromPeft(raw, context) {
    const fields = parseWithSchema(schema, raw, context.where);
    refuseFields(raw, unimplemented, context.where);
    return {
      ...targetsFromPeft(fields, loraTargets, context, loraKinds),
      rank: fields.r,
      alpha: fields.lora_alpha,
      dropout: fields.lora_dropout,
      rankStabilised: fields.use_rslora,
      rankPattern: fields.rank_pattern ?? undefined,
      alphaPattern: fields.alpha_pattern ?? undefined,
      bias: bias.fromPeft(fields.bias),
      loraBias: fields.lora_bias,
      magnitude: fields.use_dora,
      tokens: tokensFromPeft(fields.trainable_token_indices, context.where),
      ...startFromPeft(fields.init_lora_weights ?? true, fields.loftq_config, context.where),
    };
  },
  toPeft(configuration, { modules }) {
    const adapted = matchTargets(configuration, modules, loraKinds);
    return {
      ...targetsToPeft(configuration, modules, adapted, loraFormat.defaults),
      r: configuration.rank,
      lora_alpha: configuration.alpha,
      lora_dropout: configuration.dropout,
      fan_in_fan_out: fanInFanOut(adapted, modules),
      bias: bias.toPeft(configuration.bias),
      use_rslora: configuration.rankStabilised,
      init_lora_weights: configuration.initialWeights,
      loftq_config:
        configuration.initialWeights === "loftq"
          ? { loftq_bits: loftqBits, loftq_iter: configuration.loftqIterations ?? 1 }
          : {},
      rank_pattern: configuration.rankPattern ?? {},
      alpha_pattern: configuration.alphaPattern ?? {},
      lora_bias: configuration.loraBias,
      use_dora: configuration.magnitude,
      trainable_token_indices: tokensToPeft(configuration.tokens),
    };
  },
  fileNames: (configuration, modules) => wrappedNames(configuration, modules, loraKinds),
};

/** A list for the model's own token embedding, or one list by the embedding's name. */
function tokensFromPeft(
  value: readonly number[] | Readonly<Record<string, readonly number[]>> | null | undefined,
  where: string,
): LoraTokens | undefined {
  if (value === null || value === undefined) return undefined;
  if (Array.isArray(value)) return value.length === 0 ? undefined : { ids: value as readonly number[] };
  const [first, ...others] = Object.entries(value as Readonly<Record<string, readonly number[]>>);
  if (first === undefined) return undefined;
  if (others.length === 0) return { embedding: first[0], ids: first[1] };
  throw new DeltafitError(
    "method-unsupported",
    `${where}: trainable_token_indices names ${others.length + 1} modules; expected the token embedding alone.`,
    "An output embedding that shares the token embedding's table changes with it.",
  );
}

function tokensToPeft(tokens: LoraTokens | undefined): unknown {
  if (tokens === undefined) return null;
  return tokens.embedding === undefined ? [...tokens.ids] : { [tokens.embedding]: [...tokens.ids] };
}

/** The storage that LoftQ makes up for. */
const loftqBits = 4;

function startFromPeft(
  value: boolean | string,
  loftq: { readonly loftq_bits?: number; readonly loftq_iter?: number } | null | undefined,
  where: string,
): Pick<LoraConfiguration, "initialWeights" | "loftqIterations"> {
  const start = typeof value === "boolean" ? value : loraStart(value);
  if (start === undefined)
    throw new DeltafitError(
      "method-unsupported",
      `${where}: init_lora_weights is ${shown(value)}; expected true, false or one of ${loraStarts.join(", ")}.`,
      "Other initialisations need data or change the base's weights as well. PEFT converts such an adapter to a plain " +
        "LoRA when it is saved with path_initial_model_for_weight_conversion.",
    );
  if (start !== "loftq") return { initialWeights: start };
  const { loftq_bits: bits = loftqBits, loftq_iter: loftqIterations = 1 } = loftq ?? {};
  if (bits === loftqBits) return { initialWeights: start, loftqIterations };
  throw new DeltafitError(
    "method-unsupported",
    `${where}: loftq_bits is ${bits}; expected ${loftqBits}.`,
    "PEFT itself has no more than 4 and 8 bits, and 8 on a GPU alone.",
  );
}
