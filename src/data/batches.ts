/**
 * @file Examples in an order and in padded batches. The order follows from seed and epoch alone, so a run can
 * go on at any batch without having drawn the ones before.
 */
import { DeltafitError, internalError } from "../errors.ts";
import { TorchGenerator } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { deriveSeed } from "./derive-seed.ts";
import type { PackingOptions } from "./packing.ts";
import { packRows } from "./packing.ts";
import type { AnswerWindow, SpanExample, TokenizedExample } from "./tokenized-example.ts";
import { ignoredLabel, supervisedTokens, tokenCount } from "./tokenized-example.ts";

/**
 * A model's input for some examples: a row each, or several packed into a row, padded on the right. Shapes are
 * [rows, length].
 */
export interface Batch {
  readonly inputIds: Tensor<"int64">;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor<"int64">;
  /** 0 at padding; missing where the examples have none. */
  readonly tokenTypeIds?: Tensor<"int64">;
  /** Not shifted; -100 at padding and where nothing is trained on. */
  readonly labels?: Tensor<"int64">;
  /**
   * Of packed rows: where in its row the example of a position starts. The padding at a row's end counts as an
   * example of its own.
   */
  readonly sequenceStarts?: Tensor<"int64">;
  /** Of pairs: what is written, [rows, target length]; -100 at padding. */
  readonly targets?: Tensor<"int64">;
  /** Of examples with one label: class ids, or targets of a regression, in the order of the rows. */
  readonly classLabels?: readonly number[];
  /** Of examples with any number of labels: the ids of those that hold. */
  readonly labelSets?: readonly (readonly number[])[];
  /** Of questions: positions of the answer's first and last token. */
  readonly spans?: readonly SpanExample["span"][];
  /** Of questions: the part of the context in each row. */
  readonly windows?: readonly AnswerWindow[];
  /** Tokens that are not padding. */
  readonly tokens: number;
  /** Positions with a label, or the number of rows that are labelled as a whole. */
  readonly supervisedTokens: number;
}

export interface PaddingOptions {
  readonly padTokenId: number;
  /** The length, of pairs that of what is written, becomes a multiple of this. Default 1. */
  readonly padToMultipleOf?: number;
  /** Puts several examples into a row; left out, each has a row of its own. */
  readonly pack?: PackingOptions | undefined;
}

function assertPositive(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new DeltafitError("usage-invalid", `${name}: expected an integer above 0, found ${value}.`);
}

/** Puts examples, all of one kind and at least one, into the rows of a batch. */
export function collate(examples: readonly TokenizedExample[], options: PaddingOptions): Batch {
  const asked = options.padToMultipleOf ?? 1;
  assertPositive("Padding multiple", asked);
  if (examples.length === 0) throw internalError("a batch needs an example");
  const targets = targetsOf(examples, asked);
  if (targets && options.pack) throw internalError("pairs are not packed.");
  const multiple = targets ? 1 : asked;
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  const { rows, length } = options.pack
    ? packRows(lengths, multiple, options.pack)
    : {
        rows: examples.map((_, index) => [index]),
        length: Math.ceil(Math.max(1, ...lengths) / multiple) * multiple,
      };
  const placed = rows.map((row) => row.flatMap((index) => examples[index] ?? []));
  const inOrder = placed.flat();
  const filled = (valuesOf: (example: TokenizedExample) => readonly number[], padding: number) =>
    padRows(placed, valuesOf, length, padding);
  const typeIds = inOrder.flatMap(({ tokenTypeIds }) => (tokenTypeIds === undefined ? [] : [tokenTypeIds]));
  const labels = inOrder.flatMap((example) => ("labels" in example ? [example.labels] : []));
  const classLabels = inOrder.flatMap((example) => ("label" in example ? [example.label] : []));
  const labelSets = inOrder.flatMap((example) => ("labelSet" in example ? [example.labelSet] : []));
  const questions = inOrder.flatMap((example) => ("span" in example ? [example] : []));
  const isMixed = (count: number): boolean => count !== 0 && count !== examples.length;
  if (isMixed(typeIds.length) || isMixed(labels.length))
    throw internalError("a batch of examples of different kinds");
  return {
    inputIds: filled(({ inputIds }) => inputIds, options.padTokenId),
    attentionMask: filled(({ inputIds }) => inputIds.map(() => 1), 0),
    ...(typeIds.length > 0 && { tokenTypeIds: filled(({ tokenTypeIds = [] }) => tokenTypeIds, 0) }),
    ...(labels.length > 0 && {
      labels: filled((example) => ("labels" in example ? example.labels : []), ignoredLabel),
    }),
    ...(targets && { targets }),
    ...(options.pack && { sequenceStarts: sequenceStarts(placed, length) }),
    ...(classLabels.length > 0 && { classLabels }),
    ...(labelSets.length > 0 && { labelSets }),
    ...(questions.length > 0 && {
      spans: questions.map(({ span }) => span),
      windows: questions.map(({ window }) => window),
    }),
    tokens: examples.reduce((sum, example) => sum + tokenCount(example), 0),
    supervisedTokens: examples.reduce((sum, example) => sum + supervisedTokens(example), 0),
  };
}

/** What is written after reading the examples, where all of them are pairs. */
function targetsOf(examples: readonly TokenizedExample[], multiple: number): Tensor<"int64"> | undefined {
  const written = examples.flatMap((example) => ("targets" in example ? [example.targets] : []));
  if (written.length === 0) return undefined;
  if (written.length !== examples.length) throw internalError("a batch of examples of different kinds");
  const length = Math.ceil(Math.max(1, ...written.map((ids) => ids.length)) / multiple) * multiple;
  const rows = examples.map((example) => [example]);
  return padRows(rows, (example) => ("targets" in example ? example.targets : []), length, ignoredLabel);
}

