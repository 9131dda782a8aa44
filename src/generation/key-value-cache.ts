/**
 * @file Keys and values of the tokens so far, in host memory: buffers with spare places into which each step's new
 * rows are written. Fed to the runtime as they are, they are never copied there. Knows no graph.
 */
import { internalError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The buffers grow by this many places: a step then copies at most a 64th of what it reads anyway. */
const growth = 64;

/** The position of a place without a key: after every query, so that none sees it. */
export const absentPosition = 2n ** 62n;

export interface CacheShape {
  readonly layers: number;
  readonly rows: number;
  readonly heads: number;
  readonly size: number;
}

export class KeyValueCache {
  readonly #shape: Omit<CacheShape, "rows">;
  #rows: number;
  #capacity = 0;
  #length = 0;
  /** For each layer the keys, then the values: [rows, heads, capacity, size]. */
  #buffers: Float32Array[];
  /** For each row the positions of its places: [capacity]. */
  #positions: BigInt64Array[];

  constructor({ rows, ...shape }: CacheShape) {
    this.#shape = shape;
    this.#rows = rows;
    this.#buffers = Array.from({ length: 2 * shape.layers }, () => new Float32Array(0));
    this.#positions = Array.from({ length: rows }, () => new BigInt64Array(0));
    this.#reserve(growth);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Places of each row, those in reserve included: what the graph calls "past". */
  get capacity(): number {
    return this.#capacity;
  }

  keys(layer: number): Tensor<"float32"> {
    return this.#tensor(2 * layer);
  }

  values(layer: number): Tensor<"float32"> {
    return this.#tensor(2 * layer + 1);
  }

  /** int64 [rows, capacity + length]: the positions of all places, then of the new tokens [rows, length]. */
  positionsWith(own: BigInt64Array): Tensor<"int64"> {
    const length = own.length / this.#rows;
    const width = this.#capacity + length;
    const data = new BigInt64Array(this.#rows * width);
    for (let row = 0; row < this.#rows; row++) {
      data.set(this.#positionsOf(row), row * width);
      data.set(own.subarray(row * length, (row + 1) * length), row * width + this.#capacity);
    }
    return { dtype: "int64", shape: [this.#rows, width], data };
  }

  /** Adds tokens at positions [rows, length], with the keys and values [rows, heads, length, size] that `newOf` gives. */
  append(own: BigInt64Array, newOf: (kind: "key" | "value", layer: number) => Float32Array): void {
    const length = own.length / this.#rows;
    if (this.#length + length > this.#capacity) this.#reserve(this.#length + length);
    for (let row = 0; row < this.#rows; row++)
      this.#positionsOf(row).set(own.subarray(row * length, (row + 1) * length), this.#length);
    for (let layer = 0; layer < this.#shape.layers; layer++) {
      this.#write(2 * layer, newOf("key", layer), length);
      this.#write(2 * layer + 1, newOf("value", layer), length);
    }
    this.#length += length;
  }

  /** Row i becomes what row `rows[i]` was; rows may be left out or taken several times. */
  selectRows(rows: readonly number[]): void {
    if (rows.length === this.#rows && rows.every((from, to) => from === to)) return;
    const rowSize = this.#shape.heads * this.#capacity * this.#shape.size;
    this.#buffers = this.#buffers.map((buffer) => takeRows(buffer, rows, rowSize));
    this.#positions = rows.map((row) => this.#positionsOf(row).slice());
    this.#rows = rows.length;
  }

  #positionsOf(row: number): BigInt64Array {
    const positions = this.#positions[row];
    if (!positions) throw internalError(`the cache has no row ${row}.`);
    return positions;
  }

  #tensor(index: number): Tensor<"float32"> {
    const data = this.#buffers[index];
    if (!data) throw internalError(`the cache has no buffer ${index}.`);
    return {
      dtype: "float32",
      shape: [this.#rows, this.#shape.heads, this.#capacity, this.#shape.size],
      data,
    };
  }

  #write(index: number, source: Float32Array, length: number): void {
    const { heads, size } = this.#shape;
    const target = this.#tensor(index).data;
    const strip = length * size;
    if (source.length !== this.#rows * heads * strip) throw internalError("new keys do not fit the cache.");
    for (let head = 0; head < this.#rows * heads; head++)
      target.set(
        source.subarray(head * strip, (head + 1) * strip),
        (head * this.#capacity + this.#length) * size,
      );
  }

  #reserve(places: number): void {
    const { heads, size } = this.#shape;
    const [from, to] = [this.#capacity, Math.ceil(places / growth) * growth];
    this.#buffers = this.#buffers.map((buffer) => {
      const larger = new Float32Array(this.#rows * heads * to * size);
      for (let head = 0; head < this.#rows * heads; head++)
        larger.set(buffer.subarray(head * from * size, (head + 1) * from * size), head * to * size);
      return larger;
    });
    this.#positions = this.#positions.map((known) => {
      const larger = new BigInt64Array(to).fill(absentPosition);
      larger.set(known);
      return larger;
    });
    this.#capacity = to;
  }
}

/** The chosen rows of a buffer, each of `size` elements. */
export function takeRows(source: Float32Array, rows: readonly number[], size: number): Float32Array {
  const taken = new Float32Array(rows.length * size);
  for (const [to, from] of rows.entries())
    taken.set(source.subarray(from * size, (from + 1) * size), to * size);
  return taken;
}
