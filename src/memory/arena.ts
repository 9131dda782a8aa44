/**
 * @file The memory that ONNX Runtime's arena takes for a sequence of buffers: a best-fit allocator in regions that double.
 * What is counted is what a process has written to; the rest of a region is no memory yet. Reimplemented from the
 * allocator's published behaviour, with its constants.
 */
import { internalError } from "../errors.ts";

/** A buffer inside a region. */
export interface ArenaBlock {
  readonly region: Region;
  readonly start: number;
  readonly bytes: number;
}

interface Region {
  readonly index: number;
  /** Where something was written: spans that do not meet. */
  touched: readonly Span[];
}

interface Span {
  readonly from: number;
  readonly to: number;
}

const alignment = 256;
const firstRegionBytes = 2 ** 20;
const largestDoubling = 2 ** 30;
/** A free block is split where it is at least twice as large as what is asked for, or leaves as much. */
const largestRemainder = 2 ** 27;

/** Blocks are taken and given back; nothing ever returns to the system. */
export class Arena {
  #nextRegionBytes = firstRegionBytes;
  readonly #regions: Region[] = [];
  readonly #free = new Set<ArenaBlock>();

  allocate(bytes: number): ArenaBlock {
    const rounded = Math.max(1, Math.ceil(bytes / alignment)) * alignment;
    const found = this.#smallest(rounded) ?? this.#extend(rounded);
    this.#free.delete(found);
    const { region, start } = found;
    region.touched = joined(region.touched, { from: start, to: start + bytes });
    if (found.bytes < 2 * rounded && found.bytes - rounded < largestRemainder) return found;
    this.#free.add({ region, start: start + rounded, bytes: found.bytes - rounded });
    return { region, start, bytes: rounded };
  }

  release(block: ArenaBlock): void {
    let { start, bytes } = block;
    for (const free of this.#free) {
      if (free.region !== block.region) continue;
      const isBefore = free.start + free.bytes === start;
      if (!isBefore && free.start !== start + bytes) continue;
      this.#free.delete(free);
      if (isBefore) start = free.start;
      bytes += free.bytes;
    }
    this.#free.add({ region: block.region, start, bytes });
  }

  /** Bytes that were ever written to. */
  get touchedBytes(): number {
    return this.#regions.flatMap(({ touched }) => touched).reduce((sum, { from, to }) => sum + to - from, 0);
  }

  #smallest(bytes: number): ArenaBlock | undefined {
    let best: ArenaBlock | undefined;
    for (const block of this.#free)
      if (block.bytes >= bytes && (!best || isBefore(block, best))) best = block;
    return best;
  }

  #extend(bytes: number): ArenaBlock {
    const asked = this.#nextRegionBytes;
    while (this.#nextRegionBytes < bytes) this.#nextRegionBytes *= 2;
    const regionBytes = this.#nextRegionBytes;
    if (regionBytes === asked) this.#nextRegionBytes = Math.max(asked, Math.min(2 * asked, largestDoubling));
    if (!Number.isSafeInteger(regionBytes)) throw internalError("a buffer has no size that can be counted.");
    const region: Region = { index: this.#regions.length, touched: [] };
    this.#regions.push(region);
    const block = { region, start: 0, bytes: regionBytes };
    this.#free.add(block);
    return block;
  }
}

/** The smaller one, then the one that lies earlier. */
function isBefore(a: ArenaBlock, b: ArenaBlock): boolean {
  if (a.bytes !== b.bytes) return a.bytes < b.bytes;
  return a.region === b.region ? a.start < b.start : a.region.index < b.region.index;
}

function joined(spans: readonly Span[], added: Span): readonly Span[] {
  let { from, to } = added;
  const apart: Span[] = [];
  for (const span of spans) {
    if (span.to < from || span.from > to) apart.push(span);
    else [from, to] = [Math.min(from, span.from), Math.max(to, span.to)];
  }
  return [...apart, { from, to }];
}
