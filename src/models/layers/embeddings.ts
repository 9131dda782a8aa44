/** @file The input of the encoders that descend from BERT: summed embeddings of words, segments and positions, normalised. */
import type { Value } from "../../graph/graph.ts";
import type { ForwardContext } from "../forward.ts";

export interface EmbeddingSettings {
  /** Module of the embeddings, such as "bert.embeddings". */
  readonly path: string;
  /** Width of the embeddings. */
  readonly size: number;
  readonly words: number;
  /** Rows of the table of positions; 0 where positions come in elsewhere. */
  readonly positions: number;
  /** Rows of the table of segments; 0 where segments are not told apart. */
  readonly segments: number;
  /** Id of the padding token: its rows get no gradient. */
  readonly padding: number | undefined;
  /** The row of the table of positions that padding has. */
  readonly paddingPosition?: number | undefined;
  readonly epsilon: number;
  readonly dropout: number;
}

/** The sum of a token's embeddings: [tokens, size]. */
export function sumEmbeddings(
  context: ForwardContext,
  {
    path,
    size,
    words,
    positions,
    segments,
    padding,
    paddingPosition,
  }: Omit<EmbeddingSettings, "epsilon" | "dropout">,
): Value {
  const { builder } = context;
  const wordTable = { path: `${path}.word_embeddings`, rows: words, size, paddingRow: padding };
  let sum = context.tokenEmbedding(wordTable);
  if (segments > 0) {
    const site = { path: `${path}.token_type_embeddings`, rows: segments, size };
    sum = builder.add(sum, context.tokenTypeEmbedding(site));
  }
  if (positions > 0) {
    const site = { path: `${path}.position_embeddings`, rows: positions, size, paddingRow: paddingPosition };
    sum = builder.add(sum, context.positionEmbedding(site));
  }
  return sum;
}

/** The sum, normalised, with dropout: [tokens, size]. */
export function embedTokens(context: ForwardContext, settings: EmbeddingSettings): Value {
  const { path, size, epsilon, dropout } = settings;
  const sum = sumEmbeddings(context, settings);
  return context.dropout(context.layerNorm(`${path}.LayerNorm`, sum, size, epsilon), dropout);
}
