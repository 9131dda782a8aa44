/**
 * @file Examples in an order and in padded batches. The order follows from seed and epoch alone, so a run can
 * go on at any batch without having drawn the ones before.
 */
import { DeltafitError, internalError } from "../errors.ts";
import { TorchGenerator } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { deriveSeed } from "./derive-seed.ts";
import type { TokenizedExample } from "./tokenized-example.ts";
import { ignoredLabel } from "./tokenized-example.ts";

/** A model's input for some examples, padded on the right to the longest. Shapes are [batch, length]. */
export interface Batch {
  readonly inputIds: Tensor<"int64">;
  /** 1 for tokens, 0 for padding. */
  readonly attentionMask: Tensor<"int64">;
  /** 0 at padding; missing where the examples have none. */
  readonly tokenTypeIds?: Tensor<"int64">;
  /** Not shifted; -100 at padding and where nothing is trained on. */
  readonly labels?: Tensor<"int64">;
  /** Of examples with one label: class ids, or targets of a regression. */
  readonly classLabels?: readonly number[];
  /** Tokens that are not padding. */
  readonly tokens: number;
  /** Positions with a label, or the number of class labels. */
  readonly supervisedTokens: number;
}

export interface PaddingOptions {
  readonly padTokenId: number;
  /** The length becomes a multiple of this. Default 1. */
  readonly padToMultipleOf?: number;
}

function assertPositive(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return;
  throw new DeltafitError("usage-invalid", `${name}: expected an integer above 0, found ${value}.`);
}

/** Pads examples, all of one kind and at least one, into a batch. */
export function collate(examples: readonly TokenizedExample[], options: PaddingOptions): Batch {
  const multiple = options.padToMultipleOf ?? 1;
  assertPositive("Padding multiple", multiple);
  if (examples.length === 0) throw internalError("a batch needs an example");
  const longest = examples.reduce((length, { inputIds }) => Math.max(length, inputIds.length), 1);
  const length = Math.ceil(longest / multiple) * multiple;
  const padded = (rows: readonly (readonly number[])[], padding: number): Tensor<"int64"> =>
    padRows(rows, length, padding);
  const typeIds = examples.flatMap(({ tokenTypeIds }) => (tokenTypeIds === undefined ? [] : [tokenTypeIds]));
  const labels = examples.flatMap((example) => ("labels" in example ? [example.labels] : []));
  const classLabels = examples.flatMap((example) => ("label" in example ? [example.label] : []));
  const isMixed = (count: number): boolean => count !== 0 && count !== examples.length;
  if (isMixed(typeIds.length) || isMixed(labels.length))
    throw internalError("a batch of examples of different kinds");
  const supervised = labels.reduce(
    (sum, row) => sum + row.filter((label) => label !== ignoredLabel).length,
    0,
  );
  return {
    inputIds: padded(
      examples.map(({ inputIds }) => inputIds),
      options.padTokenId,
    ),
    attentionMask: padded(
      examples.map(({ inputIds }) => inputIds.map(() => 1)),
      0,
    ),
    ...(typeIds.length > 0 && { tokenTypeIds: padded(typeIds, 0) }),
    ...(labels.length > 0 && { labels: padded(labels, ignoredLabel) }),
    ...(classLabels.length > 0 && { classLabels }),
    tokens: examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0),
    supervisedTokens: supervised + classLabels.length,
  };
}

function padRows(rows: readonly (readonly number[])[], length: number, padding: number): Tensor<"int64"> {
  const data = new BigInt64Array(rows.length * length).fill(BigInt(padding));
  rows.forEach((row, rowIndex) => {
    row.forEach((value, position) => {
      data[rowIndex * length + position] = BigInt(value);
    });
  });
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
  readonly bucketByLength?: boolean;
  /** Tokens of every example. */
  readonly lengths?: readonly number[];
}

/**
 * The indices of the examples of every batch of an epoch. Each example comes once; the last batch may be
 * smaller (with bucketing, it may come anywhere). The same options give the same order everywhere.
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
  if (options.bucketByLength !== true) return chunks(order, batchSize);
  if (lengths?.length !== exampleCount)
    throw internalError("bucketing by length needs the length of every example");
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
  readonly bucketByLength?: boolean;
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
  const { bucketByLength = false, shuffle = true, batchSize, seed } = options;
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  let index = from.index;
  for (let epoch = from.epoch; epoch < epochs; epoch++) {
    const order = batchOrder(examples.length, { batchSize, seed, epoch, shuffle, bucketByLength, lengths });
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
