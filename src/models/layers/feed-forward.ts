/** @file The position-wise feed-forward layers that several architectures share. */
import type { Value } from "../../graph/graph.ts";
import type { ActivationName } from "../configuration.ts";
import type { ForwardContext, LinearSite } from "../forward.ts";
import { activate } from "./activation.ts";

/**
 * contract(activation(expand(x))) (Vaswani et al. 2017, section 3.3).
 * @param modules paths of the two layers.
 */
export function feedForward(
  context: ForwardContext,
  modules: { readonly expand: string; readonly contract: string },
  x: Value,
  settings: {
    hidden: number;
    intermediate: number;
    activation: ActivationName;
    bias: boolean;
    layout?: LinearSite["layout"];
  },
): Value {
  const { hidden, intermediate, activation, bias, layout = "out-in" } = settings;
  const expanded = context.linear(modules.expand, x, { in: hidden, out: intermediate, bias, layout });
  const activated = activate(context.builder, activation, expanded);
  return context.linear(modules.contract, activated, { in: intermediate, out: hidden, bias, layout });
}

/** down(activation(gate(x)) * up(x)) (Shazeer 2020, GLU variants). */
export function gatedFeedForward(
  context: ForwardContext,
  path: string,
  x: Value,
  settings: { hidden: number; intermediate: number; activation: ActivationName; bias: boolean },
): Value {
  const { hidden, intermediate, activation, bias } = settings;
  const gate = context.linear(`${path}.gate_proj`, x, { in: hidden, out: intermediate, bias });
  const up = context.linear(`${path}.up_proj`, x, { in: hidden, out: intermediate, bias });
  const gated = context.builder.multiply(activate(context.builder, activation, gate), up);
  return context.linear(`${path}.down_proj`, gated, { in: intermediate, out: hidden, bias });
}

/**
 * contract(activation(first) * second), where first and second are the halves of one product
 * (Shazeer 2020 with the two matrices stored as one).
 * @param modules paths of the two layers.
 */
export function fusedGatedFeedForward(
  context: ForwardContext,
  modules: { readonly expand: string; readonly contract: string },
  x: Value,
  settings: {
    hidden: number;
    intermediate: number;
    activation: ActivationName;
    bias: boolean;
    dropout: number;
    /** What the two halves are called: the one that is activated, and the one it is multiplied by. */
    halves: readonly [string, string];
  },
): Value {
  const { hidden, intermediate, activation, bias, dropout } = settings;
  const slices = settings.halves.map((name) => ({ name, out: intermediate }));
  const both = context.linear(modules.expand, x, { in: hidden, out: 2 * intermediate, bias, slices });
  const [first = both, second = both] = context.builder.split(both, 1, [intermediate, intermediate]);
  const gated = context.builder.multiply(activate(context.builder, activation, first), second);
  return context.linear(modules.contract, context.dropout(gated, dropout), {
    in: intermediate,
    out: hidden,
    bias,
  });
}
