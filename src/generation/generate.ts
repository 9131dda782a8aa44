/**
 * @file Generating token ids from a base model with adapters: which adapters are active, the sessions behind them,
 * and whole or streamed results. Knows no text.
 */
import { checkWeight } from "../adapters/weight-check.ts";
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Graph } from "../graph/graph.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { takenPositions } from "../methods/forward-pass.ts";
import type { ParameterLayout } from "../methods/layout.ts";
import type { Model } from "../models/forward.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session, SessionOptions } from "../runtime/session.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { beamSearch } from "./beam-search.ts";
import { decode } from "./decode.ts";
import { Decoder } from "./decoder.ts";
import type { DecoderSessions } from "./decoder.ts";
import { adapterFeeds, buildDecoderGraph, decoderNames } from "./decoder-graph.ts";
import { checkRequest, newTokenLimit } from "./request.ts";
import type { FinishReason, GeneratedToken, GenerationRequest, WeightedAdapter } from "./request.ts";
import { SessionCache } from "./session-cache.ts";
import { buildSourceGraph, readSources } from "./source-graph.ts";
import { stopTokensOf } from "./stop-tokens.ts";

/** An adapter that a generator can switch on. */
export interface GenerationAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  readonly layout: ParameterLayout;
  /** All parameters, as the layout places them. */
  readonly values: Float32Array;
}

export interface GeneratorOptions {
  /** Sessions shared with other generators; they outlive this one. Default: sessions of its own, on the CPU. */
  readonly sessions?: SessionCache | undefined;
  /** How its own sessions run. */
  readonly session?: SessionOptions | undefined;
  /** Adapters active at the start. Default: all, with weight 1. */
  readonly active?: readonly (string | WeightedAdapter)[] | undefined;
}

export interface GenerationResult {
  /** The new tokens of every row, the stop token included where one ended it. */
  readonly tokens: readonly (readonly number[])[];
  readonly finishReasons: readonly FinishReason[];
  /** Of a beam search, each row's: the sum of its tokens' log-probabilities / their number ** length penalty. */
  readonly scores?: readonly number[] | undefined;
  /** From the call to the first token. */
  readonly firstTokenMilliseconds: number;
  /** New tokens of all rows after the first step, by the time since then; of a single step or a beam search, by all of it. */
  readonly tokensPerSecond: number;
}

/** A base model with adapters, ready to generate. */
export interface Generator {
  readonly base: Base;
  /** Tokens that end a row unless a request says otherwise. */
  readonly stopTokens: readonly number[];
  readonly activeAdapters: readonly WeightedAdapter[];
  /**
   * Makes exactly these adapters active, in this order. Adapters of equal configuration, and other weights, need no new
   * session. Generation under way goes on as it began.
   * @throws DeltafitError `usage-invalid` for a name that is not loaded, `method-unsupported` for a weight other than 1 of
   * an adapter that replaces parameters of the base.
   */
  switchAdapters(active: readonly (string | WeightedAdapter)[]): Promise<void>;
  /** @throws DeltafitError `usage-invalid`, `not-finite`, `runtime-failed`. */
  generate(request: GenerationRequest): Promise<GenerationResult>;
  /** Tokens as they are chosen; leaving the loop ends generation. Throws as `generate`. */
  stream(request: GenerationRequest): AsyncGenerator<GeneratedToken, void, undefined>;
  /** Frees the generator's own sessions. */
  dispose(): Promise<void>;
}

interface Activation {
  /** The base's model with as many positions as the adapters leave what it writes. */
  readonly model: Model;
  /** The same for what it reads: the same sequence, but for an encoder-decoder. */
  readonly reader: Model;
  readonly virtualTokens: number;
  readonly adapters: readonly WeightedAdapter[];
  readonly decoderSessions: DecoderSessions;
  /** Reads prompts for an encoder-decoder. */
  readonly sourceSession: Session | undefined;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Weights of adapters by the names of their inputs, for some of a request's rows, where each has its own. */
  readonly rowWeights?: ((rows: readonly number[]) => ReadonlyMap<string, readonly number[]>) | undefined;
}

/**
 * @param adapters Everything that may be switched on later.
 * @throws DeltafitError `usage-invalid` for a base that was not opened for causal-lm or adapters of one name; what
 * `switchAdapters` throws; `runtime-failed`.
 *
 * @example
 * ```ts
 * const generator = await createGenerator(await openBase({ path: "models/smollm2-135m", task: "causal-lm" }));
 * const { tokens } = await generator.generate({ prompts: [[1, 2, 3]], maximumNewTokens: 16 });
 * await generator.dispose();
 * ```
 */
