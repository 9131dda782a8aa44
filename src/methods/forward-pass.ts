/**
 * @file The forward pass of a model with methods: implements what architectures are written against, resolves
 * parameters to frozen weights or trained values, and runs every hook in the order of the methods. Knows
 * neither a model nor a method by name.
 */
import { internalError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Dimension } from "../graph/dimension.ts";
import { divideDimensions, multiplyDimensions } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type {
  AttentionCall,
  EmbeddingSite,
  ForwardContext,
  LinearSite,
  NormSite,
  SequenceLayout,
  SublayerCall,
} from "../models/forward.ts";
import { attend } from "../models/layers/attention.ts";
import { relativeScores } from "../models/layers/relative-bias.ts";
import type { BaseParameter, BoundMethod } from "./contract.ts";
import { PassState } from "./pass-state.ts";
import { inputNames, SequenceRows, sourceInputNames } from "./sequence-rows.ts";

export { inputNames, sourceInputNames } from "./sequence-rows.ts";

/** An adapter in a forward pass. */
export interface ActiveAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  /** The graph's value of one of the adapter's parameters or constants. */
  readonly parameter: (key: string) => Value;
  /**
   * A float32 factor of what the adapter adds, given at run time: [1], or one for each row of the batch, [batch]. Left out
   * where it is always one.
   */
  readonly weight?: Value | undefined;
}

export interface ForwardSettings {
  readonly builder: GraphBuilder;
  readonly adapters: readonly ActiveAdapter[];
  readonly training: boolean;
  /** Whether rows may hold padding that attention has to leave out. */
  readonly padding: boolean;
  /** Whether rows may hold several sequences. Methods with virtual tokens then do not work. */
  readonly packed?: boolean | undefined;
  /** Row blocks of causal attention; the length is then a multiple of them. */
  readonly attentionBlocks: number;
  /** Whether the model is an encoder-decoder. The virtual tokens of methods then stand in front of its source. */
  readonly hasSource?: boolean | undefined;
  /**
   * How rows get the virtual tokens of methods: in front of each, or, for rows that go on step by step, where the ids
   * say so. Id -1 is the first virtual token, -2 the second.
   */
  readonly virtualTokens?: "in-front" | "by-id" | undefined;
  /**
   * Replaces attention, for generation with a cache; `attend` is what it replaces. `layer` is the call's number among
   * those of its kind.
   */
  readonly attention?:
    ((call: AttentionCall, layer: number, attend: (call: AttentionCall) => Value) => Value) | undefined;
  /** Told every site as the model meets it. */
  readonly observe?: ForwardObserver | undefined;
}

export interface ForwardObserver {
  linear?(site: LinearSite): void;
  embedding?(site: EmbeddingSite): void;
  tokenEmbedding?(site: EmbeddingSite): void;
  norm?(site: NormSite): void;
  attention?(call: AttentionCall): void;
  sublayer?(call: SublayerCall): void;
  parameter?(parameter: BaseParameter): void;
  /** The hidden states that enter and leave a layer, of the sequence's own or of its source's. */
  layer?(path: string, input: Value, output: Value, isSource: boolean): void;
  /** A loss of the model's own. */
  loss?(loss: Value): void;
}

/** Positions in front of the tokens' own that methods take. */
export interface TakenPositions {
  readonly sequence: number;
  readonly source: number;
}

export function takenPositions(
  adapters: readonly Pick<ActiveAdapter, "method">[],
  hasSource: boolean,
): TakenPositions {
  const count = (of: (method: BoundMethod) => number | undefined) =>
    adapters.reduce((sum, { method }) => sum + (of(method) ?? 0), 0);
  const virtual = count(({ virtualTokens }) => virtualTokens);
  const keys = count(({ prefixKeys }) => prefixKeys);
  return hasSource ? { sequence: keys, source: virtual } : { sequence: keys + virtual, source: 0 };
}

/** Starts a forward pass over token ids [batch, length]. */
export function createForwardContext(settings: ForwardSettings): ForwardContext {
  const state = new PassState(settings, inputNames.dropoutSeed);
  const { attentionBlocks, adapters, hasSource = false } = settings;
  const count = (of: (method: BoundMethod) => number | undefined) =>
    adapters.reduce((sum, { method }) => sum + (of(method) ?? 0), 0);
  const virtualTokens = count((method) => method.virtualTokens);
  const own = {
    ...settings,
    names: inputNames,
    length: attentionBlocks === 1 ? "length" : multiplyDimensions(attentionBlocks, "block"),
  };
  const prefixKeys = count((method) => method.prefixKeys);
  if (!hasSource) return new ForwardPass(state, new SequenceRows(own, { virtualTokens, prefixKeys }));
  if (settings.packed) throw internalError("pairs of a source and what follows it are not packed.");
  const source = new SequenceRows(
    {
      ...settings,
      names: sourceInputNames,
      length: "source_length",
      padding: true,
      virtualTokens: "in-front",
    },
    { virtualTokens, prefixKeys: 0 },
  );
  const rows = new SequenceRows({ ...own, virtualTokens: "in-front" }, { virtualTokens: 0, prefixKeys });
  return new ForwardPass(state, rows, { rows: source, context: new ForwardPass(state, source, "none") });
}

