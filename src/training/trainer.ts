/**
 * @file One training step after another: gradients of micro-batches summed, divided by the true number of terms,
 * clipped, applied; then what the methods do after an update. Owns the sessions and the flat vectors; knows neither
 * schedules, files nor events.
 */
import { isOperation } from "../graph/graph.ts";
import { hashText } from "../graph/print.ts";
import { inputNames } from "../methods/forward-pass.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";
import { entryValues, findEntry } from "../methods/layout.ts";
import { applyRules, ruleStateLayout, startingValues } from "../methods/update-rules.ts";
import { trainableInput } from "../tasks/pass.ts";
import { buildPenaltyGraph } from "../tasks/penalty.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { DeltafitError } from "../errors.ts";
import type { Objective } from "./objective.ts";
import { AdamW, floatsOf, newOptimiserState } from "./optimiser.ts";
import type { AdamWSettings, OptimiserState, ParameterGroups } from "./optimiser.ts";

export interface TrainerOptions<Batch> {
  readonly objective: Objective<Batch>;
  /** Initial values of everything trained, flat. */
  readonly parameters: Float32Array;
  readonly optimiser: AdamWSettings;
  readonly groups?: ParameterGroups | undefined;
  /** Seed of dropout masks. */
  readonly seed: number;
  readonly state?: OptimiserState | undefined;
  /** State of the methods' rules, flat; zeros where it is left out. */
  readonly ruleState?: Float32Array | undefined;
  readonly device?: Device;
  readonly session?: SessionOptions;
}

export interface StepResult {
  /** Mean loss over the supervised tokens, or rows, of the step, before the update. */
  readonly loss: number;
  /** Euclidean norm of the mean gradient before clipping. */
  readonly gradientNorm: number;
  /** Terms of the loss. */
  readonly count: number;
}

interface Parts {
  readonly gradient: Session;
  readonly optimiser: AdamW;
  /** Of the methods' own terms of the loss. */
  readonly penalty: Session | undefined;
}

/** Trains one flat vector. */
export class Trainer<Batch> {
  readonly objective: Objective<Batch>;
  readonly state: OptimiserState;
  /** State of the methods' rules, flat; empty where no method has a rule. Changed in place. */
  readonly ruleState: Float32Array;
  #parameters: Float32Array;
  readonly #gradientSession: Session;
  readonly #penaltySession: Session | undefined;
  readonly #optimiser: AdamW;
  readonly #seed: number;
  readonly #usesDropout: boolean;

