/**
 * @file The batches that `deltafit train` makes of a data file, as token ids for another program: the same examples in
 * the same order, so that both sides learn from the same. Only tasks whose examples have one label, or one at each
 * position.
 */
import { batchOrder } from "../../src/data/batches.ts";
import type { TokenizedExample } from "../../src/data/tokenized-example.ts";
import { DeltafitError } from "../../src/errors.ts";
import { loadTokenizer, parseRows, readRowFile, tokenizeData } from "../../src/index.ts";
import type { Tokenizer } from "../../src/index.ts";

export interface BatchedData {
  readonly task: "classification" | "causal-lm";
  /** Folder with the tokenizer. */
  readonly model: string;
  readonly data: string;
  readonly evaluationData: string;
  readonly steps: number;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly seed: number;
}

interface PeerExample {
  readonly inputIds: readonly number[];
  readonly label?: number;
  readonly labels?: readonly number[];
}

const evaluationBatchSize = 64;

/** One batch an update, and the evaluation's, in which examples of similar length are together. */
export function exampleBatches(options: BatchedData) {
  const { task, steps, batchSize, seed } = options;
  const tokenizer = loadTokenizer(options.model);
  const training = examplesOf(options.data, "train", options, tokenizer);
  const evaluation = examplesOf(options.evaluationData, "valid", options, tokenizer, training.labels);
  const batches: PeerExample[][] = [];
  for (let epoch = 0; batches.length < steps; epoch += 1)
    for (const indices of batchOrder(training.examples.length, { batchSize, epoch, seed }))
      batches.push(indices.flatMap((index) => training.examples[index] ?? []));
  const sorted = evaluation.examples.sort((a, b) => a.inputIds.length - b.inputIds.length);
  return {
    task,
    labelCount: training.labels?.count ?? 0,
    padTokenId: tokenizer.padTokenId ?? 0,
    batches: batches.slice(0, steps),
    evaluation: Array.from({ length: Math.ceil(sorted.length / evaluationBatchSize) }, (_, index) =>
      sorted.slice(index * evaluationBatchSize, (index + 1) * evaluationBatchSize),
    ),
  };
}

function examplesOf(
  path: string,
  split: "train" | "valid",
  { task, sequenceLength }: BatchedData,
  tokenizer: Tokenizer,
  known?: { readonly names: readonly string[] | undefined; readonly count: number },
) {
  const { rows } = readRowFile(path, { split });
  const { examples, labels } = tokenizeData(parseRows(rows, task), task, tokenizer, {
    sequenceLength,
    trainOnPrompt: false,
    eosTokenId: tokenizer.eosTokenId,
    ...(known && { labelNames: known.names, labelCount: known.count }),
  });
  return { examples: examples.map(forPeer), labels };
}

function forPeer(example: TokenizedExample): PeerExample {
  const { inputIds } = example;
  if ("labels" in example) return { inputIds, labels: example.labels };
  if ("label" in example) return { inputIds, label: example.label };
  throw new DeltafitError("usage-invalid", "Expected examples with one label, or with labels of tokens.");
}
