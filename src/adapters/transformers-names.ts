/**
 * @file How Python's transformers and PEFT name tasks and model classes. Data that goes into files which they read;
 * nothing here changes what is computed.
 */
import type { Task } from "../models/forward.ts";

/** PEFT's `task_type`; masked language modelling has none. */
export const taskTypes: Readonly<Record<Task, string | null>> = {
  "causal-lm": "CAUSAL_LM",
  "masked-lm": null,
  "seq2seq-lm": "SEQ_2_SEQ_LM",
  classification: "SEQ_CLS",
  regression: "SEQ_CLS",
  "multi-label-classification": "SEQ_CLS",
  "token-classification": "TOKEN_CLS",
  "question-answering": "QUESTION_ANS",
};

/** PEFT's `task_type` of an adapter on a model without a head, whose modules are called as in the body alone. */
export const bodyTaskType = "FEATURE_EXTRACTION";

/** Heads that PEFT trains with an adapter of a `task_type`, under the names of all architectures. */
export const headsOfTaskType: Readonly<Record<string, readonly string[]>> = {
  SEQ_CLS: ["classifier", "score"],
  TOKEN_CLS: ["classifier", "score"],
  QUESTION_ANS: ["qa_outputs"],
};

/** Ends of class names: `RobertaForMaskedLM`, `AutoModelForMaskedLM`. */
const classSuffixes: Readonly<Record<Task, string>> = {
  "causal-lm": "ForCausalLM",
  "masked-lm": "ForMaskedLM",
  "seq2seq-lm": "ForSeq2SeqLM",
  classification: "ForSequenceClassification",
  regression: "ForSequenceClassification",
  "multi-label-classification": "ForSequenceClassification",
  "token-classification": "ForTokenClassification",
  "question-answering": "ForQuestionAnswering",
};

const classPrefixes: Readonly<Record<string, string>> = {
  albert: "Albert",
  bert: "Bert",
  deberta: "Deberta",
  "deberta-v2": "DebertaV2",
  distilbert: "DistilBert",
  electra: "Electra",
  gemma2: "Gemma2",
  gemma3_text: "Gemma3",
  gpt2: "GPT2",
  gpt_neox: "GPTNeoX",
  llama: "Llama",
  mistral: "Mistral",
  mixtral: "Mixtral",
  modernbert: "ModernBert",
  olmo2: "Olmo2",
  opt: "OPT",
  phi3: "Phi3",
  qwen2: "Qwen2",
  qwen3: "Qwen3",
  roberta: "Roberta",
  smollm3: "SmolLM3",
  t5: "T5",
  "xlm-roberta": "XLMRoberta",
};

/** Classes that do not follow the rule. */
const irregularClasses: Readonly<Record<string, string>> = {
  GPT2ForCausalLM: "GPT2LMHeadModel",
  T5ForSeq2SeqLM: "T5ForConditionalGeneration",
};

/** The class of transformers for a model with a task's head; `undefined` where it is not known here. */
export function transformersClass(modelType: string, task: Task): string | undefined {
  const prefix = classPrefixes[modelType];
  if (prefix === undefined) return undefined;
  const regular = prefix + classSuffixes[task];
  return irregularClasses[regular] ?? regular;
}

/** The class of transformers that picks the architecture by itself. */
export function automaticClass(task: Task): string {
  return `AutoModel${classSuffixes[task]}`;
}

/** The module of transformers with an architecture's classes. */
export function transformersModule(modelType: string): string {
  const name = modelType.replaceAll("-", "_").replace(/_text$/, "");
  return `transformers.models.${name}.modeling_${name}`;
}
