/**
 * @file LayerNorm tuning (Zhao et al. 2023, "Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM
 * Finetuning"): the scales, and where there are any the biases, of norms are trained in place, and nothing else.
 * They start as the base's own; merging puts them in place.
 */
import type { Method, ModuleTable } from "./contract.ts";
import { boundOf, savedModules, trainedParameters } from "./saved-modules.ts";
import type { SavedModules } from "./saved-modules.ts";
import { matchTargets } from "./targets.ts";
import type { TargetSettings } from "./targets.ts";

export type LnTuningConfiguration = TargetSettings;

export const lnTuning: Method<LnTuningConfiguration> = {
  type: "LN_TUNING",
  summary: "LayerNorm tuning: the scales and biases of norms, trained in place (Zhao et al. 2023)",
  bind(configuration, modules) {
    const norms = trainedNorms(configuration, modules);
    const { modulesToSave = [] } = configuration;
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    return boundOf({
      parameters: [...norms.parameters, ...saved.parameters],
      hooks: (use) => {
        const [own, others] = [norms.hooks(use), saved.hooks(use)];
        return { parameter: (parameter) => own.parameter?.(parameter) ?? others.parameter?.(parameter) };
      },
      merge: [...norms.merge, ...saved.merge],
    });
  },
};

function trainedNorms(configuration: LnTuningConfiguration, modules: ModuleTable): SavedModules {
  const names = new Set(
    matchTargets(configuration, modules, ["norms"]).flatMap((path) => [`${path}.weight`, `${path}.bias`]),
  );
  return trainedParameters(modules, ({ name }) => names.has(name), "apart");
}
