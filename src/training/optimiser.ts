/**
 * @file AdamW (Loshchilov & Hutter 2019) as graphs over the flat vector: a dozen nodes whatever the number of
 * tensors, one for the norm of the gradient and one for the update, both run over one slice of the vectors after
 * another. The arithmetic and its order are torch's; what depends only on the step is computed in 64 bits by the host, as
 * torch does it too.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph, Value } from "../graph/graph.ts";
import { entryValues } from "../methods/layout.ts";
import type { LayoutEntry, ParameterLayout } from "../methods/layout.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";
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

/** What an optimiser keeps from step to step: vectors as long as the parameters, changed in place. */
export interface OptimiserState {
  /** Updates done. */
  step: number;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}

export function newOptimiserState(size: number): OptimiserState {
  return { step: 0, firstMoment: new Float32Array(size), secondMoment: new Float32Array(size) };
}

/** Factors of the learning rate and the weight decay of single parameters, where they differ. */
export interface ParameterGroups {
  readonly rate: (entry: LayoutEntry) => number;
  readonly decay: (entry: LayoutEntry) => number;
}

/** Numbers of the vectors that are updated at once: 16 MiB each, of which an update needs about twelve. */
const sliceElements = 2 ** 22;

/** Output "squares": the sum of the squares of the mean gradient. */
function buildSquaresGraph(): Graph {
  const builder = new GraphBuilder();
  const mean = meanGradient(builder);
  return graphOf([{ name: "squares", value: builder.sumAll(builder.multiply(mean, mean)) }]);
}

function meanGradient(builder: GraphBuilder): Value {
  const gradient = builder.input("gradient", "float32", ["size"]);
  return builder.multiply(gradient, builder.input("gradientScale", "float32", [1]));
}

/**
 * Inputs and outputs are slices of the flat vectors, of any size; scalars are [1].
 * @param showsGradient gives the mean gradient after clipping as well.
 */
function buildUpdateGraph(
  { betas, epsilon, clip }: AdamWSettings,
  grouped: boolean,
  showsGradient = false,
): Graph {
  const builder = new GraphBuilder();
  const vector = (name: string) => builder.input(name, "float32", ["size"]);
  const number = (name: string) => builder.input(name, "float32", [1]);
  const perParameter = (name: string) => (grouped ? vector(name) : number(name));
  const [firstDecay, secondDecay] = betas;
  const mean = meanGradient(builder);
  const gradient =
    clip === undefined ? mean : builder.multiply(mean, clipFactor(builder, number("norm"), clip));
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
    ...(showsGradient ? [{ name: "usedGradient", value: gradient }] : []),
  ]);
}

/** min(1, clip / (norm + 1e-6)), as torch's clip_grad_norm_. */
function clipFactor(builder: GraphBuilder, norm: Value, clip: number): Value {
  const factor = builder.divide(builder.scalar(clip), builder.add(norm, builder.scalar(1e-6)));
  return builder.where(builder.lessOrEqual(factor, builder.scalar(1)), factor, builder.scalar(1));
}

/** The graphs of an update, with the numbers of the vectors that each reads at once. */
export function updateGraphs(
  settings: AdamWSettings,
  size: number,
): readonly { readonly graph: Graph; readonly size: number }[] {
  return [buildSquaresGraph(), buildUpdateGraph(settings, false)].map((graph) => ({
    graph,
    size: Math.min(size, sliceElements),
  }));
}

export interface Update {
  readonly parameters: Float32Array;
  /** Euclidean norm of the mean gradient before clipping. */
  readonly norm: number;
  /** The mean gradient after clipping, where it is asked for. */
  readonly gradient: Float32Array | undefined;
}

export interface AdamWOptions {
  readonly settings: AdamWSettings;
  readonly layout: ParameterLayout;
  readonly groups?: ParameterGroups | undefined;
  /** Whether updates give the gradient that they used. */
  readonly showsGradient?: boolean;
  readonly device: Device;
  readonly session?: SessionOptions | undefined;
  /** Numbers of the vectors that are updated at once. */
  readonly sliceElements?: number;
}

