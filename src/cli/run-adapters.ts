/**
 * @file The adapters of a training run: those that are active and stay as they are, and those it trains, which are new
 * ones as the flags describe them or an earlier run's to go on from. Knows no data.
 */
import type { Adapter, BoundAdapter } from "../adapters/adapter.ts";
import { loadAdapter } from "../adapters/folder.ts";
import type { MethodType } from "../adapters/method-table.ts";
import type { StackEntry } from "../adapters/stack.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { bindMethodsFromFlags, refuseMethodSettings } from "./methods.ts";
import { findAdapters } from "./model.ts";
import type { FoundAdapters } from "./model.ts";
import { defaultMethods } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";
import type { TrainValues } from "./train-flags.ts";

/** Adapters of a run that were found but not loaded. */
export interface FoundRunAdapters extends Pick<FoundAdapters, "notes" | "labelCount"> {
  /** Adapters under those that are trained. */
  readonly frozen: readonly StackEntry[];
  /** What training goes on from; `undefined` where it starts from new adapters. */
  readonly initial: readonly StackEntry[] | undefined;
}

/** @throws DeltafitError `usage-invalid` for an adapter to go on from and settings of a new one; what finding throws. */
export async function findRunAdapters(values: TrainValues, terminal: Terminal): Promise<FoundRunAdapters> {
  const { frozen = [], initialAdapter, method } = values;
  const under = await findAdapters(frozen, terminal);
  if (initialAdapter === undefined) return { ...under, frozen: under.entries, initial: undefined };
  // The default itself, and not merely the same names: then nothing was given.
  if (method !== defaultMethods)
    throw new DeltafitError(
      "usage-invalid",
      "--method and --initial-adapter exclude each other.",
      "Leave one of them out; --frozen puts a new adapter on one that stays as it is.",
    );
  refuseMethodSettings(values);
  const initial = await findAdapters([initialAdapter], terminal);
  return {
    frozen: under.entries,
    initial: initial.entries,
    notes: initial.notes ?? under.notes,
    labelCount: initial.labelCount ?? under.labelCount,
  };
}

/** The adapters of a run on its base. */
export interface RunAdapters {
  /** Under those that are trained, the nearest to the base first. */
  readonly frozen: readonly Adapter[];
  /** Those that are trained, without their values. */
  readonly trained: readonly BoundAdapter<MethodType>[];
  /** Those that are trained, as an earlier run left them; `undefined` where they are new. */
  readonly loaded: readonly Adapter[] | undefined;
}

/** Loads the adapters there are, and fits those there will be. @throws DeltafitError as `loadAdapter`. */
export function openRunAdapters(found: FoundRunAdapters, base: Base, values: TrainValues): RunAdapters {
  // Called by their numbers: so are their folders beside the new ones'.
  const under = found.frozen.map(({ folder }, index) => loadAdapter(folder, base, `frozen-${index + 1}`));
  if (found.initial === undefined)
    return { frozen: under, trained: bindMethodsFromFlags(base, values.method, values), loaded: undefined };
  const load = (isFrozen: boolean): Adapter[] =>
    (found.initial ?? [])
      .filter(({ frozen }) => frozen === isFrozen)
      .map(({ folder, name }) => loadAdapter(folder, base, name));
  const loaded = load(false);
  return { frozen: [...under, ...load(true)], trained: loaded, loaded };
}
