/**
 * @file Which examples share a row: several short ones behind each other, so that fewer positions are padding. Knows
 * lengths alone; that packed examples do not see each other is for the forward pass to arrange.
 */

export interface PackingOptions {
  /** Longest row, unless a single example is longer. */
  readonly maximumLength: number;
  /**
   * The row length at which attention, which grows with the square, costs as much as everything that grows with
   * the number of positions. Decides between few long rows and many short ones.
   */
  readonly attentionLength: number;
}

export interface PackedRows {
  /** Indices of the examples of every row, in their order in the row. */
  readonly rows: readonly (readonly number[])[];
  /** Of every row, a multiple of what was asked for. */
  readonly length: number;
}

/** Lengths tried between the shortest that could do and the one that does. */
const lengthsTried = 64;

/**
 * Packs examples into rows of one length. For every number of rows the shortest length is sought into which
 * best-fit-decreasing puts all examples; of these the cheapest by positions * (1 + length / attentionLength) wins.
 * The same lengths give the same rows.
 */
export function packRows(lengths: readonly number[], multiple: number, options: PackingOptions): PackedRows {
  const roundUp = (length: number): number => Math.ceil(length / multiple) * multiple;
  const order = lengths
    .map((_, index) => index)
    .sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0) || a - b);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const shortest = roundUp(Math.max(1, ...lengths));
  const longest = Math.max(shortest, Math.floor(options.maximumLength / multiple) * multiple);
  const cost = ({ rows, length }: PackedRows): number =>
    rows.length * length * (1 + length / options.attentionLength);
  let best: PackedRows = { rows: bestFitDecreasing(lengths, order, shortest), length: shortest };
  for (let count = best.rows.length - 1; count >= 1; count--) {
    const start = Math.max(shortest, roundUp(total / count));
    const step = Math.max(multiple, roundUp(start / lengthsTried));
    for (let length = start; length <= longest; length += step) {
      const rows = bestFitDecreasing(lengths, order, length);
      if (rows.length > count) continue;
      if (cost({ rows, length }) < cost(best)) best = { rows, length };
      break;
    }
  }
  return best;
}

/** Each example, the longest first, goes to the row that it fills best; ties to the earlier row. */
function bestFitDecreasing(
  lengths: readonly number[],
  order: readonly number[],
  capacity: number,
): number[][] {
  const rows: number[][] = [];
  const free: number[] = [];
  for (const index of order) {
    const length = lengths[index] ?? 0;
    let chosen = -1;
    for (const [row, left] of free.entries())
      if (left >= length && (chosen < 0 || left < (free[chosen] ?? 0))) chosen = row;
    if (chosen < 0) {
      rows.push([index]);
      free.push(capacity - length);
      continue;
    }
    rows[chosen]?.push(index);
    free[chosen] = (free[chosen] ?? 0) - length;
  }
  return rows;
}
