/**
 * @file Prompt tuning (Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", section 2):
 * trained embeddings P [n, size] stand in front of the embedded tokens, [P; E(x)], as if they were tokens that no
 * vocabulary has. They start random, as rows of the vocabulary, or as the embeddings of a text (section 3.1); training
 * never starts from the base, which sees the n tokens from the first step on.
 */
import { DeltafitError } from "../errors.ts";
import type { EmbeddingSite } from "../models/forward.ts";
import type { BoundMethod, Method, ParameterSpec } from "./contract.ts";
import { normal } from "./initial.ts";
import { savedModules } from "./saved-modules.ts";
import {
  checkVirtualTokens,
  promptEmbeddings,
  promptRows,
  tokensInFront,
  tokenTable,
} from "./virtual-tokens.ts";

export interface PromptTuningConfiguration {
  readonly virtualTokens: number;
  readonly initial: PromptStart;
  /** Modules that are trained whole, such as the task's head. */
  readonly modulesToSave?: readonly string[] | undefined;
}

/** Normal numbers with deviation 1, random rows of the vocabulary, or the tokens of a text. */
export type PromptStart = "random" | "vocabulary" | PromptText;

/** A text to start from: its tokens are cut or repeated until there are as many as virtual ones. */
export interface PromptText {
  readonly text: string;
  /** The text's token ids; what is loaded from a file has none, and needs none. */
  readonly tokens?: readonly number[] | undefined;
  /** What PEFT calls the tokenizer. */
  readonly tokenizer: string;
}

export const promptTuningDefaults = {
  virtualTokens: 20,
  initial: "random",
} as const satisfies Partial<PromptTuningConfiguration>;

export const promptTuning: Method<PromptTuningConfiguration> = {
  type: "PROMPT_TUNING",
  summary: "Prompt tuning: trained embeddings in front of the tokens (Lester et al. 2021)",
  bind({ virtualTokens, initial, modulesToSave = [] }, modules): BoundMethod {
    checkVirtualTokens("Prompt tuning", virtualTokens);
    const table = tokenTable("Prompt tuning", modules);
    if (typeof initial === "object") checkTokens(initial, table);
    const rows = promptRows(virtualTokens, modules);
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    return {
      parameters: [
        {
          key: promptEmbeddings,
          shape: [rows, table.size],
          initial: startOf(initial, rows, table),
        },
        ...saved.parameters,
      ],
      virtualTokens,
      hooks: (use) => ({
        virtualTokens: () => use.builder.slice(use.parameter(promptEmbeddings), 0, 0, virtualTokens),
        ...saved.hooks(use),
      }),
      merge: tokensInFront,
    };
  },
};

function startOf(
  initial: PromptStart,
  count: number,
  { path, rows, size }: EmbeddingSite,
): ParameterSpec["initial"] {
  if (initial === "random") return normal([count, size], 1);
  return ({ base, random }) => {
    const tokens =
      initial === "vocabulary"
        ? random.uniform(count, 0, rows).map((value) => Math.min(Math.floor(value), rows - 1))
        : tokensOf(initial);
    const table = base(`${path}.weight`);
    const values = new Float32Array(count * size);
    for (let row = 0; row < count; row++) {
      const token = tokens[row % tokens.length] ?? 0;
      values.set(table.subarray(token * size, (token + 1) * size), row * size);
    }
    return values;
  };
}

function tokensOf({ tokens = [] }: PromptText): readonly number[] {
  if (tokens.length > 0) return tokens;
  throw new DeltafitError(
    "config-invalid",
    "Prompt tuning: the text to start from has no tokens.",
    "Give the token ids of a text that is not empty, as the base's tokenizer encodes it.",
  );
}

function checkTokens({ tokens = [] }: PromptText, { path, rows }: EmbeddingSite): void {
  const outside = tokens.find((token) => !Number.isInteger(token) || token < 0 || token >= rows);
  if (outside === undefined) return;
  throw new DeltafitError(
    "config-invalid",
    `Prompt tuning: the token id ${outside} is outside of "${path}", which has ${rows} rows.`,
    "Encode the text with the tokenizer that belongs to the base.",
  );
}
