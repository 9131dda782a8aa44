/**
 * @file The rows of a sequence in a forward pass: ids, positions, masks and segments with the virtual tokens that methods
 * put in front, table lookups, and pooling over rows. Knows neither parameters nor hooks.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Dimension } from "../graph/dimension.ts";
import { addDimensions, multiplyDimensions } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import { internalError } from "../errors.ts";
import type { SequenceLayout } from "../models/forward.ts";
import { sequenceMeans } from "../models/layers/sequence-means.ts";

/** Names of a graph's inputs. */
export const inputNames = {
  inputIds: "input_ids",
  attentionMask: "attention_mask",
  positionIds: "position_ids",
  tokenTypeIds: "token_type_ids",
  sequenceStarts: "sequence_starts",
  firstTokens: "first_tokens",
  lastTokens: "last_tokens",
  dropoutSeed: "dropout_seed",
} as const;

/** Names of the inputs of a source. */
export const sourceInputNames = {
  inputIds: "source_input_ids",
  attentionMask: "source_attention_mask",
  positionIds: "source_position_ids",
  tokenTypeIds: "source_token_type_ids",
  sequenceStarts: "source_sequence_starts",
  firstTokens: "source_first_tokens",
  lastTokens: "source_last_tokens",
} as const;

/** Names of one sequence's inputs. */
export type SequenceNames = Readonly<Record<keyof typeof sourceInputNames, string>>;

export interface SequenceSettings {
  readonly builder: GraphBuilder;
  readonly names: SequenceNames;
  /** Tokens of a row. */
  readonly length: Dimension;
  readonly training: boolean;
  readonly padding: boolean;
  readonly packed?: boolean | undefined;
  readonly virtualTokens?: "in-front" | "by-id" | undefined;
}

/** The sequence of a forward pass, of which methods take positions. */
export class SequenceRows {
  readonly layout: SequenceLayout;
  readonly #settings: SequenceSettings;
  readonly #builder: GraphBuilder;
  readonly #names: SequenceNames;
  readonly #inputIds: Value;
  /** Virtual tokens in front of every row. */
  readonly #inFront: number;