function padRows(
  rows: readonly (readonly TokenizedExample[])[],
  valuesOf: (example: TokenizedExample) => readonly number[],
  length: number,
  padding: number,
): Tensor<"int64"> {
  const data = new BigInt64Array(rows.length * length).fill(BigInt(padding));
  for (const [row, examples] of rows.entries()) {
    let place = row * length;
    for (const example of examples) for (const value of valuesOf(example)) data[place++] = BigInt(value);
  }
  return { dtype: "int64", shape: [rows.length, length], data };
}

function sequenceStarts(rows: readonly (readonly TokenizedExample[])[], length: number): Tensor<"int64"> {
  const data = new BigInt64Array(rows.length * length);
  for (const [row, examples] of rows.entries()) {
    let start = 0;
    for (const { inputIds } of examples) {
      data.fill(BigInt(start), row * length + start, row * length + start + inputIds.length);
      start += inputIds.length;
    }
    data.fill(BigInt(start), row * length + start, (row + 1) * length);
  }
  return { dtype: "int64", shape: [rows.length, length], data };
}

/** Batches sorted together: wide enough to save most padding, narrow enough to stay random. */
const batchesPerWindow = 50;
/** Keep the two draws of an epoch apart from each other and from what else the seed decides. */
const exampleOrderPurpose = 0x6f726472;
const batchOrderPurpose = 0x62617463;

export interface BatchOrderOptions {
  readonly batchSize: number;
  readonly epoch: number;
  readonly seed: number;
  /** Default true; without, examples come in the data's order. */
  readonly shuffle?: boolean;
  /**
   * Puts examples of similar length together, within windows of 50 batches. Needs `lengths`. Default false.
   */
  readonly groupByLength?: boolean;
  /** Tokens of every example. */
  readonly lengths?: readonly number[];
}

/**
 * The indices of the examples of every batch of an epoch. Each example comes once; the last batch may be
 * smaller (grouped, it may come anywhere). The same options give the same order everywhere.
 */
export function batchOrder(exampleCount: number, options: BatchOrderOptions): number[][] {
  const { batchSize, epoch, seed, lengths } = options;
  assertPositive("Batch size", batchSize);
  const shuffle = options.shuffle ?? true;
  const permutation = (purpose: number, length: number): number[] =>
    shuffle
      ? [...new TorchGenerator(deriveSeed(purpose, seed, epoch)).permutation(length)]
      : Array.from({ length }, (_, index) => index);
  const order = permutation(exampleOrderPurpose, exampleCount);
  if (options.groupByLength !== true) return chunks(order, batchSize);
  if (lengths?.length !== exampleCount)
    throw internalError("grouping by length needs the length of every example");
  const lengthOf = (index: number): number => lengths[index] ?? 0;
  const windows = chunks(order, batchSize * batchesPerWindow);
  const batches = windows.flatMap((window) =>
    chunks(
      window.sort((a, b) => lengthOf(a) - lengthOf(b)),
      batchSize,
    ),
  );
  return permutation(batchOrderPurpose, batches.length).map((index) => batches[index] ?? []);
}

function chunks(values: readonly number[], size: number): number[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) =>
    values.slice(index * size, (index + 1) * size),
  );
}

/** A place between two batches: `index` batches of `epoch` are done. */
export interface BatchCursor {
  readonly epoch: number;
  readonly index: number;
}

export interface BatchesOptions extends PaddingOptions {
  readonly batchSize: number;
  readonly seed: number;
  readonly shuffle?: boolean;
  readonly groupByLength?: boolean;
  /** Stops before this epoch; without it batches come forever. */
  readonly epochs?: number;
  /** Changes an example before it is padded, by its index in `examples` and the epoch: masking, for one. */
  readonly transform?: (example: TokenizedExample, index: number, epoch: number) => TokenizedExample;
}

export interface PlacedBatch {
  readonly batch: Batch;
  /** Where to go on after this batch. */
  readonly cursor: BatchCursor;
}

/**
 * Batches epoch after epoch, from a cursor on. What comes after a cursor is the same whether the batches
 * before it were made or not.
 *
 * @throws DeltafitError `usage-invalid` for a cursor beyond its epoch.
 */
export function* batches(
  examples: readonly TokenizedExample[],
  options: BatchesOptions,
  from: BatchCursor = { epoch: 0, index: 0 },
): Generator<PlacedBatch, void, undefined> {
  if (examples.length === 0) throw internalError("batches of no examples");
  const { epochs = Infinity, transform } = options;
  const { groupByLength = false, shuffle = true, batchSize, seed } = options;
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  let index = from.index;
  for (let epoch = from.epoch; epoch < epochs; epoch++) {
    const order = batchOrder(examples.length, { batchSize, seed, epoch, shuffle, groupByLength, lengths });
    if (!Number.isInteger(index) || index < 0 || index > order.length) {
      const message = `Batch cursor: expected an index from 0 to ${order.length}, found ${index}.`;
      throw new DeltafitError(
        "usage-invalid",
        message,
        "Resume with the data and the batch size of the run.",
      );
    }
    for (; index < order.length; index++) {
      const chosen = (order[index] ?? []).map((at) => {
        const example = examples[at];
        if (example === undefined) throw internalError(`example ${at} of ${examples.length}`);
        return transform === undefined ? example : transform(example, at, epoch);
      });
      const isLast = index + 1 === order.length;
      const cursor = isLast ? { epoch: epoch + 1, index: 0 } : { epoch, index: index + 1 };
      yield { batch: collate(chosen, options), cursor };
    }
    index = 0;
  }
}