export async function createGenerator(
  base: Base,
  adapters: readonly GenerationAdapter[] = [],
  options: GeneratorOptions = {},
): Promise<Generator> {
  checkBase(base, adapters);
  const stopTokens = stopTokensOf(base);
  const sessions = options.sessions ?? new SessionCache(cpu, options.session);
  let activation = await activate(
    base,
    adapters,
    options.active ?? adapters.map(({ name }) => name),
    sessions,
  );

  async function* stream(request: GenerationRequest): AsyncGenerator<GeneratedToken, void, undefined> {
    const current =
      request.adapters === undefined
        ? activation
        : await activateRows(base, adapters, request, request.adapters, sessions);
    checkRequest(request, current.reader);
    const ends = new Set(request.stopTokens ?? stopTokens);
    if ((request.beams ?? 1) > 1) {
      yield* searchBeams(current, request, ends);
      return;
    }
    const { decoder, rows } = await begin(current, request.prompts, [...request.prompts.keys()]);
    for await (const token of decode(decoder, current.model, { ...request, prompts: rows }, ends)) {
      request.onToken?.(token.row, token.id);
      yield token;
    }
  }
  return {
    base,
    stopTokens,
    get activeAdapters() {
      return activation.adapters;
    },
    async switchAdapters(active) {
      activation = await activate(base, adapters, active, sessions);
    },
    generate: (request) => collect(stream(request), request),
    stream,
    async dispose() {
      if (options.sessions === undefined) await sessions.dispose();
    },
  };
}

/** A decoder, and the tokens its rows begin with. */
interface Beginning {
  readonly decoder: Decoder;
  readonly rows: readonly (readonly number[])[];
}

/**
 * A decoder begins with the prompts. An encoder-decoder has read them before it begins with the one token that stands in
 * front of all it writes.
 */
async function begin(
  { decoderSessions, sourceSession, feeds, model, virtualTokens, rowWeights }: Activation,
  prompts: readonly (readonly number[])[],
  numbers: readonly number[],
): Promise<Beginning> {
  const { encoderDecoder } = model;
  if (!sourceSession || !encoderDecoder)
    return {
      decoder: new Decoder(decoderSessions, model, feeds, prompts.length, {
        virtualTokens,
        rowWeights: rowWeights?.(numbers),
      }),
      rows: prompts,
    };
  const source = await readSources(sourceSession, model, feeds, prompts);
  return {
    decoder: new Decoder(decoderSessions, model, feeds, prompts.length, { source }),
    rows: prompts.map(() => [encoderDecoder.startTokenId]),
  };
}

/** Prompts one after the other; the tokens come when a search is over. */
async function* searchBeams(
  activation: Activation,
  request: GenerationRequest,
  stopTokens: ReadonlySet<number>,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { beams = 1, lengthPenalty = 1, maximumNewTokens } = request;
  for (const [row, prompt] of request.prompts.entries()) {
    const { decoder, rows } = await begin(activation, [prompt], [row]);
    const beginning = rows[0] ?? prompt;
    const limit = newTokenLimit(beginning, maximumNewTokens, activation.model);
    const settings = { ...request, beams, lengthPenalty, limit, stopTokens };
    const { tokens, score } = await beamSearch(decoder, beginning, settings);
    for (const [index, id] of tokens.entries()) {
      const isLast = index === tokens.length - 1;
      const reason = stopTokens.has(id) ? "stop-token" : "length";
      yield isLast ? { row, id, finishReason: reason, score } : { row, id, finishReason: undefined };
    }
  }
}

async function collect(
  stream: AsyncIterable<GeneratedToken>,
  { prompts, beams = 1 }: GenerationRequest,
): Promise<GenerationResult> {
  const begin = performance.now();
  const rows = prompts.length;
  const tokens = Array.from({ length: rows }, (): number[] => []);
  const finishReasons = Array.from({ length: rows }, (): FinishReason => "length");
  const scores = Array.from({ length: rows }, () => 0);
  let first: number | undefined;
  let later = 0;
  for await (const { row, id, finishReason, score } of stream) {
    first ??= performance.now();
    const own = tokens[row] ?? [];
    own.push(id);
    if (own.length > 1) later++;
    if (finishReason !== undefined) finishReasons[row] = finishReason;
    if (score !== undefined) scores[row] = score;
  }
  const end = performance.now();
  const firstAt = first ?? end;
  const isStepwise = later > 0 && beams === 1;
  const [count, milliseconds] = isStepwise ? [later, end - firstAt] : [rows + later, end - begin];
  return {
    tokens,
    finishReasons,
    ...(beams > 1 ? { scores } : {}),
    firstTokenMilliseconds: firstAt - begin,
    tokensPerSecond: (1000 * count) / milliseconds,
  };
}

function checkBase(base: Base, adapters: readonly GenerationAdapter[]): void {
  const { task } = base.settings;
  if (task !== "causal-lm" && task !== "seq2seq-lm")
    throw new DeltafitError(
      "usage-invalid",
      `Generation: the model ${quote(base.name)} was opened for ${task}; expected causal-lm, or seq2seq-lm for an encoder-decoder.`,
      "Open the model for the task in which it writes text.",
    );
  const names = adapters.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      `Generation: two adapters are called ${quote(twice)}.`,
      "Give each adapter a name of its own.",
    );
}

