/**
 * @file AdamW (Loshchilov & Hutter 2019) as a graph over the flat vector: a dozen nodes whatever the number of
 * tensors. The arithmetic and its order are torch's; what depends only on the step is computed in 64 bits by the
 * host, as torch does it too.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { entryValues } from "../methods/layout.ts";
import type { LayoutEntry, ParameterLayout } from "../methods/layout.ts";
import type { Session } from "../runtime/session.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { internalError } from "../errors.ts";

export interface AdamWSettings {
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest Euclidean norm of the mean gradient over all parameters; `undefined` for none. */
  readonly clip: number | undefined;
}

export const adamWDefaults: AdamWSettings = {
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  weightDecay: 0.01,
  clip: 1,
};

/** What an optimiser keeps from step to step: vectors as long as the parameters. */
export interface OptimiserState {
  /** Updates done. */
  step: number;
  firstMoment: Float32Array;
  secondMoment: Float32Array;
}

export function newOptimiserState(size: number): OptimiserState {
  return { step: 0, firstMoment: new Float32Array(size), secondMoment: new Float32Array(size) };
}

/** Factors of the learning rate and the weight decay of single parameters, where they differ. */
export interface ParameterGroups {
  readonly rate: (entry: LayoutEntry) => number;
  readonly decay: (entry: LayoutEntry) => number;
}

/**
 * Inputs and outputs are the flat vectors; scalars are [1].
 * @param showsGradient gives the mean gradient after clipping as well.
 */
export function buildUpdateGraph(
  size: number,
  { betas, epsilon, clip }: AdamWSettings,
  grouped: boolean,
  showsGradient = false,
): Graph {
  const builder = new GraphBuilder();
  const vector = (name: string) => builder.input(name, "float32", [size]);
  const number = (name: string) => builder.input(name, "float32", [1]);
  const perParameter = (name: string) => (grouped ? vector(name) : number(name));
  const [firstDecay, secondDecay] = betas;
  const mean = builder.multiply(vector("gradient"), number("gradientScale"));
  const norm = builder.reshape(builder.squareRoot(builder.sumAll(builder.multiply(mean, mean))), [1]);
  const gradient = clip === undefined ? mean : builder.multiply(mean, clipFactor(builder, norm, clip));
  const oldFirst = vector("firstMoment");
  const oldSecond = vector("secondMoment");
  // lerp: m + (g - m) (1 - beta1)
  const first = builder.add(oldFirst, builder.scale(builder.subtract(gradient, oldFirst), 1 - firstDecay));
  const second = builder.add(
    builder.scale(oldSecond, secondDecay),
    builder.scale(builder.multiply(gradient, gradient), 1 - secondDecay),
  );
  const deviation = builder.add(
    builder.divide(builder.squareRoot(second), number("secondCorrection")),
    builder.scalar(epsilon),
  );
  const decayed = builder.multiply(vector("parameters"), perParameter("decayFactor"));
  const updated = builder.subtract(
    decayed,
    builder.multiply(perParameter("stepSize"), builder.divide(first, deviation)),
  );
  return graphOf([
    { name: "updated", value: updated },
    { name: "newFirstMoment", value: first },
    { name: "newSecondMoment", value: second },
    { name: "norm", value: norm },
    ...(showsGradient ? [{ name: "usedGradient", value: gradient }] : []),
  ]);
}

/** min(1, clip / (norm + 1e-6)), as torch's clip_grad_norm_. */
function clipFactor(builder: GraphBuilder, norm: Value, clip: number): Value {
  const factor = builder.divide(builder.scalar(clip), builder.add(norm, builder.scalar(1e-6)));
  return builder.where(builder.lessOrEqual(factor, builder.scalar(1)), factor, builder.scalar(1));
}

export interface Update {
  readonly parameters: Float32Array;
  /** Euclidean norm of the mean gradient before clipping. */
  readonly norm: number;
  /** The mean gradient after clipping, where the graph shows it. */
  readonly gradient: Float32Array | undefined;
}

/** Applies updates to a flat vector. Returns new vectors; nothing given is changed but `state`. */
export class AdamW {
  readonly #session: Session;
  readonly #settings: AdamWSettings;
  readonly #rates: Float32Array | undefined;
  readonly #decays: Float32Array | undefined;

  /** `session` runs the graph of `buildUpdateGraph` with the same settings. */
  constructor(session: Session, settings: AdamWSettings, layout: ParameterLayout, groups?: ParameterGroups) {
    this.#session = session;
    this.#settings = settings;
    if (!groups) return;
    this.#rates = spread(layout, groups.rate);
    this.#decays = spread(layout, groups.decay);
  }

  /**
   * One update.
   * @param gradient of the summed loss.
   * @param count what the sum is divided by.
   */
  async update(
    parameters: Float32Array,
    gradient: Float32Array,
    count: number,
    learningRate: number,
    state: OptimiserState,
  ): Promise<Update> {
    const { betas, weightDecay } = this.#settings;
    const step = state.step + 1;
    const size = parameters.length;
    const vector = (data: Float32Array) => float32Tensor([size], data);
    const number = (value: number) => float32Tensor([1], [value]);
    const firstCorrection = 1 - betas[0] ** step;
    const secondCorrection = Math.sqrt(1 - betas[1] ** step);
    const decays = this.#decays;
    const results = await this.#session.run({
      parameters: vector(parameters),
      gradient: vector(gradient),
      gradientScale: number(1 / count),
      firstMoment: vector(state.firstMoment),
      secondMoment: vector(state.secondMoment),
      secondCorrection: number(secondCorrection),
      stepSize: this.#rates
        ? vector(this.#rates.map((rate) => (rate * learningRate) / firstCorrection))
        : number(learningRate / firstCorrection),
      decayFactor: decays
        ? vector(
            decays.map(
              (decay, index) => 1 - learningRate * (this.#rates?.[index] ?? 1) * weightDecay * decay,
            ),
          )
        : number(1 - learningRate * weightDecay),
    });
    state.step = step;
    state.firstMoment = floatsOf(results, "newFirstMoment");
    state.secondMoment = floatsOf(results, "newSecondMoment");
    return {
      parameters: floatsOf(results, "updated"),
      norm: floatsOf(results, "norm")[0] ?? NaN,
      gradient: results["usedGradient"] && floatsOf(results, "usedGradient"),
    };
  }
}

function spread(layout: ParameterLayout, value: (entry: LayoutEntry) => number): Float32Array {
  const vector = new Float32Array(layout.size);
  for (const entry of layout.entries) entryValues(vector, entry).fill(value(entry));
  return vector;
}

/** A float32 output of a session. */
export function floatsOf(results: Readonly<Record<string, Tensor>>, name: string): Float32Array {
  const data = results[name]?.data;
  if (data instanceof Float32Array) return data;
  throw internalError(`a session gave no float32 output "${name}".`);
}
