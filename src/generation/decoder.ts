/**
 * @file Feeding tokens to a decoder graph: rows of different lengths, positions, the cache, prompts in pieces.
 * Knows nothing of how tokens are chosen.
 */
import { internalError } from "../errors.ts";
import { inputNames } from "../methods/forward-pass.ts";
import type { Model } from "../models/forward.ts";
import type { Session } from "../runtime/session.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { decoderNames } from "./decoder-graph.ts";
import { absentPosition, KeyValueCache } from "./key-value-cache.ts";
import type { SourceStates } from "./source-graph.ts";

/** A long prompt is read in pieces of this many positions: attention scores then stay small, and few are for nothing. */
const pieceLength = 256;

/** Sessions of the same graph: for many tokens of a row at once, and for one. */
export interface DecoderSessions {
  readonly prompt: Session;
  readonly step: Session;
}

/** The rows of one batch on their way through a model. */
export class Decoder {
  readonly #sessions: DecoderSessions;
  readonly #model: Model;
  readonly #adapterFeeds: Readonly<Record<string, Tensor>>;
  readonly #cache: KeyValueCache;
  /** The position of each row's next token. */
  #next: number[];

  /** Virtual tokens that every row begins with. */
  readonly #virtualTokens: number;
  readonly #source: SourceStates | undefined;
  /** Inputs with a number for each row. */
  #rowWeights: ReadonlyMap<string, readonly number[]>;

  /**
   * @param adapterFeeds The inputs of the adapters and their weights.
   * @param beginnings The virtual tokens of all adapters together, in front of every row; of an encoder-decoder, what it
   * read; weights of adapters by the names of their inputs, where each row has its own.
   */
  constructor(
    session: Session | DecoderSessions,
    model: Model,
    adapterFeeds: Readonly<Record<string, Tensor>>,
    rows: number,
    beginnings: {
      readonly virtualTokens?: number;
      readonly source?: SourceStates;
      readonly rowWeights?: ReadonlyMap<string, readonly number[]> | undefined;
    } = {},
  ) {
    this.#virtualTokens = beginnings.virtualTokens ?? 0;
    this.#source = beginnings.source;
    this.#rowWeights = beginnings.rowWeights ?? new Map();
    this.#sessions = "run" in session ? { prompt: session, step: session } : session;
    this.#model = model;
    this.#adapterFeeds = adapterFeeds;
    this.#cache = new KeyValueCache({ layers: model.layerCount, rows, ...model.keyValue });
    this.#next = Array.from({ length: rows }, () => 0);
  }

  /** Feeds tokens to every row, at least one each, and returns each row's logits [vocabulary] after its last. */
  async advance(given: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const tokens = given.map((row, index) => (this.#next[index] === 0 ? this.#begin(row) : row));
    const width = Math.max(...tokens.map((row) => row.length));
    // Shorter rows are padded in front, as transformers pads for generation: all rows end at the same place.
    const ids = tokens.map((row) => [...Array.from({ length: width - row.length }, () => 0), ...row]);
    const positions = tokens.map((row, index) => this.#positionsOf(row, this.#next[index] ?? 0));
    const padded = positions.map((row) => [
      ...Array.from({ length: width - row.length }, () => absentPosition),
      ...row.map(BigInt),
    ]);
    let logits: Float32Array[] = [];
    for (let start = 0; start < width; start += pieceLength) {
      const piece = <Item>(rows: readonly (readonly Item[])[]) =>
        rows.flatMap((row) => row.slice(start, start + pieceLength));
      logits = await this.#run(piece(ids), piece(padded));
    }
    this.#next = positions.map((row) => (row.at(-1) ?? -1) + 1);
    return logits;
  }

  /** A row's first tokens, with the virtual ones in front under the ids that the graph knows them by. */
  #begin(row: readonly number[]): readonly number[] {
    return [...Array.from({ length: this.#virtualTokens }, (_, index) => -1 - index), ...row];
  }

  /** Row i goes on from where row `rows[i]` was. */
  selectRows(rows: readonly number[]): void {
    this.#cache.selectRows(rows);
    this.#source?.selectRows(rows);
    this.#next = rows.map((row) => this.#next[row] ?? 0);
    this.#rowWeights = new Map(
      [...this.#rowWeights].map(([input, weights]) => [input, rows.map((row) => weights[row] ?? 0)]),
    );
  }

  #positionsOf(row: readonly number[], next: number): number[] {
    const own =
      next === 0
        ? this.#model.positionIds?.(
            row,
            row.map(() => 1),
          )
        : undefined;
    return own ?? row.map((_, index) => next + index);
  }

  async #run(ids: readonly number[], positions: readonly bigint[]): Promise<Float32Array[]> {
    const { rows } = this.#cache;
    const length = ids.length / rows;
    const own = BigInt64Array.from(positions);
    const feeds: Record<string, Tensor> = {
      ...this.#adapterFeeds,
      ...this.#source?.feeds,
      ...Object.fromEntries([...this.#rowWeights].map(([input, own]) => [input, float32Tensor([rows], own)])),
      [inputNames.inputIds]: int64Tensor([rows, length], ids),
      // Padding needs some position that exists; what is computed there is never seen.
      [inputNames.positionIds]: {
        dtype: "int64",
        shape: [rows, length],
        data: own.map((position) => (position === absentPosition ? 0n : position)),
      },
      [inputNames.lastTokens]: int64Tensor(
        [rows],
        Array.from({ length: rows }, (_, row) => (row + 1) * length - 1),
      ),
      [decoderNames.keyPositions]: this.#cache.positionsWith(own),
    };
    for (let layer = 0; layer < this.#model.layerCount; layer++) {
      feeds[decoderNames.pastKey(layer)] = this.#cache.keys(layer);
      feeds[decoderNames.pastValue(layer)] = this.#cache.values(layer);
    }
    const results = await (length === 1 ? this.#sessions.step : this.#sessions.prompt).run(feeds);
    const output = (name: string): Float32Array => {
      const data = results[name]?.data;
      if (data instanceof Float32Array) return data;
      throw internalError(`the decoder graph has no output "${name}".`);
    };
    this.#cache.append(own, (kind, layer) =>
      output(kind === "key" ? decoderNames.newKey(layer) : decoderNames.newValue(layer)),
    );
    const logits = output(decoderNames.logits);
    const { vocabularySize } = this.#model;
    return Array.from({ length: rows }, (_, row) =>
      logits.subarray(row * vocabularySize, (row + 1) * vocabularySize),
    );
  }
}