/** Applies updates to a flat vector, slice by slice. Owns its sessions. */
export class AdamW {
  readonly #squares: Session;
  readonly #update: Session;
  readonly #settings: AdamWSettings;
  readonly #rates: Float32Array | undefined;
  readonly #decays: Float32Array | undefined;
  readonly #showsGradient: boolean;
  readonly #sliceElements: number;

  private constructor(options: AdamWOptions, squares: Session, update: Session) {
    const { settings, layout, groups, showsGradient = false } = options;
    this.#squares = squares;
    this.#update = update;
    this.#settings = settings;
    this.#showsGradient = showsGradient;
    this.#sliceElements = options.sliceElements ?? sliceElements;
    if (!groups) return;
    this.#rates = spread(layout, groups.rate);
    this.#decays = spread(layout, groups.decay);
  }

  static async create(options: AdamWOptions): Promise<AdamW> {
    const { settings, groups, showsGradient, device, session } = options;
    const update = buildUpdateGraph(settings, groups !== undefined, showsGradient);
    const squares = await device.createSession(buildSquaresGraph(), refuseWeight, session);
    return new AdamW(options, squares, await device.createSession(update, refuseWeight, session));
  }

  /**
   * One update. Gives new parameters and changes `state`; where the norm is no finite number, nothing changes.
   * @param gradient of the summed loss. Spent: the new parameters take its place slice by slice, so that an update needs
   * no vector of its own.
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
    const number = (value: number) => float32Tensor([1], [value]);
    const gradientScale = number(1 / count);
    const norm = await this.#normOf(gradient, gradientScale);
    if (!Number.isFinite(norm)) return { parameters, norm, gradient: undefined };
    const firstCorrection = 1 - betas[0] ** step;
    const secondCorrection = number(Math.sqrt(1 - betas[1] ** step));
    const stepSize = (rate: number) => (rate * learningRate) / firstCorrection;
    const decayFactor = (rate: number, decay: number) => 1 - learningRate * rate * weightDecay * decay;
    const updated = gradient;
    const used = this.#showsGradient ? new Float32Array(size) : undefined;
    for (const [from, to] of this.#slices(size)) {
      const slice = (data: Float32Array) => float32Tensor([to - from], data.subarray(from, to));
      const [rates, decays] = [this.#rates?.subarray(from, to), this.#decays?.subarray(from, to)];
      const results = await this.#update.run({
        ...{ parameters: slice(parameters), gradient: slice(gradient), gradientScale },
        ...{ firstMoment: slice(state.firstMoment), secondMoment: slice(state.secondMoment) },
        ...{ norm: number(norm), secondCorrection },
        stepSize: rates ? float32Tensor([to - from], rates.map(stepSize)) : number(stepSize(1)),
        decayFactor:
          rates && decays
            ? float32Tensor(
                [to - from],
                decays.map((decay, at) => decayFactor(rates[at] ?? 1, decay)),
              )
            : number(decayFactor(1, 1)),
      });
      updated.set(floatsOf(results, "updated"), from);
      state.firstMoment.set(floatsOf(results, "newFirstMoment"), from);
      state.secondMoment.set(floatsOf(results, "newSecondMoment"), from);
      used?.set(floatsOf(results, "usedGradient"), from);
    }
    state.step = step;
    return { parameters: updated, norm, gradient: used };
  }

  /** The sums of the slices are added in 64 bits. */
  async #normOf(gradient: Float32Array, gradientScale: Tensor): Promise<number> {
    let sum = 0;
    for (const [from, to] of this.#slices(gradient.length)) {
      const slice = float32Tensor([to - from], gradient.subarray(from, to));
      const results = await this.#squares.run({ gradient: slice, gradientScale });
      sum += floatsOf(results, "squares")[0] ?? NaN;
    }
    return Math.fround(Math.sqrt(sum));
  }

  *#slices(size: number): Generator<readonly [from: number, to: number]> {
    for (let from = 0; from < size; from += this.#sliceElements)
      yield [from, Math.min(from + this.#sliceElements, size)];
  }

  async dispose(): Promise<void> {
    await this.#squares.dispose();
    await this.#update.dispose();
  }
}

function refuseWeight(name: string): never {
  throw internalError(`an update reads no weight, but ${name} was asked for.`);
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