type Around<Call, Result> = (call: Call, next: (call: Call) => Result) => Result;

/** Composes hooks around the innermost function: the first method is nearest to it. */
function compose<Call, Result>(
  innermost: (call: Call) => Result,
  hooks: readonly (Around<Call, Result> | undefined)[],
): (call: Call) => Result {
  return hooks.reduce<(call: Call) => Result>(
    (next, hook) => (hook ? (call) => hook(call, next) : next),
    innermost,
  );
}

/** Where an encoder-decoder's source is found: "none" in the context that is the source's own. */
type SourceOf = { readonly rows: SequenceRows; readonly context: ForwardContext } | "none" | undefined;

class ForwardPass implements ForwardContext {
  readonly builder: GraphBuilder;
  readonly sequence: SequenceLayout;
  readonly #state: PassState;
  readonly #rows: SequenceRows;
  readonly #source: SourceOf;

  constructor(state: PassState, rows: SequenceRows, source?: SourceOf) {
    this.#state = state;
    this.builder = state.builder;
    this.#rows = rows;
    this.sequence = rows.layout;
    this.#source = source;
  }

  get source(): ForwardContext {
    if (typeof this.#source === "object") return this.#source.context;
    throw internalError("the forward pass has no source.");
  }

  get #isSource(): boolean {
    return this.#source === "none";
  }

