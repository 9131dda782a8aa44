/** @file A module that LoRA adapts, as its parts see it. */

/** One adapted module, or slice of a fused layer, with its own rank and factor. */
export interface LoraSite {
  readonly path: string;
  /** Path of the module whose matrix is adapted: for a slice its layer's, otherwise `path`. */
  readonly module: string;
  /** Where a slice begins among the outputs of its layer, and how many the layer has. */
  readonly slice?: { readonly start: number; readonly of: number } | undefined;
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
