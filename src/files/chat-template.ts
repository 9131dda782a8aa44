/**
 * @file Conversations as a model's chat template writes them, and which of their tokens are trained on.
 * Templates come out of files: they run in the jinja library's interpreter, which reaches nothing of the
 * host, for a bounded time, over bounded input and output.
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { DeltafitError } from "../errors.ts";
import { normalizeLineBreaks, pythonFunctions, rewriteForPython } from "./jinja-differences.ts";
import { quote } from "./quote.ts";
import { withTimeLimit } from "./time-limit.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The longest known templates have about 20,000 characters. */
const maximumTemplateLength = 2 ** 20;
const maximumOutputLength = 8 * 2 ** 20;
const maximumRangeLength = 1e5;
const timeLimitMs = 3_000;

/** One turn. Templates may use further keys, such as `tool_calls`. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string | null;
  readonly [key: string]: unknown;
}

export interface RenderChatOptions {
  /** Whether to end with what comes before the assistant's answer. Default false. */
  readonly addGenerationPrompt?: boolean;
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  /** Descriptions of functions, for templates that know tools. */
  readonly tools?: readonly unknown[] | undefined;
  /** What templates that print the date take for now. Default: the time of the call. */
  readonly now?: Date;
}

const monthNames = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const dayNames = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Python's strftime as far as templates use it, always in English; unknown directives stay as they are. */
function formatTime(date: Date, format: string): string {
  const month = monthNames[date.getMonth()] ?? "";
  const day = dayNames[date.getDay()] ?? "";
  const padded = (value: number): string => String(value).padStart(2, "0");
  const values: Readonly<Record<string, string>> = {
    "%Y": String(date.getFullYear()),
    "%m": padded(date.getMonth() + 1),
    "%d": padded(date.getDate()),
    "%B": month,
    "%b": month.slice(0, 3),
    "%A": day,
    "%a": day.slice(0, 3),
    "%H": padded(date.getHours()),
    "%M": padded(date.getMinutes()),
    "%S": padded(date.getSeconds()),
    "%%": "%",
  };
  return format.replace(/%[A-Za-z%]/g, (directive) => values[directive] ?? directive);
}

/** Python's `range`, refused where it would fill the memory. */
function boundedRange(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (!(length <= maximumRangeLength))
    throw new Error(`range() of ${length} numbers, at most ${maximumRangeLength} are allowed`);
  return Array.from({ length }, (_, index) => from + index * step);
}

/** The message of a template's own `raise_exception`: the fault lies with the messages. */
class RaisedByTemplate extends Error {}

function createEnvironment(messages: readonly ChatMessage[], options: RenderChatOptions): Environment {
  const environment = new Environment();
  for (const [name, value] of [
    ["true", true],
    ["false", false],
    ["none", null],
  ] as const) {
    environment.set(name, value);
    environment.set(`${name.charAt(0).toUpperCase()}${name.slice(1)}`, value);
  }
  for (const [name, implementation] of pythonFunctions) environment.set(name, implementation);
  environment.set("range", boundedRange);
  environment.set("raise_exception", (message: unknown) => {
    throw new RaisedByTemplate(String(message));
  });
  environment.set("strftime_now", (format: string) => formatTime(options.now ?? new Date(), format));
  environment.set("messages", messages);
  environment.set("add_generation_prompt", options.addGenerationPrompt ?? false);
  if (options.bosToken !== undefined) environment.set("bos_token", options.bosToken);
  if (options.eosToken !== undefined) environment.set("eos_token", options.eosToken);
  // transformers defines both always; templates ask whether they are none, not whether they are defined.
  environment.set("tools", options.tools ?? null);
  environment.set("documents", null);
  return environment;
}

type Program = ReturnType<typeof parse>;

/** The template that was parsed last: a run renders one template, several times a conversation. */
let lastParsed: { readonly template: string; readonly program: Program } | undefined;

function programOf(template: string): Program {
  if (lastParsed?.template === template) return lastParsed.program;
  // Blocks swallow the spaces before and the line break after them: so transformers sets Jinja up.
  const tokens = tokenize(normalizeLineBreaks(template), { lstrip_blocks: true, trim_blocks: true });
  const program = rewriteForPython(parse(tokens));
  lastParsed = { template, program };
  return program;
}

function evaluateTemplate(
  template: string,
  messages: readonly ChatMessage[],
  options: RenderChatOptions,
): string {
  const { value } = new Interpreter(createEnvironment(messages, options)).run(programOf(template));
  if (typeof value !== "string") throw new Error("it gave no text");
  // So the library writes what Python cannot join to a text.
  if (value.includes("[object Map]") && !JSON.stringify(messages).includes("[object Map]"))
    throw new Error(
      "it joins an object to a text; templates differ in whether arguments are objects or texts",
    );
  if (value.length <= maximumOutputLength) return value;
  throw new Error(`it gave ${value.length} characters, at most ${maximumOutputLength} are allowed`);
}

/**
 * Writes a conversation as the chat template says, as transformers' `apply_chat_template` does.
 *
 * @param template Jinja source.
 * @throws DeltafitError `data-invalid` if the template itself refuses the messages, `file-invalid` if it is
 * broken, takes more than 3 s, or gives more than 8 Mi characters.
 */
