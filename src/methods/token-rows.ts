/**
 * @file Trained rows of the token embedding (PEFT's trainable tokens): the vectors of a few tokens are replaced by
 * trained ones, W' = W + P (D - W[t]) with P [rows, n] the one-hot columns of the tokens t and D [n, size] the rows as
 * they are trained. D starts as the base's rows, so that training starts from the base. An output embedding that
 * shares the table changes with it: its logits are h W^T + (h (D - W[t])^T) P^T, so that W' is made for merging alone.
 */
import { DeltafitError } from "../errors.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { EmbeddingSite } from "../models/forward.ts";
import type {
  BoundMethod,
  ForwardHooks,
  MergeRule,
  MethodUse,
  ModuleTable,
  ParameterSpec,
} from "./contract.ts";
import { namesModule } from "./targets.ts";
import type { ModuleNames } from "./targets.ts";

export interface TokenRowsSettings {
  /** Ids of the tokens. */
  readonly tokens: readonly number[];
  /** The token embedding; left out, the model's own. */
  readonly targets?: ModuleNames | undefined;
  /** What follows the embedding's path in the parameter's key. */
  readonly suffix: string;
}

export interface BoundRows extends BoundMethod {
  readonly merge: readonly MergeRule[];
}

/** @throws DeltafitError `config-invalid`, `target-unmatched`. */
export function tokenRows({ tokens, targets, suffix }: TokenRowsSettings, modules: ModuleTable): BoundRows {
  const site = tokenEmbedding(modules, targets);
  checkTokens(tokens, site);
  const weight = `${site.path}.weight`;
  const stored = modules.parameters.get(weight)?.stored ?? weight;
  const key = `${site.path}.${suffix}`;
  return {
    parameters: [specOf(key, weight, tokens, site)],
    hooks: (use) => hooksOf(use, { site, weight, stored, key, tokens }),
    merge: [mergeRule(stored, key, tokens, site)],
  };
}

function tokenEmbedding(modules: ModuleTable, targets: ModuleNames | undefined): EmbeddingSite {
  const own = modules.embeddings.get(modules.tokenEmbedding ?? "");
  if (own && (targets === undefined || namesModule(targets, own.path))) return own;
  throw new DeltafitError(
    "target-unmatched",
    `Trained tokens: ${targets === undefined ? "the model has no token embedding" : `${JSON.stringify(targets)} does not name the token embedding`}.`,
    own && `The token embedding is "${own.path}".`,
  );
}

function checkTokens(tokens: readonly number[], { rows, path }: EmbeddingSite): void {
  const refuse = (message: string) => {
    throw new DeltafitError("config-invalid", `Trained tokens: ${message}`, "Give each token's id once.");
  };
  if (tokens.length === 0) refuse("there are none.");
  for (const [index, token] of tokens.entries()) {
    if (!Number.isInteger(token) || token < 0 || token >= rows)
      refuse(`the id ${token} is outside of "${path}", which has ${rows} rows.`);
    if (tokens.indexOf(token) !== index) refuse(`the id ${token} occurs twice.`);
  }
}

function specOf(
  key: string,
  weight: string,
  tokens: readonly number[],
  { size }: EmbeddingSite,
): ParameterSpec {
  return {
    key,
    shape: [tokens.length, size],
    initial({ base }) {
      const table = base(weight);
      const rows = new Float32Array(tokens.length * size);
      for (const [row, token] of tokens.entries())
        rows.set(table.subarray(token * size, (token + 1) * size), row * size);
      return rows;
    },
  };
}

/** P: [rows, n], a column for each token. */
function oneHot(builder: GraphBuilder, tokens: readonly number[], rows: number): Value {
  const ids = builder.reshape(builder.range(rows), [rows, 1]);
  const wanted = builder.constant("int64", [1, tokens.length], tokens);
  return builder.cast(builder.equal(ids, wanted), "float32");
}

interface RowsUse {
  readonly site: EmbeddingSite;
  readonly weight: string;
  readonly stored: string;
  readonly key: string;
  readonly tokens: readonly number[];
}

function hooksOf(use: MethodUse, { site, weight, stored, key, tokens }: RowsUse): ForwardHooks {
  const { builder } = use;
  const change = (): Value => {
    const ids = builder.constant("int64", [tokens.length], tokens);
    return use.weighted(builder.subtract(use.parameter(key), builder.gather(use.base(weight), ids, true)));
  };
  return {
    embedding({ path }, next, lookup) {
      const base = next();
      if (path !== site.path) return base;
      return builder.gemm(lookup(oneHot(builder, tokens, site.rows)), change(), { c: base });
    },
    linear({ tiedWeight }, x, next) {
      const base = next(x);
      if (tiedWeight !== stored) return base;
      const products = builder.gemm(x, change(), { transB: true });
      return builder.gemm(products, oneHot(builder, tokens, site.rows), { transB: true, c: base });
    },
  };
}

function mergeRule(
  stored: string,
  key: string,
  tokens: readonly number[],
  { rows }: EmbeddingSite,
): MergeRule {
  return {
    stored,
    merged({ builder, parameter }, base) {
      const columns = oneHot(builder, tokens, rows);
      const isTrained = builder.lessOrEqual(builder.scalar(1), builder.reduceSum(columns, [1]));
      return builder.where(isTrained, builder.gemm(columns, parameter(key)), base);
    },
  };
}
