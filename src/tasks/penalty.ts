/**
 * @file The terms of the loss that methods add themselves, as a graph of its own: it depends on parameters alone, so it
 * runs once for an update, however many batches the update is made from. Knows no method.
 */
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import { findEntry } from "../methods/layout.ts";
import type { LayoutEntry, ParameterLayout } from "../methods/layout.ts";
import { lossAndGradient, trainableInput } from "./pass.ts";
import type { TaskAdapter } from "./pass.ts";

/**
 * Outputs "loss", the sum of the terms, and "gradient", flat in the layout's order; the input is the flat vector of
 * everything trained. `undefined` where no method adds a term.
 */
export function buildPenaltyGraph(
  adapters: readonly Pick<TaskAdapter, "name" | "method">[],
  layout: ParameterLayout,
): Graph | undefined {
  const builder = new GraphBuilder();
  const vector = builder.input(trainableInput, "float32", [layout.size]);
  const trained = (entry: LayoutEntry) => builder.slice(vector, 0, entry.offset, entry.offset + entry.size);
  const terms = adapters.flatMap(({ name, method }) => {
    const parameter = (key: string) => {
      const entry = findEntry(layout, name, key);
      return builder.reshape(trained(entry), entry.shape);
    };
    return method.penalty?.({ builder, parameter }) ?? [];
  });
  const [first, ...others] = terms;
  if (!first) return undefined;
  const loss = others.reduce((sum, term) => builder.add(sum, term), first);
  return graphOf(lossAndGradient({ builder, layout, trained, segments: [] }, loss));
}