  linear(
    path: string,
    x: Value,
    given: Partial<Omit<LinearSite, "path">> & Pick<LinearSite, "in" | "out">,
  ): Value {
    const site: LinearSite = { bias: false, layout: "out-in", isOutput: false, ...given, path };
    this.#state.settings.observe?.linear?.(site);
    const product = (input: Value): Value => {
      const stored = site.tiedWeight === undefined ? {} : { stored: site.tiedWeight };
      const shape = site.layout === "out-in" ? [site.out, site.in] : [site.in, site.out];
      const weight = this.#state.parameter({ name: `${path}.weight`, shape, ...stored });
      const bias = site.bias ? this.#state.parameter({ name: `${path}.bias`, shape: [site.out] }) : undefined;
      return this.builder.gemm(input, weight, { transB: site.layout === "out-in", c: bias });
    };
    return compose(
      product,
      this.#state.hooks.map(
        (hooks) => hooks.linear && ((input, next) => hooks.linear?.(site, input, next) ?? next(input)),
      ),
    )(x);
  }

  tokenEmbedding(site: EmbeddingSite): Value {
    this.#state.settings.observe?.embedding?.(site);
    this.#state.settings.observe?.tokenEmbedding?.(site);
    const lookup = (table: Value) =>
      this.builder.scale(this.#rows.lookUpTokens(table, site.paddingRow), site.scale ?? 1);
    const own = (): Value =>
      lookup(this.#state.parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] }));
    const embedded = this.#state.hooks.reduce<() => Value>((next, hooks) => {
      if (!hooks.embedding) return next;
      return () => hooks.embedding?.(site, next, lookup) ?? next();
    }, own)();
    if (typeof this.#source === "object") return embedded;
    const virtual = this.#state.hooks.flatMap((hooks) => hooks.virtualTokens?.() ?? []);
    return virtual.length === 0
      ? embedded
      : this.#rows.withVirtualTokens(embedded, this.builder.concat(virtual, 0));
  }

  positionEmbedding(site: EmbeddingSite, offset = 0): Value {
    this.#state.settings.observe?.embedding?.(site);
    const table = this.#state.parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] });
    return this.#rows.lookUpPositions(table, offset, site.paddingRow);
  }

  tokenTypeEmbedding(site: EmbeddingSite): Value {
    this.#state.settings.observe?.embedding?.(site);
    const table = this.#state.parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] });
    // With a single segment every token has the same row, which broadcasts.
    return site.rows === 1 ? table : this.#rows.lookUpTokenTypes(table);
  }

  layerNorm(path: string, x: Value, size: number, epsilon: number, bias = true): Value {
    this.#state.settings.observe?.norm?.({ path, size, epsilon, kind: "layer", offset: 0 });
    const scale = this.#state.parameter({ name: `${path}.weight`, shape: [size] });
    const shift = bias ? this.#state.parameter({ name: `${path}.bias`, shape: [size] }) : undefined;
    return this.builder.layerNormalization(x, scale, shift, epsilon);
  }

  rmsNorm(path: string, x: Value, size: number, epsilon: number, offset = 0): Value {
    this.#state.settings.observe?.norm?.({ path, size, epsilon, kind: "rms", offset });
    const scale = this.#state.parameter({ name: `${path}.weight`, shape: [size] });
    return this.builder.rmsNormalization(
      x,
      offset === 0 ? scale : this.builder.add(scale, this.builder.scalar(offset)),
      epsilon,
    );
  }

  parameter(name: string, shape: readonly number[]): Value {
    return this.#state.parameter({ name, shape });
  }

  attention(given: AttentionCall): Value {
    const call = this.#isSource ? { ...given, kind: "source" as const } : given;
    const { observe, attention } = this.#state.settings;
    observe?.attention?.(call);
    const layer = this.#state.nextAttentionCall(call.kind ?? "self");
    const own = (inner: AttentionCall) => this.#attend(inner);
    const attended = compose(
      (inner: AttentionCall) => attention?.(inner, layer, own) ?? own(inner),
      this.#state.hooks.map(
        (hooks) => hooks.attention && ((inner, next) => hooks.attention?.(inner, next, layer) ?? next(inner)),
      ),
    )(call);
    const [batch = 0, heads = 0, length = 0, size = 0] = attended.shape;
    const joined = this.builder.transpose(attended, [0, 2, 1, 3]);
    return this.builder.reshape(joined, [multiplyDimensions(batch, length), multiplyDimensions(heads, size)]);
  }

  #attend(call: AttentionCall): Value {
    const { attentionBlocks } = this.#state.settings;
    const { prefixKeys = 0 } = call;
    const { sequenceStarts } = this.sequence;
    const keys = call.kind === "cross" && typeof this.#source === "object" ? this.#source.rows : this.#rows;
    const mask = sequenceStarts ? undefined : keys.tokenMask();
    return attend(this.builder, {
      ...call,
      bias: this.#relativeScores(call) ?? call.bias,
      pastKeys: prefixKeys,
      sequenceStarts,
      keyMask: mask && keys.putInFront(1, prefixKeys, mask),
      // Virtual tokens in front may leave no equal blocks.
      blocks: divideDimensions(this.sequence.length, attentionBlocks) === undefined ? 1 : attentionBlocks,
      dropout: (weights) => this.dropout(weights, call.dropout),
    });
  }

  /** Of keys in front too: they take the places -prefixKeys .. -1. */
  #relativeScores({ relativeBias, query, key, prefixKeys = 0 }: AttentionCall): Value | undefined {
    if (!relativeBias) return undefined;
    const { builder } = this;
    const places = (count: Dimension) => builder.reshape(builder.range(count), [1, count]);
    const keys = builder.subtract(places(key.shape[2] ?? 0), builder.constant("int64", [], [prefixKeys]));
    return relativeScores(builder, relativeBias, places(query.shape[2] ?? 0), keys);
  }

  sublayer(call: SublayerCall): Value {
    this.#state.settings.observe?.sublayer?.(call);
    const join = ({ residual, output, norm }: SublayerCall) => {
      const sum = this.builder.add(residual, output);
      return norm ? norm(sum) : sum;
    };
    return compose(
      join,
      this.#state.hooks.map(
        (hooks) => hooks.sublayer && ((inner, next) => hooks.sublayer?.(inner, next) ?? next(inner)),
      ),
    )(call);
  }

  layer(path: string, x: Value, body: (x: Value) => Value): Value {
    const output = body(x);
    this.#state.settings.observe?.layer?.(path, x, output, this.#isSource);
    return output;
  }

  dropout(x: Value, ratio: number): Value {
    return this.#state.dropout(x, ratio);
  }

  firstTokens(x: Value): Value {
    return this.#rows.firstTokens(x);
  }

  lastTokens(x: Value): Value {
    return this.#rows.lastTokens(x);
  }

  meanTokens(x: Value): Value {
    return this.#rows.meanTokens(x);
  }

  zeroPadding(x: Value): Value {
    return this.#rows.zeroPadding(x);
  }

  addLoss(loss: Value): void {
    this.#state.settings.observe?.loss?.(loss);
  }
}
