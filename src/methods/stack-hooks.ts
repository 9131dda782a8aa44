/** @file Two sets of hooks as one, for methods made of parts. Knows no method. */
import type { ForwardHooks } from "./contract.ts";

/** Hooks around linear layers and embeddings: `outer` gets what `inner` yields. */
export function stackHooks(
  inner: Pick<ForwardHooks, "linear" | "embedding">,
  outer: Pick<ForwardHooks, "linear" | "embedding"> | undefined,
): Pick<ForwardHooks, "linear" | "embedding"> {
  if (outer === undefined) return inner;
  return {
    linear(site, x, next) {
      const within = (input: typeof x) => inner.linear?.(site, input, next) ?? next(input);
      return outer.linear?.(site, x, within) ?? within(x);
    },
    embedding(site, next, lookup) {
      const within = () => inner.embedding?.(site, next, lookup) ?? next();
      return outer.embedding?.(site, within, lookup) ?? within();
    },
  };
}
