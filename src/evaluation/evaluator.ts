/** @file Measures a model with adapters on batches: mean loss, and what the task counts besides. Reads no files. */
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { constantFeeds } from "../methods/constants.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";
import { buildEvaluationGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import type { TaskGraph } from "../tasks/graphs.ts";
import type { TaskAdapter } from "../tasks/pass.ts";
import { masksPadding } from "../models/forward.ts";
import { feedsOf } from "../tasks/feeds.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { internalError } from "../errors.ts";
import { createScorer } from "./scorer.ts";
import type { Metrics, ScoredBatch } from "./scorer.ts";

export type { Metrics } from "./scorer.ts";

export interface EvaluatorOptions {
  readonly base: Base;
  readonly adapters: readonly Omit<TaskAdapter, "trainable">[];
  /** Names of the labels by id, where entities are to be told by their tags. */
  readonly labelNames?: readonly string[] | undefined;
  readonly device?: Device;
  readonly session?: SessionOptions | undefined;
}

/** Parts in which evaluation makes logits, and in which it computes attention. */
export const evaluationParts = { attentionBlocks: 1, lossChunks: 4 } as const;

/** Owns one session; the adapters' values are given at each call. */
export class Evaluator {
  readonly #base: Base;
  readonly #taskGraph: TaskGraph;
  readonly #session: Session;
  readonly #constants: Readonly<Record<string, Tensor>>;
  readonly #labelNames: readonly string[] | undefined;

  private constructor(
    base: Base,
    taskGraph: TaskGraph,
    session: Session,
    constants: Readonly<Record<string, Tensor>>,
    labelNames: readonly string[] | undefined,
  ) {
    this.#base = base;
    this.#taskGraph = taskGraph;
    this.#session = session;
    this.#constants = constants;
    this.#labelNames = labelNames;
  }

  static async create({
    adapters,
    labelNames,
    device = cpu,
    session,
    ...options
  }: EvaluatorOptions): Promise<Evaluator> {
    const base = withBaseChanges(options.base, adapters);
    const { model, settings } = base;
    const taskGraph = buildEvaluationGraph({
      model,
      settings,
      adapters: adapters.map((adapter) => ({ ...adapter, trainable: false })),
      padding: masksPadding(model, settings.task),
      ...evaluationParts,
    });
    return new Evaluator(
      base,
      taskGraph,
      await device.createSession(taskGraph.graph, (weight) => base.locate(weight), session),
      Object.fromEntries(adapters.flatMap(({ name, method }) => Object.entries(constantFeeds(name, method)))),
      labelNames,
    );
  }

  /**
   * Metrics over all batches: `loss` as in training; `perplexity` and `accuracy` of predicted tokens; `accuracy`, `f1`,
   * `matthews` of classes; `accuracy` of whole sets of labels with `f1Micro` and `f1Macro`; `pearson`, `spearman` of
   * numbers; `accuracy` of labelled tokens, and `precision`, `recall`, `f1` of entities; `exactMatch` and `f1` of answers.
   * @param values flat values of each adapter by name.
   */
  async evaluate(
    batches: Iterable<ScoredBatch>,
    values: Readonly<Record<string, Float32Array>>,
  ): Promise<Metrics> {
    const parameters = Object.fromEntries(
      Object.entries(values).map(([name, vector]) => [
        frozenInput(name),
        float32Tensor([vector.length], vector),
      ]),
    );
    let [loss, count, correct] = [0, 0, 0];
    const scorer = createScorer(this.#base.settings, this.#labelNames);
    for (const batch of batches) {
      const feeds = feedsOf(this.#taskGraph, this.#base.model, batch);
      const results = await this.#session.run({ ...feeds.tensors, ...this.#constants, ...parameters });
      loss += Number(results["loss"]?.data[0]);
      count += feeds.count;
      correct += Number(results["correct"]?.data[0] ?? 0);
      const logits = results["logits"];
      if (logits?.data instanceof Float32Array)
        scorer?.add(batch, { shape: logits.shape, data: logits.data });
    }
    if (count === 0) throw internalError("there is nothing to evaluate.");
    const mean = loss / count;
    return {
      loss: mean,
      ...(scorer?.metrics() ?? { perplexity: Math.exp(mean), accuracy: correct / count }),
    };
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
  }
}
