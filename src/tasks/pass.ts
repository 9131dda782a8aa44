/**
 * @file A forward pass with adapters whose parameters come from flat vectors: one for everything trained, one for
 * each adapter that is not. Knows no task and no loss.
 */
import { internalError } from "../errors.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { accumulate, gradient, pullBack } from "../graph/gradient.ts";
import type { Seed } from "../graph/gradient.ts";
import type { GraphOutput, Value } from "../graph/graph.ts";
import { after } from "../graph/recompute.ts";
import type { Segment } from "../graph/recompute.ts";
import { constantValue } from "../methods/constants.ts";
import type { BoundMethod } from "../methods/contract.ts";
import { createForwardContext } from "../methods/forward-pass.ts";
import type { ActiveAdapter, ForwardObserver } from "../methods/forward-pass.ts";
import { layOut } from "../methods/layout.ts";
import type { LayoutEntry, ParameterLayout } from "../methods/layout.ts";
import type { ForwardContext } from "../models/forward.ts";

/** An adapter that takes part in a graph. */
export interface TaskAdapter {
  readonly name: string;
  readonly method: BoundMethod;
  /** Whether its parameters are trained. Others are inputs of their own. */
  readonly trainable: boolean;
  /** Whether each row of a batch has a factor of its own of what the adapter adds: the input `rowWeightInput`. */
  readonly rowWeights?: boolean | undefined;
}

/** Name of the flat float32 vector of everything trained. */
export const trainableInput = "trainable";
/** Name of the flat float32 vector of an adapter that is not trained. */
export const frozenInput = (adapter: string): string => `adapter.${adapter}`;

/** Name of the float32 factors [batch] of what an adapter adds to each row. */
export const rowWeightInput = (adapter: string): string => `row_weight.${adapter}`;

export interface PassOptions {
  readonly adapters: readonly TaskAdapter[];
  /** Whether padding may stand before or between tokens; padding at the end never disturbs a causal model. */
  readonly padding: boolean;
  /** Whether rows may hold several sequences. */
  readonly packed?: boolean | undefined;
  /** Row blocks of causal attention: pays off from about 128 positions on. */
  readonly attentionBlocks: number;
  readonly training: boolean;
  /** Whether the model is an encoder-decoder. */
  readonly hasSource?: boolean | undefined;
  /** Compute each layer again in the backward pass instead of keeping what it computed. */
  readonly recompute?: boolean | undefined;
  readonly observe?: ForwardObserver | undefined;
}

export interface Pass {
  readonly builder: GraphBuilder;
  readonly context: ForwardContext;
  /** The trained parameters in their flat vector. */
  readonly layout: ParameterLayout;
  /** Layout of each adapter that is not trained. */
  readonly frozenLayouts: ReadonlyMap<string, ParameterLayout>;
  /** The elements of a trained parameter in the vector: [size]. */
  readonly trained: (entry: LayoutEntry) => Value;
  /** Scalars that the model adds to the mean loss. */
  readonly losses: readonly Value[];
  /** Layers that the backward pass computes again. */
  readonly segments: readonly Segment[];
}

