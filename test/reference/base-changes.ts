/** @file Methods that change the base before training: the changed tensors against PEFT's. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { loadAdapter } from "../../src/adapters/folder.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import type { Base } from "../../src/base/base.ts";
import { withBaseChanges } from "../../src/base/changed-base.ts";
import type { BaseChange } from "../../src/methods/contract.ts";
import { entryValues, findEntry } from "../../src/methods/layout.ts";
import { singularValueDecomposition } from "../../src/tensor/singular-values.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { CaseFailure, compare, floats, readTensors, tolerances, widened } from "./cases.ts";

/** Compares the tensors that a method changes with PEFT's, where the case has them. */
export function checkBaseChanges(folder: string, base: Base, adapter: Adapter): void {
  const recorded = recordedChanges(folder);
  const changed = withBaseChanges(base, [adapter]);
  const changes = adapter.method.baseChanges ?? [];
  for (const change of changes) {
    const { stored, shape } = change;
    if (!recorded.has(stored))
      throw new CaseFailure(`the base changes at ${stored}, PEFT leaves it as it is`);
    const bound = widened(tolerances.values, decompositionError(base, change));
    compare(`changed ${stored}`, { shape, data: changed.read(stored) }, floats(recorded, stored), bound);
  }
  const others = [...recorded.keys()].filter((name) => !changes.some(({ stored }) => stored === name));
  if (others.length > 0)
    throw new CaseFailure(`PEFT changes the base at ${others.join(", ")}, deltafit does not`);
}

/**
 * An adapter whose changes of the base are those that PEFT recorded where PEFT itself, on another machine, would come to
 * others: all that is computed with them is then held to the usual bounds. However small the differences of single
 * matrices are, they add up over layers and steps.
 */
export function withRecordedChanges(folder: string, base: Base, adapter: Adapter): Adapter {
  const recorded = recordedChanges(folder);
  if (recorded.size === 0) return adapter;
  const initial = loadAdapter(join(folder, "adapter"), base);
  const baseChanges = adapter.method.baseChanges?.map((change): BaseChange => {
    if (decompositionError(base, change) === 0) return change;
    const start = (key: string) => entryValues(initial.values, findEntry(initial.layout, initial.name, key));
    return {
      ...change,
      recipe: `${change.recipe}, as recorded`,
      apply: () => ({
        changed: Float32Array.from(floats(recorded, change.stored).data),
        starts: change.starts.map(({ key }) => start(key)),
      }),
    };
  });
  return withValues<MethodType>({ ...adapter, method: { ...adapter.method, baseChanges } }, adapter.values);
}

function recordedChanges(folder: string): ReadonlyMap<string, Tensor> {
  const path = join(folder, "base_changes.safetensors");
  return existsSync(path) ? readTensors(path) : new Map<string, Tensor>();
}

/**
 * How far the largest singular part of a matrix may be from the exact one where it is computed in float32, as PEFT
 * does: rounding turns singular vectors by its size over the distance of their values (Golub and Van Loan, "Matrix
 * Computations", theorem 8.6.5). deltafit computes in float64.
 */
function decompositionError(base: Base, { stored, shape, starts, recipe }: BaseChange): number {
  // Only PiSSA takes its start from the matrix itself by singular values.
  if (!recipe.startsWith("pissa")) return 0;
  const [rows = 0, columns = 0] = shape;
  const rank = starts[0]?.shape[0] ?? 0;
  const { values } = singularValueDecomposition(base.read(stored), rows, columns, { rank: rank + 1 });
  const [largest = 0, last = 0, next = 0] = [values[0], values[rank - 1], values[rank]];
  return (2 ** -24 * largest * last) / (last - next);
}
