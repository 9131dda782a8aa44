/** @file The methods as the command line offers them: their names, and their configurations from flags. */
import { createAdapter } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { defaultTargets } from "../adapters/method-table.ts";
import type { MethodType } from "../adapters/method-table.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { loraDefaults } from "../methods/lora.ts";
import type { BiasTraining } from "../methods/saved-modules.ts";
import type { ModuleNames } from "../methods/targets.ts";
import { kebab } from "./flags.ts";

/** What the flags of methods say; `undefined` and false where a flag is not given. */
export interface MethodValues {
  readonly rank: number | undefined;
  readonly alpha: number | undefined;
  readonly dropout: number | undefined;
  readonly targets: readonly string[] | undefined;
  readonly targetsPattern: string | undefined;
  readonly exclude: readonly string[] | undefined;
  readonly layersToTransform: readonly number[] | undefined;
  readonly rankPattern: Readonly<Record<string, number>> | undefined;
  readonly alphaPattern: Readonly<Record<string, number>> | undefined;
  readonly rankStabilised: boolean;
  readonly bias: BiasTraining | undefined;
  readonly modulesToSave: readonly string[] | undefined;
}

interface MethodRow {
  /** Learning rate where none is given. */
  readonly learningRate: number;
  /** Flags the method has a use for. */
  readonly uses: readonly (keyof MethodValues)[];
  readonly create: (base: Base, values: MethodValues, seed: number) => Adapter;
}

const rows: Readonly<Record<Lowercase<MethodType>, MethodRow>> = {
  lora: {
    learningRate: 5e-4,
    uses: [
      "rank",
      "alpha",
      "dropout",
      "targets",
      "targetsPattern",
      "exclude",
      "layersToTransform",
      "rankPattern",
      "alphaPattern",
      "rankStabilised",
      "bias",
      "modulesToSave",
    ],
    create(base, values, seed) {
      const {
        rank = loraDefaults.rank,
        alpha = 2 * rank,
        dropout = 0,
        rankStabilised,
        bias = "none",
      } = values;
      const { exclude, layersToTransform, rankPattern, alphaPattern, modulesToSave } = values;
      const targets = targetsOf(values) ?? defaultTargets("LORA", base.model.modelType);
      const patterns = { rankPattern, alphaPattern };
      const modules = { targets, exclude, layersToTransform, modulesToSave };
      return createAdapter({
        base,
        type: "LORA",
        configuration: {
          ...loraDefaults,
          rank,
          alpha,
          dropout,
          rankStabilised,
          bias,
          ...patterns,
          ...modules,
        },
        seed,
      });
    },
  },
  full: {
    learningRate: 5e-5,
    uses: [],
    create: (base, _values, seed) => createAdapter({ base, type: "FULL", configuration: {}, seed }),
  },
};

export const methodNames = Object.keys(rows) as (keyof typeof rows)[];
export type MethodName = keyof typeof rows;

export const defaultLearningRate = (method: MethodName): number => rows[method].learningRate;

function targetsOf({ targets, targetsPattern }: MethodValues): ModuleNames | undefined {
  if (targets !== undefined && targetsPattern !== undefined)
    throw new DeltafitError(
      "usage-invalid",
      "--targets and --targets-pattern exclude each other.",
      "Leave one of them out.",
    );
  if (targets?.length === 1 && targets[0]?.toLowerCase() === "all-linear") return "all-linear";
  return targets ?? targetsPattern;
}

/**
 * A new adapter as the flags want it.
 * @throws DeltafitError `usage-invalid` for a flag that the method has no use for; what `createAdapter` throws.
 */
export function createAdapterFromFlags(
  base: Base,
  method: MethodName,
  values: MethodValues,
  seed: number,
): Adapter {
  const { uses, create } = rows[method];
  for (const name of rows.lora.uses)
    if (values[name] !== undefined && values[name] !== false && !uses.includes(name))
      throw new DeltafitError(
        "usage-invalid",
        `--${kebab(name)}: the method ${method} has no such setting.`,
        "Leave it out.",
      );
  return create(base, values, seed);
}
