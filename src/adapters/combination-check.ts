/** @file What can be combined, and with which settings: the checks before any arithmetic on adapters. */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Adapter } from "./adapter.ts";
import type { CombineOptions } from "./combine.ts";
import type { SparsifyMethod } from "./task-vectors.ts";

interface WeightedLora {
  readonly adapter: Adapter<"LORA">;
  readonly weight: number;
}

interface UsedSettings {
  readonly on: "factors" | "concatenation" | "change";
  readonly sparsify: SparsifyMethod;
  readonly elects: boolean;
}

/** @throws DeltafitError `usage-invalid`, `method-unsupported`. */
export function checkCombination(
  options: CombineOptions,
  kind: UsedSettings,
): readonly [WeightedLora, ...WeightedLora[]] {
  checkSettings(options, kind);
  const { adapters } = options;
  const [first, ...others] = adapters.map(({ adapter, weight }): WeightedLora => {
    if (!Number.isFinite(weight))
      throw invalid(`the weight of ${quote(adapter.name)} is ${weight}; expected a number.`);
    return { adapter: plainLora(adapter), weight };
  });
  if (first === undefined) throw invalid("there is no adapter; expected at least one.");
  refuseSharedModules([first, ...others], options);
  return [first, ...others];
}

function checkSettings(options: CombineOptions, { on, sparsify, elects }: UsedSettings): void {
  const { combinationType, density, majoritySignMethod, svdRank, svdClamp, seed } = options;
  const unused = (name: string, value: unknown, isUsed: boolean) => {
    if (value !== undefined && !isUsed)
      throw invalid(`${combinationType} has no use for ${name}.`, "Leave it out.");
  };
  unused("a density", density, sparsify !== "none");
  unused("majoritySignMethod", majoritySignMethod, elects);
  unused("svdRank", svdRank, on === "change");
  unused("svdClamp", svdClamp, on === "change");
  unused("a seed", seed, sparsify === "random");
  if (sparsify !== "none" && !(density !== undefined && density > 0 && density <= 1))
    throw invalid(
      `${combinationType} keeps a share of the entries: expected a density above 0 and at most 1, found ${density ?? "none"}.`,
      "Common densities are 0.2 to 0.7.",
    );
  if (svdRank !== undefined && !(Number.isInteger(svdRank) && svdRank > 0))
    throw invalid(`svdRank is ${svdRank}; expected a whole number above 0.`);
  if (svdClamp !== undefined && !(svdClamp > 0 && svdClamp <= 1))
    throw invalid(`svdClamp is ${svdClamp}; expected a quantile above 0 and at most 1.`);
}

/** A LoRA whose change is the product of A and B and nothing besides. */
function plainLora(adapter: Adapter): Adapter<"LORA"> {
  const refuse = (why: string, hint: string) =>
    new DeltafitError(
      "method-unsupported",
      `The adapter ${quote(adapter.name)} cannot be combined: ${why}`,
      hint,
    );
  if (adapter.methodType !== "LORA")
    throw refuse(
      `its method is ${adapter.methodType}; expected LORA.`,
      "Convert it to a LoRA first, or merge adapters into the base one after the other.",
    );
  const { magnitude, loraBias, tokens, bias } = adapter.configuration;
  const convert = "Convert it to a plain LoRA first.";
  if ((adapter.method.baseChanges ?? []).length > 0)
    throw refuse(
      "it is made for a base that its start has changed.",
      "Convert it with forUnchangedBase first, where it started as PiSSA or OLoRA.",
    );
  if (adapter.method.condensed !== undefined)
    throw refuse("its values are not yet those of a plain LoRA.", "Save it, and combine what loading gives.");
  if (magnitude) throw refuse("it trains magnitudes (DoRA), which are no sum.", convert);
  if (loraBias) throw refuse("its B has a bias, which the product of A and B does not hold.", convert);
  if (tokens !== undefined) throw refuse("it trains rows of the token embedding as well.", convert);
  if (bias !== "none")
    throw refuse("it trains biases of the base as well.", "Merge it into the base instead.");
  return adapter;
}

/** A module trained whole is a replacement, not a change that could be added to another. */
function refuseSharedModules(
  given: readonly WeightedLora[],
  { base, combinationType }: CombineOptions,
): void {
  const owners = new Map<string, string>();
  for (const { adapter } of given)
    for (const { key } of adapter.layout.entries) {
      const isWhole = base.modules.parameters.has(key);
      const owner = owners.get(key);
      if (isWhole && owner !== undefined)
        throw new DeltafitError(
          "method-unsupported",
          `Combining by ${combinationType}: the adapters ${quote(owner)} and ${quote(adapter.name)} both train ${quote(key)} whole.`,
          "What replaces the base's weights cannot be added. Combine adapters of which one at most trains a module or a head.",
        );
      if (isWhole) owners.set(key, adapter.name);
    }
}

function invalid(reason: string, hint?: string): DeltafitError {
  return new DeltafitError("usage-invalid", `Combining adapters: ${reason}`, hint);
}
