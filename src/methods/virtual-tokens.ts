/** @file What the methods with virtual tokens have in common: their number, and the table of what is saved. Knows no method. */
import { DeltafitError } from "../errors.ts";
import type { EmbeddingSite } from "../models/forward.ts";
import type { BoundMethod, ModuleTable } from "./contract.ts";

/** Key of what stands for the virtual tokens: embeddings, or keys and values. */
export const promptEmbeddings = "prompt_embeddings";

/** Why a method that puts tokens in front of the sequence cannot merge. */
export const tokensInFront: BoundMethod["merge"] = {
  impossible: "tokens in front of the sequence are no change of the base's matrices.",
};

/** @throws DeltafitError `config-invalid`. */
export function checkVirtualTokens(method: string, virtualTokens: number): void {
  if (Number.isInteger(virtualTokens) && virtualTokens > 0) return;
  throw new DeltafitError(
    "config-invalid",
    `${method}: the number of virtual tokens is ${virtualTokens}; expected a whole number above 0.`,
    "Common numbers are 8 to 100.",
  );
}

/** Whether the model is an encoder-decoder: virtual tokens then stand in front of what it reads. */
export function readsSource({ attentions }: Pick<ModuleTable, "attentions">): boolean {
  return attentions.some(({ kind }) => kind === "cross");
}

/**
 * Rows of the table behind virtual tokens. For an encoder-decoder PEFT trains as many again for what the model writes;
 * its forward pass never reads them, and neither does ours, but files and encoders over all rows hold them.
 */
export function promptRows(virtualTokens: number, modules: Pick<ModuleTable, "attentions">): number {
  return readsSource(modules) ? 2 * virtualTokens : virtualTokens;
}

/** The table that tokens are looked up in. @throws DeltafitError `method-unsupported` where there is none. */
export function tokenTable(method: string, { embeddings, tokenEmbedding }: ModuleTable): EmbeddingSite {
  const site = embeddings.get(tokenEmbedding ?? "");
  if (site) return site;
  throw new DeltafitError(
    "method-unsupported",
    `${method}: the model looks no tokens up, so there is nothing to put virtual tokens in front of.`,
    "Use a method that adapts matrices, such as LoRA.",
  );
}
