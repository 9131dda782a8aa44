/** @file The shape of the bundled base model as config.json and generation_config.json; it holds no weights. */
import { specialTokens } from "./chat-template.ts";
import { contextLength } from "./tokenizer-files.ts";

/** Entries of the tokenizer, special tokens and bytes included. */
export const vocabularySize = 2048;

const endOfText = specialTokens.indexOf("<|endoftext|>");
const padding = specialTokens.indexOf("<|pad|>");
const endOfTurn = specialTokens.indexOf("<|end|>");

/** The content of config.json, with the keys that transformers 4 and 5 read. */
export function modelConfigFile() {
  const ropeTheta = 10000;
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocabularySize,
    hidden_size: 192,
    intermediate_size: 512,
    num_hidden_layers: 6,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 32,
    hidden_act: "silu",
    max_position_embeddings: contextLength,
    rms_norm_eps: 1e-5,
    rope_theta: ropeTheta,
    rope_scaling: null,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    tie_word_embeddings: true,
    initializer_range: 0.02,
    pretraining_tp: 1,
    use_cache: true,
    bos_token_id: endOfText,
    eos_token_id: endOfText,
    pad_token_id: padding,
    dtype: "float16",
    torch_dtype: "float16",
  };
}

/** The number of parameters of that shape; the tied output layer counts once. */
export function parameterCount(shape: ReturnType<typeof modelConfigFile>): number {
  const queries = shape.num_attention_heads * shape.head_dim;
  const keys = shape.num_key_value_heads * shape.head_dim;
  const attention = shape.hidden_size * (2 * queries + 2 * keys);
  const feedForward = 3 * shape.hidden_size * shape.intermediate_size;
  const layer = attention + feedForward + 2 * shape.hidden_size;
  return shape.vocab_size * shape.hidden_size + shape.num_hidden_layers * layer + shape.hidden_size;
}

/** The content of generation_config.json: a chat turn ends a generation just as a text does. */
export function generationConfigFile() {
  return {
    bos_token_id: endOfText,
    eos_token_id: [endOfText, endOfTurn],
    pad_token_id: padding,
    max_length: contextLength,
  };
}