export function startPass({
  adapters,
  padding,
  packed,
  attentionBlocks,
  training,
  observe,
  hasSource,
  recompute = false,
}: PassOptions): Pass {
  const builder = new GraphBuilder();
  const parametersOf = ({ name, method }: TaskAdapter) =>
    method.parameters.map((spec) => ({ adapter: name, spec }));
  const layout = layOut(adapters.filter(({ trainable }) => trainable).flatMap(parametersOf));
  const frozenLayouts = new Map(
    adapters
      .filter(({ trainable }) => !trainable)
      .map((adapter) => [adapter.name, layOut(parametersOf(adapter))]),
  );
  const read = (input: string, { size }: ParameterLayout, entry: LayoutEntry) => {
    const vector = builder.input(input, "float32", [size]);
    return builder.slice(vector, 0, entry.offset, entry.offset + entry.size);
  };
  const trained = (entry: LayoutEntry) => read(trainableInput, layout, entry);
  const active = adapters.map(({ name, method, trainable, rowWeights = false }): ActiveAdapter => {
    const own = trainable ? layout : (frozenLayouts.get(name) ?? layout);
    const entries = new Map(
      own.entries.filter(({ adapter }) => adapter === name).map((entry) => [entry.key, entry]),
    );
    return {
      name,
      method,
      ...(rowWeights && { weight: builder.input(rowWeightInput(name), "float32", ["batch"]) }),
      parameter(key) {
        const entry = entries.get(key);
        if (entry)
          return builder.reshape(
            trainable ? trained(entry) : read(frozenInput(name), own, entry),
            entry.shape,
          );
        const constant = constantValue(builder, name, method, key);
        if (!constant) throw internalError(`the adapter "${name}" has no parameter "${key}".`);
        return constant;
      },
    };
  });
  const segments: Segment[] = [];
  const losses: Value[] = [];
  const context = createForwardContext({
    builder,
    adapters: active,
    training,
    padding,
    packed,
    attentionBlocks,
    hasSource,
    observe: {
      ...observe,
      layer(path, input, output, isSource) {
        observe?.layer?.(path, input, output, isSource);
        if (recompute) segments.push({ input, output });
      },
      loss: (loss) => losses.push(loss),
    },
  });
  return { builder, context, layout, frozenLayouts, trained, losses, segments };
}

type DifferentiatedPass = Pick<Pass, "builder" | "layout" | "trained" | "segments">;

/** The outputs "loss" and "gradient": a summed loss, and its gradient as one flat vector in the layout's order. */
export function lossAndGradient(pass: DifferentiatedPass, loss: Value): GraphOutput[] {
  const variables = variablesOf(pass);
  return outputsOf(pass, loss, gradient(pass.builder, loss, variables, pass.segments));
}

/** A part of a summed loss, and where it starts from in the forward pass. */
export interface LossPart {
  readonly input: Value;
  readonly lossOf: (input: Value) => Value;
}

/**
 * The same of a loss in parts, which begin one after the other: each with its backward pass down to its input before the
 * next, so that what parts compute inside is never there twice.
 */
export function lossAndGradientInTurn(pass: DifferentiatedPass, parts: readonly LossPart[]): GraphOutput[] {
  const { builder, segments } = pass;
  const variables = variablesOf(pass);
  const seeds: Seed[] = [];
  let own: (Value | undefined)[] = variables.map(() => undefined);
  let loss: Value | undefined;
  let done: readonly Value[] = [];
  for (const { input, lossOf } of parts) {
    const started = done.length > 0 ? after(builder, input, ...done) : input;
    const partLoss = lossOf(started);
    const [slope, ...slopes] = gradient(builder, partLoss, [started, ...variables]);
    own = own.map((sum, index) => accumulate(builder, present([sum, slopes[index]])));
    loss = loss ? builder.add(loss, partLoss) : partLoss;
    done = present([loss, slope, ...own]);
    if (slope) seeds.push({ value: input, gradient: slope });
  }
  if (!loss) throw internalError("a loss has no parts.");
  for (const [index, value] of variables.entries()) {
    const known = own[index];
    if (known) seeds.push({ value, gradient: known });
  }
  return outputsOf(pass, loss, pullBack(builder, seeds, variables, segments));
}

function present(values: readonly (Value | undefined)[]): Value[] {
  return values.filter((value) => value !== undefined);
}

/** Before they get their shapes: a method may reshape a parameter, which starts from here as well. */
function variablesOf({ layout, trained }: DifferentiatedPass): Value[] {
  const variables = layout.entries.map((entry) => trained(entry));
  if (variables.length === 0) throw internalError("there is nothing to train.");
  return variables;
}

function outputsOf(
  { builder, layout }: DifferentiatedPass,
  loss: Value,
  gradients: readonly (Value | undefined)[],
): GraphOutput[] {
  const flat = gradients.map((value, index) => {
    const size = layout.entries[index]?.size ?? 0;
    return value ?? builder.expand(builder.scalar(0), [size]);
  });
  return [
    { name: "loss", value: loss },
    { name: "gradient", value: builder.concat(flat, 0) },
  ];
}