/** One session serves both where no product is computed otherwise for few rows. */
async function openDecoder(sessions: SessionCache, base: Base, graph: Graph): Promise<DecoderSessions> {
  const prompt = await sessions.open(base, graph);
  const hasBlocks = base.compute === "int8" && base.storage === "int4";
  return { prompt, step: hasBlocks ? await sessions.open(base, graph, true) : prompt };
}

async function activate(
  base: Base,
  adapters: readonly GenerationAdapter[],
  active: readonly (string | WeightedAdapter)[],
  sessions: SessionCache,
): Promise<Activation> {
  const chosen = active.map((given) => {
    const { name, weight } = typeof given === "string" ? { name: given, weight: 1 } : given;
    return {
      adapter: findAdapter(adapters, name),
      weight: checkWeight(findAdapter(adapters, name), base.modules, weight, "Generation"),
    };
  });
  const { model } = base;
  const methods = chosen.map(({ adapter }) => adapter);
  const changed = withBaseChanges(base, methods);
  const decoderSessions = await openDecoder(sessions, changed, buildDecoderGraph(model, methods));
  const hasSource = model.encoderDecoder !== undefined;
  const sourceSession = hasSource
    ? await sessions.open(changed, buildSourceGraph(model, methods))
    : undefined;
  const feeds = chosen.flatMap(({ adapter, weight }, index) =>
    Object.entries(adapterFeeds(adapter, index, weight)),
  );
  const taken = takenPositions(methods, hasSource);
  const withPositions = (count: number) => ({ ...model, maximumPositions: model.maximumPositions - count });
  return {
    model: withPositions(taken.sequence),
    reader: withPositions(hasSource ? taken.source : taken.sequence),
    virtualTokens: chosen.reduce((sum, { adapter: { method } }) => sum + (method.virtualTokens ?? 0), 0),
    adapters: chosen.map(({ adapter: { name }, weight }) => ({ name, weight })),
    decoderSessions,
    sourceSession,
    feeds: Object.fromEntries(feeds),
  };
}

/** All adapters that some row has, each with a weight for every row: 0 where the row does not have it. */
async function activateRows(
  base: Base,
  adapters: readonly GenerationAdapter[],
  { prompts }: GenerationRequest,
  chosen: NonNullable<GenerationRequest["adapters"]>,
  sessions: SessionCache,
): Promise<Activation> {
  if (base.model.encoderDecoder !== undefined)
    throw new DeltafitError(
      "method-unsupported",
      "Generation: an encoder-decoder takes no adapters for single prompts.",
      "Switch adapters between requests.",
    );
  if (chosen.length !== prompts.length)
    throw new DeltafitError(
      "usage-invalid",
      `Generation: adapters are chosen for ${chosen.length} prompts; expected ${prompts.length}, one list for each.`,
      "Give an empty list for the base alone.",
    );
  const weights = chosen.map((row) => new Map(row.map((given) => weightOf(adapters, given))));
  const used = adapters.filter(({ name }) => weights.some((row) => row.has(name)));
  const changing = used.find(({ method }) => (method.baseChanges ?? []).length > 0);
  if (changing)
    throw new DeltafitError(
      "method-unsupported",
      `Generation: the adapter ${quote(changing.name)} changes the base itself, so it cannot be chosen for single prompts.`,
      "Convert it with forUnchangedBase where it started as PiSSA or OLoRA, or switch adapters between requests.",
    );
  for (const adapter of used)
    for (const row of weights) checkWeight(adapter, base.modules, row.get(adapter.name) ?? 0, "Generation");
  const decoderSessions = await openDecoder(sessions, base, buildDecoderGraph(base.model, used, "per-row"));
  const feeds = used.flatMap((adapter, index) => Object.entries(adapterFeeds(adapter, index, 1)));
  const taken = takenPositions(used, false).sequence;
  const model = { ...base.model, maximumPositions: base.model.maximumPositions - taken };
  return {
    model,
    reader: model,
    virtualTokens: used.reduce((sum, { method }) => sum + (method.virtualTokens ?? 0), 0),
    adapters: [],
    decoderSessions,
    sourceSession: undefined,
    feeds: Object.fromEntries(feeds),
    rowWeights: (rows) =>
      new Map(
        used.map(({ name }, index) => [
          decoderNames.weight(index),
          rows.map((row) => weights[row]?.get(name) ?? 0),
        ]),
      ),
  };
}

function weightOf(
  adapters: readonly GenerationAdapter[],
  given: string | WeightedAdapter,
): readonly [name: string, weight: number] {
  const { name, weight } = typeof given === "string" ? { name: given, weight: 1 } : given;
  return [findAdapter(adapters, name).name, weight];
}

function findAdapter(adapters: readonly GenerationAdapter[], name: string): GenerationAdapter {
  const adapter = adapters.find((candidate) => candidate.name === name);
  if (adapter) return adapter;
  const known = adapters.map((candidate) => quote(candidate.name)).join(", ");
  throw new DeltafitError(
    "usage-invalid",
    `Generation: no adapter is called ${quote(name)}.`,
    known === "" ? "No adapter is loaded." : `Loaded are ${known}.`,
  );
}