export function renderChat(
  template: string,
  messages: readonly ChatMessage[],
  options: RenderChatOptions = {},
): string {
  const broken = (reason: string, cause?: unknown): DeltafitError =>
    new DeltafitError("file-invalid", `The chat template cannot be used: ${reason}.`, undefined, cause);
  if (template.length > maximumTemplateLength) {
    throw broken(`expected at most ${maximumTemplateLength} characters, found ${template.length}`);
  }
  try {
    return withTimeLimit(
      timeLimitMs,
      () => evaluateTemplate(template, messages, options),
      () => broken(`it took more than ${timeLimitMs} ms`),
    );
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    if (!(error instanceof RaisedByTemplate)) throw broken(reason, error);
    const message = `The chat template refuses the conversation (${rolesOf(messages)}): ${quote(reason)}.`;
    throw new DeltafitError(
      "data-invalid",
      message,
      "Bring the messages into the form that the model was trained with.",
    );
  }
}

function rolesOf(messages: readonly ChatMessage[]): string {
  const roles = messages.slice(0, 8).map((message) => message.role);
  return quote([...roles, ...(messages.length > 8 ? ["..."] : [])].join(", "));
}

/** Token ids and, at the same positions, labels: the id itself where it is trained on, else -100. */
export interface EncodedChat {
  readonly inputIds: number[];
  readonly labels: number[];
}

/**
 * Encodes a conversation with the tokenizer's chat template. Trained on are the assistant's turns from after
 * the generation prompt to their end-of-turn token; white space that a template writes after that token is
 * not.
 *
 * The conversation is encoded whole, as it is in use. The bounds of a turn are found by rendering the
 * conversation up to it; a token that reaches over a bound belongs to the later side.
 *
 * @throws DeltafitError as {@link renderChat}; `data-invalid` without an assistant's turn; `file-invalid` if
 * there is no template, or it changes earlier text when turns are added.
 */
export function encodeChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: { readonly tools?: readonly unknown[] | undefined; readonly now?: Date } = {},
): EncodedChat {
  const { render, text: wholeText } = createRenderer(tokenizer, messages, options);
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecialTokens: false });
  const inputIds = encode(wholeText);
  const labels = inputIds.map(() => -100);
  messages.forEach((message, index) => {
    if (message.role !== "assistant") return;
    const before = render(index, true);
    const through = render(index + 1, false);
    if (!through.startsWith(before) || !wholeText.startsWith(through))
      throw unstableTemplate(messages, index);
    const start = sharedLength(inputIds, encode(before));
    const end = endOfTurn(tokenizer, inputIds, start, sharedLength(inputIds, encode(through)));
    for (let position = start; position < end; position++) labels[position] = inputIds[position] ?? -100;
  });
  return { inputIds, labels };
}

/** Renders the first turns of a conversation. */
type RenderPrefix = (count: number, addGenerationPrompt: boolean) => string;

function createRenderer(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: { readonly tools?: readonly unknown[] | undefined; readonly now?: Date },
): { readonly render: RenderPrefix; readonly text: string } {
  const chatTemplate =
    options.tools === undefined
      ? tokenizer.chatTemplate
      : (tokenizer.toolChatTemplate ?? tokenizer.chatTemplate);
  if (chatTemplate === undefined) {
    const hint =
      "Add a chat_template.jinja to the model's folder, or bring the data into prompt and completion.";
    throw new DeltafitError(
      "file-invalid",
      `The tokenizer ${quote(tokenizer.folder)} has no chat template.`,
      hint,
    );
  }
  if (!messages.some((message) => message.role === "assistant")) {
    const message = `The conversation (${rolesOf(messages)}) has no turn of the role "assistant" to train on.`;
    throw new DeltafitError(
      "data-invalid",
      message,
      'Each conversation needs at least one message with "role": "assistant".',
    );
  }
  const token = (id: number | undefined): string | undefined =>
    id === undefined ? id : tokenizer.idToToken(id);
  const settings = {
    bosToken: token(tokenizer.bosTokenId),
    eosToken: token(tokenizer.eosTokenId),
    tools: options.tools,
    // One moment for all prefixes: a template may print the time.
    now: options.now ?? new Date(),
  };
  const render: RenderPrefix = (count, addGenerationPrompt) =>
    renderChat(chatTemplate, messages.slice(0, count), { ...settings, addGenerationPrompt });
  return { render, text: render(messages.length, false) };
}

function unstableTemplate(messages: readonly ChatMessage[], index: number): DeltafitError {
  return new DeltafitError(
    "file-invalid",
    `The chat template writes the turns up to message ${index + 1} of ${messages.length} (${rolesOf(messages)}) ` +
      "differently when more turns follow: expected each shorter conversation to begin the longer one.",
    "Such templates drop parts of earlier turns. Split the conversations so that each has one answer, its last turn.",
  );
}

function sharedLength(first: readonly number[], second: readonly number[]): number {
  const difference = second.findIndex((id, index) => id !== first[index]);
  return difference === -1 ? second.length : difference;
}

/** Leaves out white space behind the turn's last special token. */
function endOfTurn(tokenizer: Tokenizer, ids: readonly number[], start: number, end: number): number {
  const turn = ids.slice(start, end);
  const last = turn.findLastIndex((id) => tokenizer.isSpecialToken(id));
  return last !== -1 && tokenizer.decode(turn.slice(last + 1)).trim() === "" ? start + last + 1 : end;
}
