/** @file The activation functions of feed-forward layers by the names that configurations use. */
import type { GraphBuilder } from "../../graph/builder.ts";
import type { Value } from "../../graph/graph.ts";
import type { ActivationName } from "../configuration.ts";

export function activate(builder: GraphBuilder, name: ActivationName, x: Value): Value {
  switch (name) {
    case "gelu":
      return builder.gelu(x, "none");
    case "gelu_new":
    case "gelu_fast":
    case "gelu_pytorch_tanh":
      return builder.gelu(x, "tanh");
    case "silu":
    case "swish":
      return builder.swish(x);
    case "relu":
      return builder.relu(x);
    case "tanh":
      return builder.tanh(x);
  }
}
