/** @file From a batch to the inputs of a task's graph: positions, places of supervised tokens, targets. Runs nothing. */
import { DeltafitError, internalError } from "../errors.ts";
import { nodesOf } from "../graph/graph.ts";
import { inputNames, sourceInputNames } from "../methods/forward-pass.ts";
import type { SequenceNames } from "../methods/sequence-rows.ts";
import type { Model } from "../models/forward.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import { lossInputNames } from "./losses.ts";
import type { TaskGraph } from "./graphs.ts";

/** Rows of tokens, padded to one length, with what is to be predicted. For an encoder-decoder they are the source's. */
export interface TaskBatch {
  /** int64 [batch, length] */
  readonly inputIds: Tensor<"int64">;
  /** int64 [batch, length]: 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor<"int64">;
  /** int64 [batch, length]; zeros where left out. */
  readonly tokenTypeIds?: Tensor<"int64"> | undefined;
  /** int64 [batch, length] in place of the model's own positions. */
  readonly positionIds?: Tensor<"int64"> | undefined;
  /** int64 [batch, length] at the positions of `inputIds`, -100 where nothing is supervised. */
  readonly labels?: Tensor<"int64"> | undefined;
  /**
   * int64 [batch, length], of rows that hold several sequences: where in its row each position's sequence starts.
   * Padding at a row's end is a sequence of its own.
   */
  readonly sequenceStarts?: Tensor<"int64"> | undefined;
  /**
   * For an encoder-decoder: what it writes after reading the source, int64 [batch, target length], -100 where nothing is
   * supervised.
   */
  readonly targets?: Tensor<"int64"> | undefined;
  /** Class ids or regression targets, one a sequence. */
  readonly classLabels?: readonly number[] | undefined;
  /** Ids of the labels that hold, one list a row. */
  readonly labelSets?: readonly (readonly number[])[] | undefined;
  /** Where the answer starts and ends, one a row, at the positions of `inputIds`; a position outside is left out. */
  readonly spans?: readonly AnswerSpan[] | undefined;
}

/** First and last position of an answer. */
export interface AnswerSpan {
  readonly start: number;
  readonly end: number;
}

/** Marks a token without supervision, as in torch's cross-entropy. */
const ignoredLabel = -100;

export interface Feeds {
  readonly tensors: Record<string, Tensor>;
  /** Supervised tokens, rows, labels of all rows, or ends of answers: what the summed loss is divided by. */
  readonly count: number;
}

/** The inputs a graph needs from a batch; parameters and the dropout seed are added by the caller. */
export function feedsOf(taskGraph: TaskGraph, model: Model, given: TaskBatch): Feeds {
  const { takenPositions, virtualTokens, lengthMultiple } = taskGraph;
  const batch = model.encoderDecoder ? writtenSequence(model, given) : given;
  const length = batch.inputIds.shape[1] ?? 0;
  if (length % lengthMultiple !== 0)
    throw internalError(`the length ${length} of a batch is no multiple of ${lengthMultiple}.`);
  const all: Record<string, () => Tensor> = {
    ...sequenceFeeds(inputNames, model, batch, takenPositions.sequence, virtualTokens),
    ...(model.encoderDecoder && sequenceFeeds(sourceInputNames, model, given, takenPositions.source, 0)),
  };
  const needed = new Set(nodesOf(taskGraph.graph, "Input").map((node) => node.attributes.name));
  const tensors = Object.fromEntries(
    Object.entries(all).flatMap(([name, tensor]) => (needed.has(name) ? [[name, tensor()] as const] : [])),
  );
  const { classes, held, values, rows: rowsOf } = lossInputNames;
  const needsLoss = [classes, held, values, rowsOf(0)].some((name) => needed.has(name));
  if (!needsLoss) return { tensors, count: 0 };
  const loss = lossFeeds(taskGraph, batch);
  return { tensors: { ...tensors, ...loss.tensors }, count: loss.count };
}

