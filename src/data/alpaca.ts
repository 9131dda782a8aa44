/**
 * @file The prompt of Alpaca data (instruction, input, output), in both of its common spellings. Source:
 * `PROMPT_DICT` of tatsu-lab/stanford_alpaca, `train.py`.
 */

/**
 * `stanford`: the prompt ends at `### Response:`. `response-newline`: a line break follows, as torchtune and
 * axolotl write it. An adapter answers well only to the spelling it was trained with.
 */
export type AlpacaVariant = "stanford" | "response-newline";

const withInput =
  "Below is an instruction that describes a task, paired with an input that provides further context. " +
  "Write a response that appropriately completes the request.";
const withoutInput =
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.";

/** @param input "" where the instruction needs none. */
export function alpacaPrompt(
  instruction: string,
  input: string,
  variant: AlpacaVariant = "stanford",
): string {
  const end = variant === "stanford" ? "### Response:" : "### Response:\n";
  if (input === "") return `${withoutInput}\n\n### Instruction:\n${instruction}\n\n${end}`;
  return `${withInput}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n${end}`;
}
