/** @file Full fine-tuning: every parameter of the base is trained. What the papers compare all others with. */
import type { Method } from "./contract.ts";
import { boundOf, trainedParameters } from "./saved-modules.ts";

export const full: Method<Readonly<Record<never, never>>> = {
  type: "FULL",
  summary: "Full fine-tuning: every parameter of the base is trained",
  bind: (_configuration, modules) =>
    boundOf(trainedParameters(modules, ({ name, stored }) => name === stored, "shared")),
};