  /** @param taken Virtual tokens, and keys without tokens, that methods put in front of every row. */
  constructor(
    settings: SequenceSettings,
    taken: { readonly virtualTokens: number; readonly prefixKeys: number },
  ) {
    const { builder, names, length } = settings;
    this.#settings = settings;
    this.#builder = builder;
    this.#names = names;
    this.#inputIds = builder.input(names.inputIds, "int64", ["batch", length]);
    this.#inFront = settings.virtualTokens === "by-id" ? 0 : taken.virtualTokens;
    const own = builder.input(names.positionIds, "int64", ["batch", length]);
    const positions = this.#withVirtualPositions(own);
    const whole = addDimensions(this.#inFront, length);
    const packed = settings.packed ?? false;
    if (packed && this.#inFront > 0) throw internalError("virtual tokens stand in front of whole rows only.");
    this.layout = {
      batch: "batch",
      sequences: packed ? "sequences" : "batch",
      ...(packed && { sequenceStarts: builder.input(names.sequenceStarts, "int64", ["batch", length]) }),
      length: whole,
      tokens: multiplyDimensions("batch", whole),
      positions: builder.add(positions, builder.constant("int64", [], [taken.prefixKeys])),
    };
  }

  /** Virtual tokens take the positions from each row's first one on, and move the row's own behind them. */
  #withVirtualPositions(own: Value): Value {
    const builder = this.#builder;
    const count = this.#inFront;
    if (count === 0) return own;
    const places = builder.reshape(builder.range(count), [1, count]);
    const inFront = builder.add(builder.slice(own, 1, 0, 1), places);
    return builder.concat([inFront, builder.add(own, builder.constant("int64", [], [count]))], 1);
  }

  /** Rows of a table [rows, size] for the tokens' ids: [tokens, size], without virtual tokens. */
  lookUpTokens(table: Value, paddingRow?: number): Value {
    const ids = this.#settings.virtualTokens === "by-id" ? this.#atLeastZero(this.#inputIds) : this.#inputIds;
    return this.#rows(table, ids, paddingRow);
  }

  /** Rows of a table [rows, size] for the positions shifted by `offset`: [tokens, size]. */
  lookUpPositions(table: Value, offset: number, paddingRow?: number): Value {
    const builder = this.#builder;
    const { positions } = this.layout;
    const shifted =
      offset === 0 ? positions : builder.add(positions, builder.constant("int64", [], [offset]));
    return this.#rows(table, shifted, paddingRow);
  }

  /** Rows of a table [rows, size] for the segments: [tokens, size]; virtual tokens belong to the first. */
  lookUpTokenTypes(table: Value): Value {
    const types = this.#builder.input(this.#names.tokenTypeIds, "int64", this.#inputIds.shape);
    return this.#rows(table, this.putInFront(0, this.#inFront, types));
  }

  /** Embeddings [tokens, size] with the virtual tokens' [count, size] in their places. */
  withVirtualTokens(embedded: Value, virtual: Value): Value {
    const builder = this.#builder;
    const [count = 0, size = 0] = virtual.shape;
    const [batch = 0, length = 0] = this.#inputIds.shape;
    if (this.#settings.virtualTokens === "by-id") {
      const ids = builder.reshape(this.#inputIds, [multiplyDimensions(batch, length)]);
      const numbers = builder.subtract(builder.constant("int64", [], [-1]), ids);
      const isVirtual = builder.reshape(builder.lessOrEqual(builder.constant("int64", [], [0]), numbers), [
        multiplyDimensions(batch, length),
        1,
      ]);
      return builder.where(isVirtual, builder.gather(virtual, this.#atLeastZero(numbers)), embedded);
    }
    const inFront = builder.expand(builder.reshape(virtual, [1, count, size]), [batch, count, size]);
    const rows = builder.concat([inFront, builder.reshape(embedded, [batch, length, size])], 1);
    return builder.reshape(rows, [this.layout.tokens, size]);
  }

  #atLeastZero(numbers: Value): Value {
    const zero = this.#builder.constant("int64", [], [0]);
    return this.#builder.where(this.#builder.lessOrEqual(zero, numbers), numbers, zero);
  }

  /** Rows of a table [rows, size] at ids [batch, length]: [tokens, size]. */
  #rows(table: Value, ids: Value, paddingRow?: number): Value {
    const builder = this.#builder;
    const count = multiplyDimensions(...ids.shape);
    const places = builder.reshape(ids, [count]);
    const rows = builder.gather(table, places);
    const isTrained = this.#settings.training && table.node.operation !== "Weight";
    if (paddingRow === undefined || !isTrained) return rows;
    const isPadding = builder.equal(places, builder.constant("int64", [], [paddingRow]));
    return builder.where(builder.reshape(isPadding, [count, 1]), builder.stopGradient(rows), rows);
  }

  /** int64 [batch, length]: 1 for tokens, 0 for padding; `undefined` where there is no padding. */
  tokenMask(): Value | undefined {
    if (!this.#settings.padding) return undefined;
    const own = this.#builder.input(this.#names.attentionMask, "int64", this.#inputIds.shape);
    return this.putInFront(1, this.#inFront, own);
  }

  /** int64 [batch, count + length]: a number before each row of x [batch, length]. */
  putInFront(number: 0 | 1, count: number, x: Value): Value {
    if (count === 0) return x;
    const [batch = 0] = x.shape;
    const filled = this.#builder.expand(this.#builder.constant("int64", [1, 1], [number]), [batch, count]);
    return this.#builder.concat([filled, x], 1);
  }

  firstTokens(x: Value): Value {
    const { batch, length, sequenceStarts } = this.layout;
    if (sequenceStarts) return this.#builder.gather(x, this.#ofSequences(this.#names.firstTokens), true);
    const size = x.shape[1] ?? 0;
    // Row b of the batch starts at b * length; reading it from [batch, length * size] needs no product of indices.
    const rows = this.#builder.reshape(x, [batch, multiplyDimensions(length, size)]);
    return this.#builder.slice(rows, 1, 0, size);
  }

  lastTokens(x: Value): Value {
    return this.#builder.gather(x, this.#ofSequences(this.#names.lastTokens), true);
  }

  /** Places among all tokens, one a sequence. */
  #ofSequences(name: string): Value {
    return this.#builder.input(name, "int64", [this.layout.sequences]);
  }

  meanTokens(x: Value): Value {
    const { batch, length, sequenceStarts } = this.layout;
    if (sequenceStarts)
      return sequenceMeans(this.#builder, this.layout, this.#ofSequences(this.#names.firstTokens), x);
    const rows = (of: Value) => this.#builder.reshape(of, [batch, length, x.shape[1] ?? 0]);
    const mask = this.tokenMask();
    if (!mask) return this.#builder.reduceMean(rows(x), [1], false);
    const count = this.#builder.reduceSum(this.#builder.cast(mask, "float32"), [1]);
    return this.#builder.divide(this.#builder.reduceSum(rows(this.zeroPadding(x)), [1], false), count);
  }

  zeroPadding(x: Value): Value {
    const mask = this.tokenMask();
    if (!mask) return x;
    const column = this.#builder.reshape(this.#builder.cast(mask, "float32"), [this.layout.tokens, 1]);
    return this.#builder.multiply(x, column);
  }
}
