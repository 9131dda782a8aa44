/** @file One vector for each text, from a model with adapters: pooled hidden states. Reads no files. */
import { withBaseChanges } from "../base/changed-base.ts";
import type { Base } from "../base/base.ts";
import { collate } from "../data/batches.ts";
import { internalError } from "../errors.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { nodesOf } from "../graph/graph.ts";
import { constantFeeds } from "../methods/constants.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";
import { feedsOf } from "../tasks/feeds.ts";
import type { TaskBatch } from "../tasks/feeds.ts";
import { buildEmbeddingGraph } from "../tasks/graphs.ts";
import type { Pooling, TaskGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import type { TaskAdapter } from "../tasks/pass.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface EmbedderOptions {
  /** Opened for any task: its head is not used. */
  readonly base: Base;
  readonly adapters: readonly (Omit<TaskAdapter, "trainable"> & { readonly values: Float32Array })[];
  /** Default "mean". */
  readonly pooling?: Pooling | undefined;
  /** Scale every vector to length 1. Default false. */
  readonly normalise?: boolean | undefined;
  readonly device?: Device | undefined;
  readonly session?: SessionOptions | undefined;
}

/** Owns one session. */
export class Embedder {
  readonly #base: Base;
  readonly #graph: TaskGraph;
  readonly #session: Session;
  readonly #parameters: Readonly<Record<string, Tensor>>;
  readonly #normalise: boolean;

  private constructor(
    { base, adapters, normalise = false }: EmbedderOptions,
    graph: TaskGraph,
    session: Session,
  ) {
    this.#base = base;
    this.#graph = graph;
    this.#session = session;
    this.#normalise = normalise;
    const given = adapters.flatMap(({ name, method, values }): [string, Tensor][] => [
      [frozenInput(name), float32Tensor([values.length], values)],
      ...Object.entries(constantFeeds(name, method)),
    ]);
    // An adapter of the head alone has no part in this graph.
    const needed = new Set(nodesOf(graph.graph, "Input").map((node) => node.attributes.name));
    this.#parameters = Object.fromEntries(given.filter(([name]) => needed.has(name)));
  }

  static async create(options: EmbedderOptions): Promise<Embedder> {
    const { base, adapters, pooling = "mean", device = cpu, session } = options;
    const graph = buildEmbeddingGraph(
      {
        model: base.model,
        settings: base.settings,
        adapters: adapters.map((adapter) => ({ ...adapter, trainable: false })),
        padding: true,
        attentionBlocks: 1,
        lossChunks: 1,
      },
      pooling,
    );
    const changed = withBaseChanges(base, adapters);
    const created = await device.createSession(graph.graph, (weight) => changed.locate(weight), session);
    return new Embedder(options, graph, created);
  }

  /** The vectors of a batch's rows, each as wide as the model's hidden states. */
  async embed(batch: TaskBatch): Promise<Float32Array[]> {
    const { tensors } = feedsOf(this.#graph, this.#base.model, batch);
    const { embeddings } = await this.#session.run({ ...tensors, ...this.#parameters });
    if (!(embeddings?.data instanceof Float32Array)) throw internalError("there are no embeddings.");
    const [rows = 0, width = 0] = embeddings.shape;
    const { data } = embeddings;
    return Array.from({ length: rows }, (_, row) => {
      const vector = data.slice(row * width, (row + 1) * width);
      return this.#normalise ? scaledToOne(vector) : vector;
    });
  }

  /**
   * The vectors of texts with their special tokens, in the order of the texts. Texts of similar length share a batch.
   * @param options.sequenceLength Longer texts are cut.
   */
  async embedTexts(
    texts: readonly string[],
    tokenizer: Tokenizer,
    { batchSize, sequenceLength }: { readonly batchSize: number; readonly sequenceLength: number },
  ): Promise<Float32Array[]> {
    const room = Math.max(1, sequenceLength - tokenizer.addSpecialTokens([]).inputIds.length);
    const examples = texts.map((text) =>
      tokenizer.addSpecialTokens(tokenizer.encode(text, { addSpecialTokens: false }).slice(0, room)),
    );
    const order = [...examples.keys()].sort(
      (a, b) => (examples[a]?.inputIds.length ?? 0) - (examples[b]?.inputIds.length ?? 0),
    );
    const padTokenId = tokenizer.padTokenId ?? this.#base.model.padTokenId ?? tokenizer.eosTokenId ?? 0;
    const vectors: Float32Array[] = [];
    for (let start = 0; start < order.length; start += batchSize) {
      const indices = order.slice(start, start + batchSize);
      // Nothing is known of the texts: rows without labels.
      const rows = indices.flatMap((index) => {
        const example = examples[index];
        return example ? [{ ...example, labelSet: [] }] : [];
      });
      const found = await this.embed(collate(rows, { padTokenId }));
      for (const [row, index] of indices.entries()) vectors[index] = found[row] ?? new Float32Array();
    }
    return vectors;
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
  }
}

function scaledToOne(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length === 0 ? vector : vector.map((value) => value / length);
}
