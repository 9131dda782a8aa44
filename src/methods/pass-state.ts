/**
 * @file What the contexts of one forward pass share: the parameters met so far with what methods put in their place, the
 * methods' hooks, and the counts that tell call from call. Knows no sequence.
 */
import { internalError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { AttentionKind } from "../models/forward.ts";
import { scaleByWeight } from "./adapter-weight.ts";
import type { BaseParameter, ForwardHooks, MethodUse } from "./contract.ts";
import type { ActiveAdapter, ForwardSettings } from "./forward-pass.ts";

export class PassState {
  readonly settings: ForwardSettings;
  readonly builder: GraphBuilder;
  readonly hooks: readonly ForwardHooks[];
  readonly #dropoutSeedName: string;
  /** The parameters met so far. */
  readonly #parameters = new Map<string, BaseParameter>();
  readonly #attentionCalls = new Map<AttentionKind, number>();
  #dropoutSites = 0;

  constructor(settings: ForwardSettings, dropoutSeedName: string) {
    this.settings = settings;
    this.builder = settings.builder;
    this.#dropoutSeedName = dropoutSeedName;
    this.hooks = settings.adapters.map((adapter) => adapter.method.hooks(this.#useOf(adapter)));
  }

  #useOf({ name, parameter, weight }: ActiveAdapter): MethodUse {
    const { builder } = this;
    const scaled = (x: Value): Value => (weight ? scaleByWeight(builder, name, weight, x) : x);
    return {
      builder,
      parameter,
      base: (parameterName) => this.#baseParameter(parameterName),
      weighted: scaled,
      toward: (from, to) => (weight ? builder.add(from, scaled(builder.subtract(to, from))) : to),
      dropout: (x, ratio) => this.dropout(x, ratio),
    };
  }

  parameter({ name, shape, stored = name }: Omit<BaseParameter, "stored"> & { stored?: string }): Value {
    const parameter: BaseParameter = { name, shape, stored };
    this.settings.observe?.parameter?.(parameter);
    this.#parameters.set(name, parameter);
    return this.#resolve(parameter);
  }

  #resolve(parameter: BaseParameter): Value {
    for (const hooks of this.hooks.toReversed()) {
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

  dropout(x: Value, ratio: number): Value {
    if (!this.settings.training || ratio === 0) return x;
    const seed = this.builder.input(this.#dropoutSeedName, "int32", [1]);
    return this.builder.seededDropout(x, seed, { ratio, site: this.#dropoutSites++ });
  }

  /** The number of an attention call among those of its kind. */
  nextAttentionCall(kind: AttentionKind): number {
    const number = this.#attentionCalls.get(kind) ?? 0;
    this.#attentionCalls.set(kind, number + 1);
    return number;
  }
}
