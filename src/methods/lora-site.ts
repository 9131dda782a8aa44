/** @file A module that LoRA adapts, as its parts see it. */

/** One adapted module with its own rank and factor. */
export interface LoraSite {
  readonly path: string;
  readonly rank: number;
  /** alpha / rank or alpha / sqrt(rank) */
  readonly factor: number;
  readonly in: number;
  readonly out: number;
  readonly kind: "linear" | "embedding";
  /** Whether the stored matrix is [in, out]; an embedding's table is. */
  readonly transposed: boolean;
  /** Keys of A [rank, in] and B [out, rank]. */
  readonly a: string;
  readonly b: string;
}
