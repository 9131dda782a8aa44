/**
 * @file Whether a model that is used and not trained fits into memory, before anything of it is loaded: its weights as they
 * are kept, and the process. What a command needs for its batches besides is small beside these.
 */
import type { BaseShape } from "../base/base.ts";
import { keptBytes } from "../base/weight-storage.ts";
import type { Compute, Storage } from "../base/weight-storage.ts";
import { processBytes } from "../memory/estimate.ts";
import { memoryExceeded } from "./memory-text.ts";

/** By what they lose. */
const smallerStorages = ["bfloat16", "int8", "nf4", "nf4-double"] as const;

/**
 * @param storage Left out where the checkpoint decides.
 * @throws DeltafitError `memory-exceeded`, naming the storages that would fit.
 */
export function checkModelMemory(
  shape: Pick<BaseShape, "configuration" | "modules" | "tableType">,
  { storage, compute }: { readonly storage: Storage | undefined; readonly compute: Compute },
  availableBytes: number,
): void {
  const totalWith = (given: Storage): number =>
    processBytes + keptBytes(shape.modules, given, compute, shape.tableType);
  const total = totalWith(storage ?? storageOf(shape));
  if (total <= availableBytes) return;
  const ways = smallerStorages
    .map((smaller) => ({ settings: { storage: smaller }, totalBytes: totalWith(smaller) }))
    .filter(({ totalBytes }) => totalBytes <= availableBytes);
  throw memoryExceeded({ total }, availableBytes, ways, "No storage makes it fit: use a smaller model.");
}

/** What a checkpoint comes in that transformers has quantised: both kinds of four bits take as much. */
function storageOf({ configuration }: Pick<BaseShape, "configuration">): Storage {
  const quantised = configuration["quantization_config"];
  if (typeof quantised !== "object" || quantised === null) return "float32";
  return "bnb_4bit_use_double_quant" in quantised && quantised.bnb_4bit_use_double_quant === true
    ? "nf4-double"
    : "nf4";
}
