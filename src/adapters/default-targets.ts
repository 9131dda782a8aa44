/**
 * @file The modules that PEFT adapts where a configuration names none, by `model_type`. Data only.
 * Source: huggingface/peft, src/peft/utils/constants.py.
 */
import { DeltafitError } from "../errors.ts";
import type { ModuleNames } from "../methods/targets.ts";

const queryAndValue = ["q_proj", "v_proj"];
const fusedQueryKeyValue = ["query_key_value"];
const bertNames = ["query", "value"];

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
