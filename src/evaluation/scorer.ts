/** @file What an evaluation counts besides the loss, for each task: collected batch by batch. Runs nothing. */
import type { AnswerWindow } from "../data/tokenized-example.ts";
import { ignoredLabel } from "../data/tokenized-example.ts";
import type { TaskSettings } from "../methods/survey.ts";
import type { TaskBatch } from "../tasks/feeds.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { answerScores, predictAnswers } from "./answers.ts";
import type { WindowLogits } from "./answers.ts";
import { areEntityTags, entityScores } from "./entities.ts";
import { accuracy, f1, labelSetScores, matthews, pearson, spearman } from "./metrics.ts";

export type Metrics = Readonly<Record<string, number>>;

/** A batch with what its predictions are held against. */
export interface ScoredBatch extends TaskBatch {
  readonly windows?: readonly AnswerWindow[] | undefined;
}

/** Logits as the evaluation graph of a task gives them. */
export interface ScoredLogits {
  readonly shape: Tensor["shape"];
  readonly data: Float32Array;
}

export interface Scorer {
  add(batch: ScoredBatch, logits: ScoredLogits): void;
  metrics(): Metrics;
}

/** @param labelNames Names of the labels by id; entities are told by them. */
export function createScorer(
  { task, labelCount }: TaskSettings,
  labelNames: readonly string[] | undefined,
): Scorer | undefined {
  switch (task) {
    case "causal-lm":
    case "masked-lm":
    case "seq2seq-lm":
      return undefined;
    case "classification":
      return classScorer(labelCount);
    case "multi-label-classification":
      return labelSetScorer(labelCount);
    case "regression":
      return numberScorer();
    case "token-classification":
      return tagScorer(labelNames);
    case "question-answering":
      return answerScorer();
  }
}

function rowsOf({ shape, data }: ScoredLogits): Float32Array[] {
  const width = shape.at(-1) ?? 1;
  return Array.from({ length: data.length / width }, (_, row) =>
    data.subarray(row * width, (row + 1) * width),
  );
}

function largest(row: Float32Array): number {
  return row.indexOf(row.reduce((a, b) => Math.max(a, b), -Infinity));
}

function classScorer(labelCount: number): Scorer {
  const predicted: number[] = [];
  const labels: number[] = [];
  return {
    add(batch, logits) {
      predicted.push(...rowsOf(logits).map(largest));
      labels.push(...(batch.classLabels ?? []));
    },
    metrics: () => ({
      accuracy: accuracy(predicted, labels),
      f1: f1(predicted, labels, labelCount),
      matthews: matthews(predicted, labels),
    }),
  };
}

function numberScorer(): Scorer {
  const predicted: number[] = [];
  const targets: number[] = [];
  return {
    add(batch, logits) {
      predicted.push(...logits.data);
      targets.push(...(batch.classLabels ?? []));
    },
    metrics: () => finite({ pearson: pearson(predicted, targets), spearman: spearman(predicted, targets) }),
  };
}

/** JSON has no NaN: a metric that is not defined for the data is left out. */
function finite(metrics: Metrics): Metrics {
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => Number.isFinite(value)));
}

/** A label holds where its probability is above one half. */
function labelSetScorer(labelCount: number): Scorer {
  const predicted: number[][] = [];
  const sets: (readonly number[])[] = [];
  return {
    add(batch, logits) {
      for (const row of rowsOf(logits))
        predicted.push([...row.keys()].filter((label) => (row[label] ?? 0) > 0));
      sets.push(...(batch.labelSets ?? []));
    },
    metrics: () => labelSetScores(predicted, sets, labelCount),
  };
}

/** Tags of the tokens that have one, with a sequence for each row. */
function tagScorer(labelNames: readonly string[] | undefined): Scorer {
  const predicted: number[][] = [];
  const actual: number[][] = [];
  return {
    add({ labels }, logits) {
      if (!labels) return;
      const [rows = 0, length = 0] = labels.shape;
      // The logits are those of the labelled tokens alone, row after row.
      const own = rowsOf(logits).map(largest);
      let next = 0;
      for (let row = 0; row < rows; row++) {
        const ids = Array.from(labels.data.subarray(row * length, (row + 1) * length), Number);
        const tags = ids.filter((label) => label !== ignoredLabel);
        predicted.push(own.slice(next, next + tags.length));
        actual.push(tags);
        next += tags.length;
      }
    },
    metrics() {
      const tokens = { accuracy: accuracy(predicted.flat(), actual.flat()) };
      if (!labelNames || !areEntityTags(labelNames)) return tokens;
      const named = (sequences: readonly number[][]) =>
        sequences.map((tags) => tags.map((tag) => labelNames[tag] ?? "O"));
      return { ...tokens, ...entityScores(named(predicted), named(actual)) };
    },
  };
}

function answerScorer(): Scorer {
  const collected: WindowLogits[] = [];
  return {
    add({ windows = [] }, { shape, data }) {
      const length = shape[1] ?? 0;
      const column = (row: number, end: 0 | 1) =>
        Array.from({ length }, (_, position) => data[2 * (row * length + position) + end] ?? -Infinity);
      for (const [row, window] of windows.entries())
        collected.push({ window, start: column(row, 0), end: column(row, 1) });
    },
    metrics() {
      if (collected.length === 0) return {};
      const mayBeNone = collected.some(({ window }) => window.question.answers.length === 0);
      return answerScores(predictAnswers(collected, mayBeNone));
    },
  };
}
