/** @file Measures a model with adapters on batches: mean loss, and what the task counts besides. Reads no files. */
import type { Base } from "../base/base.ts";
import { constantFeeds } from "../methods/constants.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";
import { buildEvaluationGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import type { TaskGraph } from "../tasks/graphs.ts";
import type { TaskAdapter } from "../tasks/pass.ts";
import { feedsOf } from "../tasks/feeds.ts";
import type { TaskBatch } from "../tasks/feeds.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { internalError } from "../errors.ts";
import { accuracy, f1, matthews, pearson, spearman } from "./metrics.ts";

export type Metrics = Readonly<Record<string, number>>;

export interface EvaluatorOptions {
  readonly base: Base;
  readonly adapters: readonly Omit<TaskAdapter, "trainable">[];
  readonly device?: Device;
  readonly session?: SessionOptions | undefined;
}

/** Logits of evaluation made at once: 64 MiB of float32. */
const evaluationChunks = 4;

/** Owns one session; the adapters' values are given at each call. */
export class Evaluator {
  readonly #base: Base;
  readonly #taskGraph: TaskGraph;
  readonly #session: Session;
  readonly #constants: Readonly<Record<string, Tensor>>;

  private constructor(
    base: Base,
    taskGraph: TaskGraph,
    session: Session,
    constants: Readonly<Record<string, Tensor>>,
  ) {
    this.#base = base;
    this.#taskGraph = taskGraph;
    this.#session = session;
    this.#constants = constants;
  }

  static async create({ base, adapters, device = cpu, session }: EvaluatorOptions): Promise<Evaluator> {
    const { model, settings } = base;
    const taskGraph = buildEvaluationGraph({
      model,
      settings,
      adapters: adapters.map((adapter) => ({ ...adapter, trainable: false })),
      padding: !model.causal,
      attentionBlocks: 1,
      lossChunks: settings.task === "causal-lm" || settings.task === "masked-lm" ? evaluationChunks : 1,
    });
    return new Evaluator(
      base,
      taskGraph,
      await device.createSession(taskGraph.graph, (weight) => base.locate(weight), session),
      Object.fromEntries(adapters.flatMap(({ name, method }) => Object.entries(constantFeeds(name, method)))),
    );
  }

  /**
   * Metrics over all batches: `loss` per supervised token or row; `perplexity` and `accuracy` of the tokens;
   * `accuracy`, `f1`, `matthews` of classes; `pearson`, `spearman` of numbers.
   * @param values flat values of each adapter by name.
   */
  async evaluate(
    batches: Iterable<TaskBatch>,
    values: Readonly<Record<string, Float32Array>>,
  ): Promise<Metrics> {
    const parameters = Object.fromEntries(
      Object.entries(values).map(([name, vector]) => [
        frozenInput(name),
        float32Tensor([vector.length], vector),
      ]),
    );
    let [loss, count, correct] = [0, 0, 0];
    const rows: { logits: Float32Array; label: number }[] = [];
    for (const batch of batches) {
      const feeds = feedsOf(this.#taskGraph, this.#base.model, batch);
      const results = await this.#session.run({ ...feeds.tensors, ...this.#constants, ...parameters });
      loss += Number(results["loss"]?.data[0]);
      count += feeds.count;
      correct += Number(results["correct"]?.data[0] ?? 0);
      const logits = results["logits"];
      if (logits?.data instanceof Float32Array) {
        const width = logits.shape[1] ?? 1;
        for (const [row, label] of (batch.classLabels ?? []).entries())
          rows.push({ logits: logits.data.slice(row * width, (row + 1) * width), label });
      }
    }
    if (count === 0) throw internalError("there is nothing to evaluate.");
    return { loss: loss / count, ...this.#taskMetrics(loss / count, correct / count, rows) };
  }

  #taskMetrics(
    loss: number,
    share: number,
    rows: readonly { logits: Float32Array; label: number }[],
  ): Metrics {
    const { task, labelCount } = this.#base.settings;
    const labels = rows.map(({ label }) => label);
    switch (task) {
      case "causal-lm":
      case "masked-lm":
        return { perplexity: Math.exp(loss), accuracy: share };
      case "regression": {
        const predicted = rows.map(({ logits }) => logits[0] ?? 0);
        return finite({ pearson: pearson(predicted, labels), spearman: spearman(predicted, labels) });
      }
      case "classification":
      case "token-classification": {
        const predicted = rows.map(({ logits }) =>
          logits.indexOf(logits.reduce((a, b) => Math.max(a, b), -Infinity)),
        );
        return {
          accuracy: accuracy(predicted, labels),
          f1: f1(predicted, labels, labelCount),
          matthews: matthews(predicted, labels),
        };
      }
    }
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
  }
}

/** JSON has no NaN: a metric that is not defined for the data is left out. */
function finite(metrics: Metrics): Metrics {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value)));
}