/** The inputs of one sequence, of which methods take positions and in front of which stand virtual tokens. */
function sequenceFeeds(
  names: SequenceNames,
  model: Model,
  batch: TaskBatch,
  taken: number,
  virtualTokens: number,
): Record<string, () => Tensor> {
  const [rows = 0, length = 0] = batch.inputIds.shape;
  const sequences = sequencesOf(batch);
  const longest = sequences.reduce((most, { start, end }) => Math.max(most, end - start), 0);
  if (taken + longest > model.maximumPositions)
    throw new DeltafitError(
      "data-invalid",
      `A batch has ${longest} positions${taken > 0 ? ` after ${taken} of adapters` : ""}, but the model has only ${model.maximumPositions}.`,
      `Lower the sequence length${taken > 0 ? ", or the number of virtual tokens" : ""}.`,
    );
  return {
    [names.inputIds]: () => batch.inputIds,
    [names.attentionMask]: () => batch.attentionMask,
    [names.positionIds]: () => batch.positionIds ?? positionsOf(model, batch, sequences),
    [names.tokenTypeIds]: () =>
      batch.tokenTypeIds ?? int64Tensor([rows, length], new Array<number>(rows * length).fill(0)),
    [names.sequenceStarts]: () => {
      if (!batch.sequenceStarts) throw internalError("a graph for packed rows was given rows that are not.");
      return batch.sequenceStarts;
    },
    [names.firstTokens]: () =>
      int64Tensor(
        [sequences.length],
        sequences.map(({ row, start }) => row * length + start),
      ),
    [names.lastTokens]: () => lastTokensOf(model, batch, sequences, virtualTokens),
  };
}

/**
 * The sequence that an encoder-decoder writes: the targets, each read one place later than it is predicted, after the
 * token that every sequence begins with. What is not supervised is read as padding; only what is not supervised either
 * comes after it.
 */
function writtenSequence({ encoderDecoder, padTokenId = 0 }: Model, { targets }: TaskBatch): TaskBatch {
  if (!targets || !encoderDecoder) throw internalError("a batch for an encoder-decoder has no targets.");
  const [rows = 0, length = 0] = targets.shape;
  const read = targets.data.map((_, index) => {
    if (index % length === 0) return BigInt(encoderDecoder.startTokenId);
    const before = targets.data[index - 1] ?? 0n;
    return before === BigInt(ignoredLabel) ? BigInt(padTokenId) : before;
  });
  return {
    inputIds: { dtype: "int64", shape: [rows, length], data: read },
    attentionMask: int64Tensor([rows, length], new Array<number>(rows * length).fill(1)),
    labels: targets,
  };
}

/** Positions of a row from `start` to before `end`. */
interface Sequence {
  readonly row: number;
  readonly start: number;
  readonly end: number;
}

/** The sequences of a batch: its rows with their padding, or what is packed into them without. */
function sequencesOf({ inputIds, attentionMask, sequenceStarts }: TaskBatch): readonly Sequence[] {
  const [rows = 0, length = 0] = inputIds.shape;
  if (!sequenceStarts) return Array.from({ length: rows }, (_, row) => ({ row, start: 0, end: length }));
  const sequences: { row: number; start: number; end: number }[] = [];
  for (const [at, start] of sequenceStarts.data.entries()) {
    const row = Math.floor(at / length);
    if (attentionMask.data[at] === 0n) continue;
    if (Number(start) === at - row * length) sequences.push({ row, start: Number(start), end: 0 });
    const last = sequences.at(-1);
    if (last) last.end = at - row * length + 1;
  }
  return sequences;
}

function lossFeeds(taskGraph: TaskGraph, batch: TaskBatch): Feeds {
  const { task, labelCount } = taskGraph.settings;
  switch (task) {
    case "causal-lm":
      return tokenTargets(taskGraph, batch, 1);
    case "masked-lm":
    case "seq2seq-lm":
      return tokenTargets(taskGraph, batch, 0);
    case "token-classification": {
      const feeds = tokenTargets(taskGraph, batch, 0);
      const labels = Array.from(given(batch.labels, "labels").data, Number);
      checkLabels(
        labels.filter((label) => label !== ignoredLabel),
        labelCount,
      );
      return feeds;
    }
    case "question-answering":
      return spanTargets(batch);
    case "multi-label-classification":
      return heldLabels(given(batch.labelSets, "label sets"), labelCount);
    case "regression": {
      const values = given(batch.classLabels, "labels");
      const count = values.length;
      return { tensors: { [lossInputNames.values]: float32Tensor([count, 1], values) }, count };
    }
    case "classification": {
      const classes = given(batch.classLabels, "labels");
      checkLabels(classes, labelCount);
      const count = classes.length;
      return { tensors: { [lossInputNames.classes]: int64Tensor([count], classes) }, count };
    }
  }
}

function given<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw internalError(`a batch has no ${what}, which its task needs.`);
  return value;
}

function checkLabels(labels: readonly number[], labelCount: number): void {
  const outside = labels.find((label) => !Number.isInteger(label) || label < 0 || label >= labelCount);
  if (outside === undefined) return;
  throw new DeltafitError(
    "data-invalid",
    `A label is ${outside}, but the classifier has ${labelCount} classes.`,
    `Labels count from 0 to ${labelCount - 1}.`,
  );
}

