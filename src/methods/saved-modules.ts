/**
 * @file Parameters of the base that are trained themselves, in place of being frozen: whole modules
 * (PEFT's `modules_to_save`) and biases. One mechanism: some paths resolve to the trainable vector.
 */
import { DeltafitError } from "../errors.ts";
import type {
  BaseParameter,
  BoundMethod,
  ForwardHooks,
  MergeRule,
  MethodUse,
  ModuleTable,
  ParameterSpec,
} from "./contract.ts";
import { nearestName, savedWith } from "./targets.ts";

/** "none", every bias of the model, or the biases of adapted layers. */
export type BiasTraining = "none" | "all" | "adapted";

export interface SavedModulesSettings {
  readonly modulesToSave: readonly string[];
  readonly bias: BiasTraining;
  /** Paths of the modules the method adapts. */
  readonly adapted: readonly string[];
}

/** The part of a method that trains parameters of the base as they are. */
export interface SavedModules {
  readonly parameters: readonly ParameterSpec[];
  readonly hooks: (use: MethodUse) => Pick<ForwardHooks, "parameter">;
  readonly merge: readonly MergeRule[];
}

/** @throws DeltafitError `target-unmatched` for a module that is not there. */
export function savedModules(settings: SavedModulesSettings, modules: ModuleTable): SavedModules {
  checkNames(settings.modulesToSave, modules);
  const chosen = ({ name }: BaseParameter) => {
    if (savedWith(settings.modulesToSave, name)) return true;
    if (settings.bias === "none" || !name.endsWith(".bias")) return false;
    return settings.bias === "all" || settings.adapted.includes(name.slice(0, -".bias".length));
  };
  return trainedParameters(modules, chosen, "apart");
}

/**
 * The parameters that `chosen` accepts, trained in place. Their keys are their own names.
 * @param tied "shared" trains a tied tensor for every module that uses it; "apart" unties the chosen module,
 * as PEFT does: the others keep the base's tensor.
 */
export function trainedParameters(
  modules: ModuleTable,
  chosen: (parameter: BaseParameter) => boolean,
  tied: "shared" | "apart",
): SavedModules {
  const parameters = [...modules.parameters.values()].filter(chosen);
  const names = new Set(parameters.map(({ name }) => name));
  return {
    parameters: parameters.map(({ name, shape }) => ({
      key: name,
      shape,
      initial: ({ base }) => base(name),
    })),
    hooks: (use) => ({
      parameter({ name, stored }) {
        const own = tied === "shared" ? stored : name;
        return names.has(own) ? use.parameter(own) : undefined;
      },
    }),
    merge: parameters.map(({ name, stored }) => ({
      stored,
      only: tied === "apart" ? name : undefined,
      merged: ({ parameter }) => parameter(name),
    })),
  };
}

/** @throws DeltafitError `target-unmatched` for a name that is no module's. */
export function checkNames(names: readonly string[], modules: ModuleTable): void {
  const paths = [...modules.parameters.keys()].map((name) => name.split(".").slice(0, -1).join("."));
  for (const name of names) {
    if (paths.some((path) => savedWith([name], path))) continue;
    const segments = [...new Set(paths.flatMap((path) => path.split(".")))]
      .filter((segment) => !/^\d+$/.test(segment))
      .sort();
    const nearest = nearestName(name, segments);
    throw new DeltafitError(
      "target-unmatched",
      `modules_to_save: "${name}" is no module of the model.`,
      `${nearest === undefined ? "" : `Did you mean "${nearest}"? `}The modules are ${segments.join(", ")}.`,
    );
  }
}

/** A method that only trains parameters of the base merges by putting them in place. */
export function boundOf(saved: SavedModules): BoundMethod {
  return { parameters: saved.parameters, hooks: saved.hooks, merge: saved.merge };
}
