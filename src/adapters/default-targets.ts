/**
 * @file The modules that PEFT adapts where a configuration names none, by `model_type`.
 * Source: huggingface/peft, src/peft/utils/constants.py.
 */
import { DeltafitError } from "../errors.ts";
import { namesModule } from "../methods/targets.ts";
import type { ModuleNames } from "../methods/targets.ts";

const queryAndValue = ["q_proj", "v_proj"];
const fusedQueryKeyValue = ["query_key_value"];
const bertNames = ["query", "value"];
const everyProjection = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"];

export const loraTargets: Readonly<Record<string, ModuleNames>> = {
  bart: queryAndValue,
  bert: bertNames,
  bloom: fusedQueryKeyValue,
  chatglm: fusedQueryKeyValue,
  codegen: ["qkv_proj"],
  deberta: ["in_proj"],
  "deberta-v2": ["query_proj", "value_proj"],
  electra: bertNames,
  falcon: fusedQueryKeyValue,
  gemma: queryAndValue,
  gemma2: queryAndValue,
  gemma3_text: queryAndValue,
  gemma4: ".*language_model\\..*\\.(q_proj|v_proj)",
  gpt2: ["c_attn"],
  gpt_bigcode: ["c_attn"],
  gpt_neo: queryAndValue,
  gpt_neox: fusedQueryKeyValue,
  gptj: queryAndValue,
  layoutlm: bertNames,
  llama: queryAndValue,
  llama4: queryAndValue,
  mistral: queryAndValue,
  mixtral: queryAndValue,
  mpt: ["Wqkv"],
  mt5: ["q", "v"],
  nemotron_h: ["q_proj", "k_proj", "v_proj", "o_proj"],
  opt: queryAndValue,
  phi: ["q_proj", "v_proj", "fc1", "fc2"],
  qwen2: queryAndValue,
  qwen3: queryAndValue,
  roberta: bertNames,
  rwkv: ["key", "value", "receptance", "output"],
  stablelm: queryAndValue,
  t5: ["q", "v"],
  "xlm-roberta": bertNames,
};

export const vbloraTargets: Readonly<Record<string, ModuleNames>> = {
  bart: everyProjection,
  bert: bertNames,
  bloom: fusedQueryKeyValue,
  deberta: ["in_proj"],
  "deberta-v2": ["query_proj", "key_proj", "value_proj", "dense"],
  gemma: queryAndValue,
  gemma2: queryAndValue,
  gemma3_text: queryAndValue,
  gemma4: ".*language_model\\..*\\.(q_proj|v_proj)",
  gpt2: ["c_attn"],
  gpt_bigcode: ["c_attn"],
  gpt_neo: queryAndValue,
  gpt_neox: fusedQueryKeyValue,
  gptj: queryAndValue,
  llama: queryAndValue,
  llama4: queryAndValue,
  mt5: ["q", "k", "v", "o", "wi_0", "wi_1", "wo"],
  nemotron_h: ["q_proj", "k_proj", "v_proj", "o_proj"],
  opt: everyProjection,
  qwen2: queryAndValue,
  qwen3: queryAndValue,
  roberta: bertNames,
  t5: ["q", "k", "v", "o", "wi", "wo"],
};

/**
 * The default targets of a model type.
 * @throws DeltafitError `target-unmatched` where PEFT has none for it.
 */
export function defaultTargetsOf(
  table: Readonly<Record<string, ModuleNames>>,
  modelType: string,
): ModuleNames {
  const targets = Object.hasOwn(table, modelType) ? table[modelType] : undefined;
  if (targets !== undefined) return targets;
  throw new DeltafitError(
    "target-unmatched",
    `There are no default targets for the architecture ${modelType}.`,
    'Name the modules to adapt, or use "all-linear".',
  );
}

const neighbours = (down: string): readonly string[] => ["q_proj", "v_proj", down];

