/**
 * @file BitFit (Ben Zaken et al. 2022, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
 * Language-models"): of every layer y = W x + b the biases b are trained in place, those of norms included, and
 * nothing else but the task's head. They start as the base's own; merging puts them in place.
 */
import { DeltafitError } from "../errors.ts";
import type { Method, ModuleTable } from "./contract.ts";
import { boundOf, savedModules, trainedParameters } from "./saved-modules.ts";
import type { SavedModules } from "./saved-modules.ts";
import { nearestName, namesModule, savedWith } from "./targets.ts";
import type { ModuleNames } from "./targets.ts";

export interface BitFitConfiguration {
  /** Modules whose biases are trained, such as the paper's ["query", "intermediate.dense"]; left out, all. */
  readonly targets?: ModuleNames | undefined;
  /** Modules that are trained whole, such as the task's head. */
  readonly modulesToSave?: readonly string[] | undefined;
}

export const bitFit: Method<BitFitConfiguration> = {
  type: "BITFIT",
  summary: "BitFit: the biases of layers and norms, trained in place (Ben Zaken et al. 2022)",
  bind({ targets, modulesToSave = [] }, modules) {
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    const biases = trainedBiases(targets, modulesToSave, modules);
    return boundOf({
      parameters: [...biases.parameters, ...saved.parameters],
      hooks: (use) => {
        const [own, others] = [biases.hooks(use), saved.hooks(use)];
        return { parameter: (parameter) => own.parameter?.(parameter) ?? others.parameter?.(parameter) };
      },
      merge: [...biases.merge, ...saved.merge],
    });
  },
};

const suffix = ".bias";

function trainedBiases(
  targets: ModuleNames | undefined,
  modulesToSave: readonly string[],
  modules: ModuleTable,
): SavedModules {
  const paths = [...modules.parameters.keys()]
    .filter((name) => name.endsWith(suffix) && !savedWith(modulesToSave, name))
    .map((name) => name.slice(0, -suffix.length));
  const isMeant = (path: string) => targets === undefined || namesModule(targets, path);
  for (const name of typeof targets === "object" ? targets : [])
    if (!paths.some((path) => namesModule([name], path))) throw withoutBias(name, paths);
  const trained = new Set(paths.filter(isMeant).map((path) => path + suffix));
  if (trained.size === 0) throw withoutBias(targets, paths);
  return trainedParameters(modules, ({ name }) => trained.has(name), "apart");
}

function withoutBias(targets: ModuleNames | undefined, paths: readonly string[]): DeltafitError {
  if (paths.length === 0)
    return new DeltafitError(
      "target-unmatched",
      "BitFit: the model has no biases.",
      "Use a method that adapts matrices or norms, such as LoRA.",
    );
  const names = [...new Set(paths.map((path) => path.split(".").at(-1) ?? path))].sort();
  const nearest = typeof targets === "string" ? nearestName(targets, names) : undefined;
  return new DeltafitError(
    "target-unmatched",
    `BitFit: the target ${JSON.stringify(targets)} matches no module with a bias.`,
    `${nearest === undefined ? "" : `Did you mean "${nearest}"? `}Modules with a bias are ${names.join(", ")}.`,
  );
}
