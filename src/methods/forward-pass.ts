/**
 * @file The forward pass of a model with methods: implements what architectures are written against, resolves
 * parameters to frozen weights or trained values, and runs every hook in the order of the methods. Knows
 * neither a model nor a method by name.
 */
import { internalError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
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
import type { BaseParameter, BoundMethod, ForwardHooks, MethodUse } from "./contract.ts";
import { inputNames, SequenceRows } from "./sequence-rows.ts";

export { inputNames } from "./sequence-rows.ts";

/** An adapter in a forward pass. */
export interface ActiveAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  /** The graph's value of one of the adapter's parameters or constants. */
  readonly parameter: (key: string) => Value;
  /** A float32 factor [1] of what the adapter adds, given at run time; left out where it is always one. */
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
  /**
   * How rows get the virtual tokens of methods: in front of each, or, for rows that go on step by step, where the ids
   * say so. Id -1 is the first virtual token, -2 the second.
   */
  readonly virtualTokens?: "in-front" | "by-id" | undefined;
  /** Replaces the attention over the sequence itself, for generation with a cache. */
  readonly attention?: ((call: AttentionCall, layer: number) => Value) | undefined;
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
  /** The hidden states that enter and leave a layer. */
  layer?(path: string, input: Value, output: Value): void;
}

/** Positions in front of the tokens' own that methods take. */
export function takenPositions(adapters: readonly Pick<ActiveAdapter, "method">[]): number {
  return adapters.reduce(
    (sum, { method }) => sum + (method.virtualTokens ?? 0) + (method.prefixKeys ?? 0),
    0,
  );
}

