/**
 * @file One layer of the original Transformer's encoder (Vaswani et al. 2017, section 3.1): self-attention and a
 * feed-forward layer, each added to its input and normalised after that. Module names are given by who calls.
 */
import type { Value } from "../../graph/graph.ts";
import { requireDivisible } from "../configuration.ts";
import type { ActivationName } from "../configuration.ts";
import type { ForwardContext } from "../forward.ts";
import { feedForward } from "./feed-forward.ts";
import { splitHeads } from "./rotary.ts";

/** Names of a layer's modules below the layer's own path. */
export interface PostNormModules {
  /** The module that computes attention, for those who hook into it. */
  readonly attention: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly attentionOutput: string;
  readonly attentionNorm: string;
  /** The module at whose end attention joins the residual stream; "" for the layer itself. */
  readonly attentionEnd: string;
  readonly expand: string;
  readonly contract: string;
  readonly outputNorm: string;
  /** The module at whose end the feed-forward layer joins the residual stream; "" for the layer itself. */
  readonly feedForwardEnd: string;
}

export interface PostNormSettings {
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly activation: ActivationName;
  readonly epsilon: number;
  readonly attentionDropout: number;
  /** Dropout of what attention adds to the residual stream. */
  readonly attentionOutputDropout: number;
  /** Dropout of what the feed-forward layer adds to the residual stream. */
  readonly feedForwardDropout: number;
}

/** Results [tokens, hidden] of a layer's attention, before its output projection. */
export type SelfAttention = (path: string, x: Value) => Value;

/** x [tokens, hidden] after the layer at `path`. */
export function postNormLayer(
  context: ForwardContext,
  path: string,
  x: Value,
  settings: PostNormSettings,
  modules: PostNormModules,
  selfAttention: SelfAttention = (layer, input) =>
    plainSelfAttention(context, layer, input, settings, modules),
): Value {
  return context.layer(path, x, (input) => {
    const { hidden, epsilon } = settings;
    const at = (name: string) => (name === "" ? path : `${path}.${name}`);
    const attended = context.linear(at(modules.attentionOutput), selfAttention(path, input), {
      in: hidden,
      out: hidden,
      bias: true,
    });
    const middle = context.sublayer({
      path: at(modules.attentionEnd),
      kind: "attention",
      residual: input,
      output: context.dropout(attended, settings.attentionOutputDropout),
      norm: (sum) => context.layerNorm(at(modules.attentionNorm), sum, hidden, epsilon),
    });
    return context.sublayer({
      path: at(modules.feedForwardEnd),
      kind: "feed-forward",
      residual: middle,
      output: context.dropout(
        feedForward(context, { expand: at(modules.expand), contract: at(modules.contract) }, middle, {
          ...settings,
          bias: true,
        }),
        settings.feedForwardDropout,
      ),
      norm: (sum) => context.layerNorm(at(modules.outputNorm), sum, hidden, epsilon),
    });
  });
}

function plainSelfAttention(
  context: ForwardContext,
  path: string,
  x: Value,
  { hidden, heads, attentionDropout }: PostNormSettings,
  modules: PostNormModules,
): Value {
  requireDivisible(hidden, heads, "hidden_size", "num_attention_heads");
  const project = (name: string) =>
    splitHeads(context, context.linear(`${path}.${name}`, x, { in: hidden, out: hidden, bias: true }), heads);
  return context.attention({
    path: `${path}.${modules.attention}`,
    query: project(modules.query),
    key: project(modules.key),
    value: project(modules.value),
    scale: 1 / Math.sqrt(hidden / heads),
    causal: false,
    dropout: attentionDropout,
  });
}