  private constructor(options: TrainerOptions<Batch>, parts: Parts) {
    this.objective = options.objective;
    const { layout, adapters = [] } = options.objective;
    this.#parameters = options.state
      ? options.parameters
      : startingValues(adapters, layout, options.parameters);
    this.state = options.state ?? newOptimiserState(options.parameters.length);
    this.ruleState = options.ruleState ?? new Float32Array(ruleStateLayout(adapters).size);
    this.#gradientSession = parts.gradient;
    this.#penaltySession = parts.penalty;
    this.#optimiser = parts.optimiser;
    this.#seed = options.seed;
    this.#usesDropout = options.objective.graph.nodes.some(
      (node) => isOperation(node, "Input") && node.attributes.name === inputNames.dropoutSeed,
    );
  }

  /** @throws DeltafitError `method-unsupported` for parameters that a method can use but not train on from. */
  static async create<Batch>(options: TrainerOptions<Batch>): Promise<Trainer<Batch>> {
    const { objective, optimiser: settings, groups, device = cpu, session } = options;
    refuseFixed(objective, options.parameters);
    const gradientSession = await device.createSession(objective.graph, objective.locate, session);
    const { layout, adapters = [] } = objective;
    const showsGradient = adapters.some(({ method }) => method.afterUpdate !== undefined);
    const optimiser = await AdamW.create({ settings, layout, groups, showsGradient, device, session });
    const penalty = buildPenaltyGraph(adapters, layout);
    const penaltySession = penalty && (await device.createSession(penalty, objective.locate, session));
    return new Trainer(options, { gradient: gradientSession, optimiser, penalty: penaltySession });
  }

  /** The trained values, flat. A step replaces the array; it never changes it. */
  get parameters(): Float32Array {
    return this.#parameters;
  }

  /**
   * One update from the gradients of all batches together.
   * @throws DeltafitError `not-finite` where the loss or the gradient is not a number; nothing has changed then.
   */
  async step(batches: readonly Batch[], learningRate: number): Promise<StepResult> {
    const { loss, gradient, count } = await this.gradient(batches);
    const step = this.state.step;
    if (!Number.isFinite(loss)) throw notFinite("loss", step, loss);
    const {
      parameters,
      norm,
      gradient: used,
    } = await this.#optimiser.update(this.#parameters, gradient, count, learningRate, this.state);
    if (!Number.isFinite(norm)) throw notFinite("gradient", step, norm);
    if (used) {
      const { layout, adapters = [] } = this.objective;
      const stateLayout = ruleStateLayout(adapters);
      applyRules(adapters, {
        ...{ step, layout, parameters, gradient: used },
        ...{ stateLayout, state: this.ruleState },
      });
    }
    this.#parameters = parameters;
    return { loss, gradientNorm: norm, count };
  }

  /**
   * The mean loss with the methods' own terms, and the gradient of the loss summed over all batches, to which these
   * terms belong as often as there are terms of the sum.
   */
  async gradient(
    batches: readonly Batch[],
  ): Promise<{ loss: number; gradient: Float32Array; count: number }> {
    let [loss, count] = [0, 0];
    let gradient: Float32Array | undefined;
    for (const [index, batch] of batches.entries()) {
      const feeds = this.objective.feeds(batch);
      const results = await this.#gradientSession.run({ ...feeds.tensors, ...this.#ownFeeds(index) });
      loss += floatsOf(results, "loss")[0] ?? NaN;
      count += feeds.count;
      const part = floatsOf(results, "gradient");
      if (gradient)
        for (let at = 0; at < part.length; at++) gradient[at] = (gradient[at] ?? 0) + (part[at] ?? 0);
      else gradient = part;
    }
    if (!gradient || count === 0)
      throw new DeltafitError(
        "data-invalid",
        `Step ${this.state.step}: no token of the batch is supervised.`,
        "Check the labels of the data.",
      );
    const penalty = await this.#addPenalty(gradient, count);
    return { loss: loss / count + penalty, gradient, count };
  }

  /** Adds the gradient of the methods' own terms, once for the update. @returns the terms' sum. */
  async #addPenalty(gradient: Float32Array, count: number): Promise<number> {
    if (!this.#penaltySession) return 0;
    const results = await this.#penaltySession.run(this.#trainable());
    const own = floatsOf(results, "gradient");
    for (let at = 0; at < own.length; at++) gradient[at] = (gradient[at] ?? 0) + count * (own[at] ?? 0);
    return floatsOf(results, "loss")[0] ?? NaN;
  }

  #trainable(): Record<string, Tensor> {
    return { [trainableInput]: float32Tensor([this.#parameters.length], this.#parameters) };
  }

  #ownFeeds(microBatch: number): Record<string, Tensor> {
    const trainable = this.#trainable();
    if (!this.#usesDropout) return trainable;
    const seed =
      Number.parseInt(hashText(`${this.#seed}/${this.state.step}/${microBatch}`).slice(0, 8), 16) | 0;
    return {
      ...trainable,
      [inputNames.dropoutSeed]: { dtype: "int32", shape: [1], data: Int32Array.of(seed) },
    };
  }

  async dispose(): Promise<void> {
    await this.#gradientSession.dispose();
    await this.#optimiser.dispose();
    await this.#penaltySession?.dispose();
  }
}

function refuseFixed<Batch>({ adapters = [], layout }: Objective<Batch>, parameters: Float32Array): void {
  for (const { name, method } of adapters) {
    const reason = method.fixed?.((key) => entryValues(parameters, findEntry(layout, name, key)));
    if (reason === undefined) continue;
    throw new DeltafitError(
      "method-unsupported",
      `Training: the adapter "${name}" can be used and merged, but not trained on from: ${reason}.`,
      "Resume from a checkpoint of the run that made it, or keep it frozen under an adapter that is trained.",
    );
  }
}

function notFinite(what: string, step: number, value: number): DeltafitError {
  return new DeltafitError(
    "not-finite",
    `Step ${step}: the ${what} is ${value}.`,
    "Lower the learning rate, clip gradients, or check the data of this step; the last good adapter is kept.",
  );
}
