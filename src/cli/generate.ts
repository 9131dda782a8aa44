/** @file `deltafit generate`: text from a model with adapters. */
import { DeltafitError } from "../errors.ts";
import type { ChatMessage } from "../files/chat-template.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { readExactly, withOpenFile } from "../files/read.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { generateText, streamText } from "../generation/generate-text.ts";
import type { TextRequest } from "../generation/generate-text.ts";
import { createGenerator } from "../generation/generate.ts";
import type { Generator } from "../generation/generate.ts";
import { adapterWeightFlags, withWeights } from "./adapter-weights.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { numberIn, optional, switched, text, texts, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { openAdaptedModel, openTokenizer, warnOfOtherTokenizer } from "./model.ts";
import { messagesSchema, readPromptRows } from "./prompt-rows.ts";
import type { PromptRow } from "./prompt-rows.ts";
import { adapterFlags, memoryFlags, modelFlags, storageFlags, threadFlags } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const promptGroup = "Prompt (one of them):";
const choosingGroup = "Choosing tokens:";
const endGroup = "End:";

const flags = {
  ...modelFlags,
  ...adapterFlags,
  ...adapterWeightFlags,
  prompt: optional(text("TEXT"), promptGroup, "text to continue"),
  promptFile: optional(text("FILE"), promptGroup, "file with the text to continue"),
  prompts: optional(
    text("FILE"),
    promptGroup,
    "file of rows with a prompt or messages, each with an adapter",
  ),
  messages: optional(text("FILE"), promptGroup, "JSON list of chat messages, for the model's chat template"),
  temperature: optional(numberIn({ atLeast: 0 }), choosingGroup, "0 takes the most likely token", "0"),
  topK: optional(wholeNumber(1), choosingGroup, "draw from the N most likely tokens"),
  topP: optional(
    numberIn({ above: 0, atMost: 1 }),
    choosingGroup,
    "draw from the most likely tokens of this probability",
  ),
  repetitionPenalty: optional(numberIn({ above: 0 }), choosingGroup, "above 1 against repetition"),
  noRepeatNgram: optional(wholeNumber(1), choosingGroup, "no N tokens in a row occur twice"),
  beams: optional(wholeNumber(1), choosingGroup, "search with N beams", "1"),
  lengthPenalty: optional(
    numberIn({}),
    choosingGroup,
    "of a search: above 0 for longer texts, below for shorter ones",
    "1",
  ),
  seed: withDefault(wholeNumber(0), choosingGroup, 0, "of what is drawn"),
  batchSize: withDefault(wholeNumber(1), "Data:", 8, "rows of --prompts at once"),
  maxNewTokens: withDefault(wholeNumber(1), endGroup, 128, "tokens at most"),
  stop: optional(texts("TEXT"), endGroup, "end before this text; may be repeated"),
  stream: switched("Output:", "print the text as it comes"),
  ...storageFlags,
  ...memoryFlags,
  ...threadFlags,
} satisfies FlagTable;

export const generate = defineCommand({
  name: "generate",
  summary: "continue a text, or answer in a conversation",
  example: `deltafit generate --adapter my-adapter --prompt "Once upon a time" --stream`,
  flags,
  run,
});

type Values = FlagValues<typeof flags>;

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  checkUsage(values, terminal);
  const prompt = values.prompts === undefined ? readPrompt(values) : undefined;
  const { base, adapters, groups, notes } = await openAdaptedModel({ ...values, task: "writing" }, terminal);
  const rows = values.prompts === undefined ? [] : readPromptRows(values.prompts, groups);
  const tokenizer = openTokenizer(base);
  warnOfOtherTokenizer(tokenizer, notes, terminal);
  const { temperature, topK, topP, repetitionPenalty, noRepeatNgram, seed } = values;
  const { beams, lengthPenalty, maxNewTokens, stop, threads } = values;
  const sampling = { temperature, topK, topP, repetitionPenalty, noRepeatNgram, beams, lengthPenalty, seed };
  const settings = { maximumNewTokens: maxNewTokens, stopStrings: stop, ...sampling };
  const session = threads === undefined ? {} : { session: { threads } };
  const hasChoice = rows.some((row) => row.groups !== groups);
  const active = hasChoice ? [] : withWeights(groups);
  const generator = await createGenerator(base, adapters, { ...session, active });
  try {
    if (prompt === undefined)
      return await generateRows(
        { generator, tokenizer, rows, settings, hasChoice },
        values.batchSize,
        terminal,
      );
    return await generateOne(generator, tokenizer, { prompts: [prompt], ...settings }, values, terminal);
  } finally {
    await generator.dispose();
  }
}

