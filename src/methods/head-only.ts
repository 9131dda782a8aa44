/**
 * @file The task's head alone, on the frozen features of the body (linear probing; Alain and Bengio 2016,
 * "Understanding intermediate layers using linear classifier probes"). What the papers compare as the cheapest
 * baseline. The head starts as the base's own, or as a new one; merging puts it in place.
 */
import { DeltafitError } from "../errors.ts";
import type { Method } from "./contract.ts";
import { boundOf, savedModules } from "./saved-modules.ts";

export interface HeadOnlyConfiguration {
  /** The modules of the head, trained whole; left out, all that the task adds to the body. */
  readonly modulesToSave?: readonly string[] | undefined;
}

export const headOnly: Method<HeadOnlyConfiguration> = {
  type: "HEAD_ONLY",
  summary: "The task's head alone, on the frozen features of the body (linear probing)",
  bind({ modulesToSave }, modules) {
    const heads = modulesToSave?.length ? modulesToSave : modules.headModules;
    if (heads.length === 0)
      throw new DeltafitError(
        "target-unmatched",
        "Head only: the model has no head besides its body.",
        "Use a method that adapts the body, such as LoRA.",
      );
    return boundOf(savedModules({ modulesToSave: heads, bias: "none", adapted: [] }, modules));
  },
};
