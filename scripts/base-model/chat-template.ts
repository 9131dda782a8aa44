/** @file The chat format of the bundled base: its special tokens, its Jinja template and the same format in TypeScript. */

/** Special tokens in the order of their ids, which start at 0. */
export const specialTokens = ["<|endoftext|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"] as const;

/** One turn of a conversation. */
export interface ChatTurn {
  readonly role: "user" | "assistant";
  readonly content: string;
}

/** The template of tokenizer_config.json. The base has no system role, so a system message is an error, not dropped. */
export const chatTemplate =
  "{%- for message in messages %}" +
  "{%- if message['role'] not in ['user', 'assistant'] %}" +
  "{{- raise_exception('This chat template knows the roles user and assistant, not ' + message['role'] + '.') }}" +
  "{%- endif %}" +
  "{{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}" +
  "{%- endfor %}" +
  "{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}";

/** Renders a conversation exactly as `chatTemplate` does without a generation prompt. */
export function renderChat(turns: readonly ChatTurn[]): string {
  return turns.map((turn) => `<|${turn.role}|>\n${turn.content}<|end|>\n`).join("");
}
