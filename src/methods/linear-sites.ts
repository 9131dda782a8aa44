/** @file The linear layers that a method adapts, and how merging changes their matrices. Knows no method. */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { MergeRule, ModuleTable } from "./contract.ts";
import { matchTargets } from "./targets.ts";
import type { TargetSettings } from "./targets.ts";

/** The targeted linear layers by their paths. @throws DeltafitError `target-unmatched`. */
export function linearSites(settings: TargetSettings, modules: ModuleTable): ReadonlyMap<string, LinearSite> {
  return new Map(
    matchTargets(settings, modules, ["linears"]).flatMap((path) => {
      const site = modules.linears.get(path);
      return site ? [[path, site] as const] : [];
    }),
  );
}

/** The rule that adds a change [out, in] to a layer's matrix, whichever way round it is stored. */
export function addedToWeight(
  site: LinearSite,
  change: (use: Parameters<MergeRule["merged"]>[0]) => Value,
): MergeRule {
  return {
    stored: storedWeight(site),
    merged: (use, base) => use.builder.add(base, asStored(use.builder, site, change(use))),
  };
}

/** Name of the tensor that holds a layer's matrix. */
export function storedWeight({ path, tiedWeight }: LinearSite): string {
  return tiedWeight ?? `${path}.weight`;
}

/** A matrix [out, in] in the layout in which the layer stores its own. */
function asStored(builder: GraphBuilder, { layout }: LinearSite, matrix: Value): Value {
  return layout === "in-out" ? builder.transposeLast(matrix) : matrix;
}