async function generateOne(
  generator: Generator,
  tokenizer: Tokenizer,
  request: TextRequest,
  values: Values,
  terminal: Terminal,
): Promise<CommandResult> {
  if (values.stream) {
    for await (const piece of streamText(generator, tokenizer, request)) terminal.stream(piece.text);
    terminal.stream("\n");
    return { json: {}, text: "" };
  }
  const result = await generateText(generator, tokenizer, request);
  const [tokens = []] = result.tokens;
  const { tokensPerSecond, firstTokenMilliseconds } = result;
  terminal.note(
    `${tokens.length} tokens, ${tokensPerSecond.toFixed(1)} a second, the first after ${firstTokenMilliseconds.toFixed(0)} ms`,
  );
  const [whole = ""] = result.texts;
  const [finishReason] = result.finishReasons;
  const [score] = result.scores ?? [];
  return {
    json: { text: whole, tokens, finishReason, score, tokensPerSecond, firstTokenMilliseconds },
    text: whole,
  };
}

interface RowsRequest {
  readonly generator: Generator;
  readonly tokenizer: Tokenizer;
  readonly rows: readonly PromptRow[];
  readonly settings: Omit<TextRequest, "prompts">;
  /** Whether some row has other adapters than all of them. */
  readonly hasChoice: boolean;
}

interface WrittenRow {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: string;
  /** Of a beam search. */
  readonly score: number | undefined;
  readonly adapters: readonly string[];
}

/** Rows of a batch go through the model together, each with its own adapters. */
async function generateRows(
  { generator, tokenizer, rows, settings, hasChoice }: RowsRequest,
  batchSize: number,
  terminal: Terminal,
): Promise<CommandResult> {
  const written: WrittenRow[] = [];
  const startMs = performance.now();
  for (let start = 0; start < rows.length; start += batchSize) {
    const batch = rows.slice(start, start + batchSize);
    const prompts = batch.map(({ prompt }) => prompt);
    const adapters = batch.map(({ groups }) => withWeights(groups));
    const request = { ...settings, prompts, ...(hasChoice && { adapters }) };
    const { texts, tokens, finishReasons, scores } = await generateText(generator, tokenizer, request);
    for (const [row, { groups }] of batch.entries())
      written.push({
        text: texts[row] ?? "",
        tokens: tokens[row] ?? [],
        finishReason: finishReasons[row] ?? "length",
        score: scores?.[row],
        adapters: groups.map(({ name }) => name),
      });
  }
  const count = written.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const tokensPerSecond = (1000 * count) / (performance.now() - startMs);
  terminal.note(`${count} tokens for ${rows.length} prompts, ${tokensPerSecond.toFixed(1)} a second`);
  return {
    json: { rows: written, tokensPerSecond },
    text: written.map(({ text: own, adapters }) => JSON.stringify({ adapters, text: own })).join("\n"),
  };
}

function checkUsage({ stream, prompt, promptFile, messages, prompts }: Values, terminal: Terminal): void {
  const excluded = (other: string) =>
    new DeltafitError("usage-invalid", `--stream and ${other} exclude each other.`, "Leave one of them out.");
  if (stream && terminal.json) throw excluded("--json");
  if (stream && prompts !== undefined) throw excluded("--prompts");
  if ([prompt, promptFile, messages, prompts].filter((given) => given !== undefined).length === 1) return;
  throw new DeltafitError(
    "usage-invalid",
    "Expected one of --prompt, --prompt-file, --messages and --prompts.",
    'For example: deltafit generate --prompt "Once upon a time"',
  );
}

const maximumPromptBytes = 2 ** 26;

function readPrompt({ prompt, promptFile, messages }: Values): string | readonly ChatMessage[] {
  if (prompt !== undefined) return prompt;
  if (promptFile !== undefined) return readText(promptFile);
  return parseWithSchema(messagesSchema, readJsonFile(messages ?? ""), quote(messages ?? ""));
}

function readText(path: string): string {
  const bytes = withOpenFile(path, (file) => {
    const { byteLength } = file.identity;
    if (byteLength > maximumPromptBytes)
      throw new DeltafitError(
        "file-invalid",
        `${quote(path)} is too large for a prompt: ${byteLength} bytes.`,
      );
    const content = new Uint8Array(byteLength);
    readExactly(file, content, 0);
    return content;
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new DeltafitError("file-invalid", `${quote(path)} is not UTF-8 text.`, "Save it as UTF-8.", error);
  }
}