/** Starts a forward pass over token ids [batch, length]. */
export function createForwardContext(settings: ForwardSettings): ForwardContext {
  return new ForwardPass(settings);
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

class ForwardPass implements ForwardContext {
  readonly builder: GraphBuilder;
  readonly sequence: SequenceLayout;
  readonly #settings: ForwardSettings;
  readonly #hooks: readonly ForwardHooks[];
  readonly #rows: SequenceRows;
  /** The parameters met so far. */
  readonly #parameters = new Map<string, BaseParameter>();
  #dropoutSites = 0;
  #attentionCalls = 0;

  constructor(settings: ForwardSettings) {
    const { builder, adapters } = settings;
    this.#settings = settings;
    this.builder = builder;
    const count = (of: (method: BoundMethod) => number | undefined) =>
      adapters.reduce((sum, { method }) => sum + (of(method) ?? 0), 0);
    this.#rows = new SequenceRows(settings, {
      virtualTokens: count((method) => method.virtualTokens),
      prefixKeys: count((method) => method.prefixKeys),
    });
    this.sequence = this.#rows.layout;
    this.#hooks = adapters.map((adapter) => adapter.method.hooks(this.#useOf(adapter)));
  }

  #useOf({ parameter, weight }: ActiveAdapter): MethodUse {
    return {
      builder: this.builder,
      parameter,
      base: (name) => this.#baseParameter(name),
      weighted: (x) => (weight ? this.builder.multiply(x, weight) : x),
      toward: (from, to) =>
        weight ? this.builder.add(from, this.builder.multiply(this.builder.subtract(to, from), weight)) : to,
      dropout: (x, ratio) => this.dropout(x, ratio),
    };
  }

  linear(
    path: string,
    x: Value,
    given: Partial<Omit<LinearSite, "path">> & Pick<LinearSite, "in" | "out">,
  ): Value {
    const site: LinearSite = { bias: false, layout: "out-in", isOutput: false, ...given, path };
    this.#settings.observe?.linear?.(site);
    const product = (input: Value): Value => {
      const stored = site.tiedWeight === undefined ? {} : { stored: site.tiedWeight };
      const shape = site.layout === "out-in" ? [site.out, site.in] : [site.in, site.out];
      const weight = this.#parameter({ name: `${path}.weight`, shape, ...stored });
      const bias = site.bias ? this.#parameter({ name: `${path}.bias`, shape: [site.out] }) : undefined;
      return this.builder.gemm(input, weight, { transB: site.layout === "out-in", c: bias });
    };
    return compose(
      product,
      this.#hooks.map(
        (hooks) => hooks.linear && ((input, next) => hooks.linear?.(site, input, next) ?? next(input)),
      ),
    )(x);
  }

  tokenEmbedding(site: EmbeddingSite): Value {
    this.#settings.observe?.embedding?.(site);
    this.#settings.observe?.tokenEmbedding?.(site);
    const lookup = (table: Value) =>
      this.builder.scale(this.#rows.lookUpTokens(table, site.paddingRow), site.scale ?? 1);
    const own = (): Value =>
      lookup(this.#parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] }));
    const embedded = this.#hooks.reduce<() => Value>((next, hooks) => {
      if (!hooks.embedding) return next;
      return () => hooks.embedding?.(site, next, lookup) ?? next();
    }, own)();
    const virtual = this.#hooks.flatMap((hooks) => hooks.virtualTokens?.() ?? []);
    return virtual.length === 0
      ? embedded
      : this.#rows.withVirtualTokens(embedded, this.builder.concat(virtual, 0));
  }

  positionEmbedding(site: EmbeddingSite, offset = 0): Value {
    this.#settings.observe?.embedding?.(site);
    const table = this.#parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] });
    return this.#rows.lookUpPositions(table, offset, site.paddingRow);
  }

  tokenTypeEmbedding(site: EmbeddingSite): Value {
    this.#settings.observe?.embedding?.(site);
    const table = this.#parameter({ name: `${site.path}.weight`, shape: [site.rows, site.size] });
    // With a single segment every token has the same row, which broadcasts.
    return site.rows === 1 ? table : this.#rows.lookUpTokenTypes(table);
  }

  layerNorm(path: string, x: Value, size: number, epsilon: number, bias = true): Value {
    this.#settings.observe?.norm?.({ path, size, epsilon, kind: "layer", offset: 0 });
    const scale = this.#parameter({ name: `${path}.weight`, shape: [size] });
    const shift = bias ? this.#parameter({ name: `${path}.bias`, shape: [size] }) : undefined;
    return this.builder.layerNormalization(x, scale, shift, epsilon);
  }

  rmsNorm(path: string, x: Value, size: number, epsilon: number, offset = 0): Value {
    this.#settings.observe?.norm?.({ path, size, epsilon, kind: "rms", offset });
    const scale = this.#parameter({ name: `${path}.weight`, shape: [size] });
    return this.builder.rmsNormalization(
      x,
      offset === 0 ? scale : this.builder.add(scale, this.builder.scalar(offset)),
      epsilon,
    );
  }

  parameter(name: string, shape: readonly number[]): Value {
    return this.#parameter({ name, shape });
  }

  #parameter({ name, shape, stored = name }: Omit<BaseParameter, "stored"> & { stored?: string }): Value {
    const parameter: BaseParameter = { name, shape, stored };
    this.#settings.observe?.parameter?.(parameter);
    this.#parameters.set(name, parameter);
    return this.#resolve(parameter);
  }

  #resolve(parameter: BaseParameter): Value {
    for (const hooks of this.#hooks.toReversed()) {
      const replaced = hooks.parameter?.(parameter);
      if (replaced) return replaced;
    }
    return this.builder.weight(parameter.stored, parameter.shape);
  }

  #baseParameter(name: string): Value {
    const parameter = this.#parameters.get(name);
    if (!parameter) throw internalError(`a method asks for ${name} before the model does.`);
    return this.#resolve(parameter);
  }

  attention(call: AttentionCall): Value {
    this.#settings.observe?.attention?.(call);
    const layer = this.#attentionCalls++;
    const attended = compose(
      (inner: AttentionCall) => this.#settings.attention?.(inner, layer) ?? this.#attendSequence(inner),
      this.#hooks.map(
        (hooks) => hooks.attention && ((inner, next) => hooks.attention?.(inner, next, layer) ?? next(inner)),
      ),
    )(call);
    const [batch = 0, heads = 0, length = 0, size = 0] = attended.shape;
    const joined = this.builder.transpose(attended, [0, 2, 1, 3]);
    return this.builder.reshape(joined, [multiplyDimensions(batch, length), multiplyDimensions(heads, size)]);
  }

  #attendSequence(call: AttentionCall): Value {
    const { attentionBlocks } = this.#settings;
    const { prefixKeys = 0 } = call;
    const { sequenceStarts } = this.sequence;
    const mask = sequenceStarts ? undefined : this.#rows.tokenMask();
    return attend(this.builder, {
      ...call,
      pastKeys: prefixKeys,
      sequenceStarts,
      keyMask: mask && this.#rows.putInFront(1, prefixKeys, mask),
      // Virtual tokens in front may leave no equal blocks.
      blocks: divideDimensions(this.sequence.length, attentionBlocks) === undefined ? 1 : attentionBlocks,
      dropout: (weights) => this.dropout(weights, call.dropout),
    });
  }

  sublayer(call: SublayerCall): Value {
    this.#settings.observe?.sublayer?.(call);
    const join = ({ residual, output, norm }: SublayerCall) => {
      const sum = this.builder.add(residual, output);
      return norm ? norm(sum) : sum;
    };
    return compose(
      join,
      this.#hooks.map(
        (hooks) => hooks.sublayer && ((inner, next) => hooks.sublayer?.(inner, next) ?? next(inner)),
      ),
    )(call);
  }

  layer(path: string, x: Value, body: (x: Value) => Value): Value {
    const output = body(x);
    this.#settings.observe?.layer?.(path, x, output);
    return output;
  }

  dropout(x: Value, ratio: number): Value {
    if (!this.#settings.training || ratio === 0) return x;
    const seed = this.builder.input(inputNames.dropoutSeed, "int32", [1]);
    return this.builder.seededDropout(x, seed, { ratio, site: this.#dropoutSites++ });
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
}