export const ia3Targets: Readonly<Record<string, ModuleNames>> = {
  bart: neighbours("fc2"),
  bert: ["key", "value", "output.dense"],
  bloom: ["query_key_value", "mlp.dense_4h_to_h"],
  deberta: ["in_proj", "output.dense"],
  "deberta-v2": ["key_proj", "value_proj", "output.dense"],
  falcon: ["query_key_value", "dense_4h_to_h"],
  gemma: neighbours("down_proj"),
  gemma2: neighbours("down_proj"),
  gemma3_text: neighbours("down_proj"),
  gpt2: ["c_attn", "mlp.c_proj"],
  gpt_bigcode: ["c_attn", "mlp.c_proj"],
  gpt_neo: neighbours("c_proj"),
  gpt_neox: ["query_key_value", "dense_4h_to_h"],
  gptj: neighbours("fc_out"),
  llama: ["k_proj", "v_proj", "down_proj"],
  llama4: neighbours("down_proj"),
  mistral: ["k_proj", "v_proj", "down_proj"],
  mixtral: ["k_proj", "v_proj", "w2"],
  mt5: ["k", "v", "wi_1"],
  opt: ["q_proj", "k_proj", "fc2"],
  phi: neighbours("fc2"),
  qwen2: neighbours("down_proj"),
  qwen3: neighbours("down_proj"),
  roberta: ["key", "value", "output.dense"],
  t5: ["k", "v", "wo"],
};

/** The targets of {@link ia3Targets} whose input is rescaled. */
export const ia3FeedForward: Readonly<Record<string, readonly string[]>> = {
  bart: ["fc2"],
  bert: ["output.dense"],
  bloom: ["mlp.dense_4h_to_h"],
  deberta: ["output.dense"],
  "deberta-v2": ["output.dense"],
  falcon: ["dense_4h_to_h"],
  gemma: ["down_proj"],
  gemma2: ["down_proj"],
  gemma3_text: ["down_proj"],
  gpt2: ["mlp.c_proj"],
  gpt_bigcode: ["mlp.c_proj"],
  gpt_neo: ["c_proj"],
  gpt_neox: ["dense_4h_to_h"],
  gptj: ["fc_out"],
  llama: ["down_proj"],
  llama4: ["down_proj"],
  mistral: ["down_proj"],
  mixtral: ["w2"],
  mt5: [],
  opt: ["fc2"],
  phi: ["fc2"],
  qwen2: ["down_proj"],
  qwen3: ["down_proj"],
  roberta: ["output.dense"],
  t5: ["wo"],
};

/**
 * PEFT's feed-forward layers of a model type, as far as they are targets; none where a pattern says what is adapted, for
 * which of them it names shows only with the model.
 * @param targets undefined for the default ones.
 */
export function usualFeedForward(modelType: string, targets: ModuleNames | undefined): readonly string[] {
  const usual = Object.hasOwn(ia3FeedForward, modelType) ? (ia3FeedForward[modelType] ?? []) : [];
  if (targets === undefined || targets === "all-linear") return usual;
  if (typeof targets === "string") return [];
  return usual.filter((name) =>
    targets.some((target) => namesModule([name], target) || namesModule([target], name)),
  );
}

export const layerNormTargets: Readonly<Record<string, ModuleNames>> = {
  bart: ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"],
  bloom: ["input_layernorm", "post_attention_layernorm", "ln_f"],
  falcon: ["input_layernorm", "post_attention_layernorm", "ln_f"],
  gemma: ["input_layernorm", "post_attention_layernorm", "norm"],
  gemma2: [
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    "norm",
  ],
  gemma3_text: [
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    "norm",
  ],
  gpt2: ["ln_1", "ln_2", "ln_f"],
  gptj: ["ln_1", "ln_f"],
  llama: ["input_layernorm", "post_attention_layernorm", "norm"],
  mistral: ["input_layernorm", "post_attention_layernorm", "norm"],
  mt5: ["layer_norm", "final_layer_norm"],
  phi: ["input_layernorm", "final_layernorm"],
  qwen2: ["post_attention_layernorm"],
  qwen3: ["post_attention_layernorm"],
  t5: ["layer_norm", "final_layer_norm"],
};

export const adaloraTargets: Readonly<Record<string, ModuleNames>> = {
  ...vbloraTargets,
  roberta: ["query", "key", "value", "dense"],
};
