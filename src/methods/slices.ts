/** @file Slices of fused linear layers: a projection each, by the layer's path and the slice's name. Knows no method. */
import type { LinearSite } from "../models/forward.ts";
import type { ModuleTable } from "./contract.ts";

/** Outputs `start` to `start + out - 1` of a layer. */
export interface LayerSlice {
  readonly layer: LinearSite;
  readonly start: number;
  readonly out: number;
}

/** All slices by their paths, such as "transformer.h.0.attn.c_attn.query". */
export function slicesOf({ linears }: Pick<ModuleTable, "linears">): ReadonlyMap<string, LayerSlice> {
  const found = new Map<string, LayerSlice>();
  for (const layer of linears.values()) {
    let start = 0;
    for (const { name, out } of layer.slices ?? []) {
      found.set(`${layer.path}.${name}`, { layer, start, out });
      start += out;
    }
  }
  return found;
}
