/**
 * @file Generating token ids from a base model with adapters: which adapters are active, the sessions behind them,
 * and whole or streamed results. Knows no text.
 */
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
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
import { adapterFeeds, buildDecoderGraph } from "./decoder-graph.ts";
import { checkRequest, newTokenLimit } from "./request.ts";
import type { FinishReason, GeneratedToken, GenerationRequest } from "./request.ts";
import { SessionCache } from "./session-cache.ts";
import { stopTokensOf } from "./stop-tokens.ts";

/** An adapter that a generator can switch on. */
export interface GenerationAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  readonly layout: ParameterLayout;
  /** All parameters, as the layout places them. */
  readonly values: Float32Array;
}

/** An adapter by its name, with a factor of what it adds: 1 as trained, 0 for nothing. */
export interface WeightedAdapter {
  readonly name: string;
  readonly weight: number;
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
  /** The base's model with as many positions as the adapters leave it. */
  readonly model: Model;
  readonly virtualTokens: number;
  readonly adapters: readonly WeightedAdapter[];
  readonly session: Session;
  readonly feeds: Readonly<Record<string, Tensor>>;
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
    const { session, feeds, model, virtualTokens } = activation;
    checkRequest(request, model);
    const ends = new Set(request.stopTokens ?? stopTokens);
    const start = (rows: number) => new Decoder(session, model, feeds, rows, virtualTokens);
    if ((request.beams ?? 1) > 1) yield* searchBeams(() => start(1), model, request, ends);
    else
      for await (const token of decode(start(request.prompts.length), model, request, ends)) {
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

/** Prompts one after the other; the tokens come when a search is over. */
async function* searchBeams(
  start: () => Decoder,
  model: Model,
  request: GenerationRequest,
  stopTokens: ReadonlySet<number>,
): AsyncGenerator<GeneratedToken, void, undefined> {
  const { beams = 1, lengthPenalty = 1, maximumNewTokens } = request;
  for (const [row, prompt] of request.prompts.entries()) {
    const limit = newTokenLimit(prompt, maximumNewTokens, model);
    const tokens = await beamSearch(start(), prompt, { ...request, beams, lengthPenalty, limit, stopTokens });
    for (const [index, id] of tokens.entries()) {
      const reason = stopTokens.has(id) ? "stop-token" : "length";
      yield { row, id, finishReason: index === tokens.length - 1 ? reason : undefined };
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
  let first: number | undefined;
  let later = 0;
  for await (const { row, id, finishReason } of stream) {
    first ??= performance.now();
    const own = tokens[row] ?? [];
    own.push(id);
    if (own.length > 1) later++;
    if (finishReason !== undefined) finishReasons[row] = finishReason;
  }
  const end = performance.now();
  const firstAt = first ?? end;
  const isStepwise = later > 0 && beams === 1;
  const [count, milliseconds] = isStepwise ? [later, end - firstAt] : [rows + later, end - begin];
  return {
    tokens,
    finishReasons,
    firstTokenMilliseconds: firstAt - begin,
    tokensPerSecond: (1000 * count) / milliseconds,
  };
}

function checkBase(base: Base, adapters: readonly GenerationAdapter[]): void {
  if (base.settings.task !== "causal-lm")
    throw new DeltafitError(
      "usage-invalid",
      `Generation: the model ${quote(base.name)} was opened for ${base.settings.task}; expected causal-lm.`,
      "Open the model for causal-lm.",
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
      weight: checkWeight(base, findAdapter(adapters, name), weight),
    };
  });
  const session = await sessions.open(
    base,
    buildDecoderGraph(
      base.model,
      chosen.map(({ adapter }) => adapter),
    ),
  );
  const feeds = chosen.flatMap(({ adapter, weight }, index) =>
    Object.entries(adapterFeeds(adapter, index, weight)),
  );
  const taken = takenPositions(chosen.map(({ adapter }) => adapter));
  return {
    model: { ...base.model, maximumPositions: base.model.maximumPositions - taken },
    virtualTokens: chosen.reduce((sum, { adapter: { method } }) => sum + (method.virtualTokens ?? 0), 0),
    adapters: chosen.map(({ adapter: { name }, weight }) => ({ name, weight })),
    session,
    feeds: Object.fromEntries(feeds),
  };
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

/** A weight scales what an adapter adds; a parameter put in place of the base's is there or not. */
function checkWeight(base: Base, adapter: GenerationAdapter, weight: number): number {
  const { name, layout, method } = adapter;
  if (!Number.isFinite(weight))
    throw new DeltafitError(
      "usage-invalid",
      `Generation: the weight of the adapter ${quote(name)} is ${weight}; expected a number.`,
    );
  const replaced = layout.entries.find(({ key }) => base.modules.parameters.has(key));
  if (weight !== 1 && takenPositions([adapter]) > 0)
    throw new DeltafitError(
      "method-unsupported",
      `Generation: the adapter ${quote(name)} cannot have the weight ${weight}: it puts ${method.virtualTokens === undefined ? "keys" : "tokens"} in front of every row.`,
      "Leave the adapter out to switch it off.",
    );
  if (weight === 1 || !replaced) return weight;
  throw new DeltafitError(
    "method-unsupported",
    `Generation: the adapter ${quote(name)} cannot have the weight ${weight}: it replaces the base's ${quote(replaced.key)}.`,
    "Leave the adapter out to switch it off, or merge adapters.",
  );
}