/** Every label of every row is a choice of its own: the loss is divided by rows times labels. */
function heldLabels(sets: readonly (readonly number[])[], labelCount: number): Feeds {
  checkLabels(sets.flat(), labelCount);
  const held = new Array<number>(sets.length * labelCount).fill(0);
  for (const [row, set] of sets.entries()) for (const label of set) held[row * labelCount + label] = 1;
  return {
    tensors: { [lossInputNames.held]: int64Tensor([sets.length, labelCount], held) },
    count: held.length,
  };
}

/**
 * Starts and ends that lie in their row. The loss is divided by the number of both: where as many starts as ends lie in
 * their rows, that is the mean of the mean over the starts and the mean over the ends.
 */
function spanTargets({ inputIds, spans }: TaskBatch): Feeds {
  const [, length = 0] = inputIds.shape;
  const ends = given(spans, "spans").flatMap(({ start, end }, row) => [
    { place: 2 * row, target: start },
    { place: 2 * row + 1, target: end },
  ]);
  const supervised = ends.filter(({ target }) => target < length);
  const count = supervised.length;
  // A position before the row counts as its first.
  const targets = supervised.map(({ target }) => Math.max(0, target));
  return {
    tensors: {
      [lossInputNames.rows(0)]: int64Tensor(
        [count],
        supervised.map(({ place }) => place),
      ),
      [lossInputNames.targets(0)]: int64Tensor([count], targets),
    },
    count,
  };
}

/**
 * Places of supervised tokens among all positions, and what to predict there.
 * @param shift how many places before its label's a token is predicted.
 */
function tokenTargets({ lossChunks, virtualTokens }: TaskGraph, batch: TaskBatch, shift: 0 | 1): Feeds {
  const labels = given(batch.labels, "labels");
  const { sequenceStarts } = batch;
  const [rows = 0, length = 0] = labels.shape;
  const places: number[] = [];
  const targets: number[] = [];
  for (let row = 0; row < rows; row++)
    for (let position = shift; position < length; position++) {
      const label = Number(labels.data[row * length + position]);
      if (label === ignoredLabel) continue;
      // Nothing predicts a sequence's first token.
      if (shift === 1 && sequenceStarts && Number(sequenceStarts.data[row * length + position]) === position)
        continue;
      places.push(row * (length + virtualTokens) + virtualTokens + position - shift);
      targets.push(label);
    }
  const tensors: Record<string, Tensor> = {};
  const chunkSize = Math.ceil(places.length / lossChunks);
  for (let chunk = 0; chunk < lossChunks; chunk++) {
    const [start, end] = [chunk * chunkSize, (chunk + 1) * chunkSize];
    const part = places.slice(start, end);
    tensors[lossInputNames.rows(chunk)] = int64Tensor([part.length], part);
    tensors[lossInputNames.targets(chunk)] = int64Tensor([part.length], targets.slice(start, end));
  }
  return { tensors, count: places.length };
}

function positionsOf(
  model: Model,
  { inputIds, attentionMask }: TaskBatch,
  sequences: readonly Sequence[],
): Tensor<"int64"> {
  const [rows = 0, length = 0] = inputIds.shape;
  const positions = new BigInt64Array(rows * length);
  for (const { row, start, end } of sequences) {
    const from = row * length + start;
    const of = (tensor: Tensor<"int64">) =>
      Array.from(tensor.data.subarray(from, row * length + end), Number);
    const own = model.positionIds?.(of(inputIds), of(attentionMask));
    for (let index = 0; index < end - start; index++) positions[from + index] = BigInt(own?.[index] ?? index);
  }
  return { dtype: "int64", shape: [rows, length], data: positions };
}

/** The rightmost token that is not padding by its id (whatever the mask says), as transformers pools decoders. */
function lastTokensOf(
  model: Model,
  { inputIds, attentionMask }: TaskBatch,
  sequences: readonly Sequence[],
  virtualTokens: number,
): Tensor<"int64"> {
  const [, length = 0] = inputIds.shape;
  const last = sequences.map(({ row, start, end }) => {
    let position = end - 1;
    const isPadding = (at: number) =>
      model.padTokenId === undefined
        ? attentionMask.data[at] === 0n
        : Number(inputIds.data[at]) === model.padTokenId;
    while (position > start && isPadding(row * length + position)) position--;
    return row * (length + virtualTokens) + virtualTokens + position;
  });
  return int64Tensor([sequences.length], last);
}
