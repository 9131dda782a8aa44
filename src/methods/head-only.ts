/**
 * @file The task's head alone, on the frozen features of the body (linear probing; Alain and Bengio 2016,
 * "Understanding intermediate layers using linear classifier probes"). What the papers compare as the cheapest
 * baseline. The head starts as the base's own, or as a new one; merging puts it in place.
 */
import { DeltafitError } from "../errors.ts";
import type { Method } from "./contract.ts";
import { boundOf, checkNames, trainedParameters } from "./saved-modules.ts";
import { savedWith } from "./targets.ts";

export interface HeadOnlyConfiguration {
  /** The modules of the head, trained whole; left out, all that the task adds to the body. */
  readonly modulesToSave?: readonly string[] | undefined;
}

export const headOnly: Method<HeadOnlyConfiguration> = {
  type: "HEAD_ONLY",
  summary: "The task's head alone, on the frozen features of the body (linear probing)",
  bind({ modulesToSave }, modules) {
    const heads = modulesToSave?.length ? modulesToSave : modules.headModules;
    checkNames(heads, modules);
    const own = trainedParameters(
      modules,
      // What is tied to the input embedding is the body's.
      ({ name, stored }) => name === stored && savedWith(heads, name),
      "apart",
    );
    if (own.parameters.length === 0)
      throw new DeltafitError(
        "target-unmatched",
        "Head only: the model has no head of its own; its output embedding is the input embedding's matrix.",
        "Use a method that adapts the body, such as LoRA.",
      );
    return boundOf(own);
  },
};
