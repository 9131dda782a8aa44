/**
 * @file A mixture of experts (Shazeer et al. 2017, section 2.1): a router sends each token to a few of several
 * feed-forward layers. Every expert computes every token here, and those that were not chosen count with weight zero: the
 * sizes of a graph are fixed before it runs, and how many tokens an expert gets is not. Knows no family.
 */
import type { Value } from "../../graph/graph.ts";
import type { GraphBuilder } from "../../graph/builder.ts";
import type { ForwardContext } from "../forward.ts";

export interface ExpertSettings {
  readonly hidden: number;
  readonly experts: number;
  /** Experts that each token is sent to. */
  readonly perToken: number;
  /** One expert, x [tokens, hidden] -> [tokens, hidden]. */
  readonly expert: (path: string, x: Value) => Value;
}

/** How a layer's tokens were sent. */
export interface Routing {
  /** Probabilities of the experts [tokens, experts]. */
  readonly probabilities: Value;
  /** 1 for the chosen ones, 0 for the others [tokens, experts]; no gradient comes through. */
  readonly chosen: Value;
}

/** The chosen experts' results, weighted by their probabilities, which are made to sum to one: [tokens, hidden]. */
export function mixtureOfExperts(
  context: ForwardContext,
  path: string,
  x: Value,
  { hidden, experts, perToken, expert }: ExpertSettings,
): { readonly output: Value; readonly routing: Routing } {
  const { builder } = context;
  const logits = context.linear(`${path}.gate`, x, { in: hidden, out: experts });
  const probabilities = builder.softmax(logits);
  const chosen = largest(builder, probabilities, perToken);
  const kept = builder.multiply(probabilities, chosen);
  const weights = builder.divide(kept, builder.reduceSum(kept, [1]));
  const results = Array.from({ length: experts }, (_, index) =>
    builder.multiply(expert(`${path}.experts.${index}`, x), builder.slice(weights, 1, index, index + 1)),
  );
  return { output: results.reduce((a, b) => builder.add(a, b)), routing: { probabilities, chosen } };
}

/** 1 for the `count` largest numbers of each row of x [rows, width], of equal ones the first; 0 for the others. */
function largest(builder: GraphBuilder, x: Value, count: number): Value {
  const [rows = 0, width = 0] = x.shape;
  const size = Number(width);
  const fixed = builder.stopGradient(x);
  const own = builder.reshape(fixed, [rows, size, 1]);
  const other = builder.reshape(fixed, [rows, 1, size]);
  const places = Array.from({ length: size }, (_, index) => index);
  const isEarlier = builder.constant(
    "float32",
    [size, size],
    places.flatMap((mine) => places.map((theirs) => (theirs < mine ? 1 : 0))),
  );
  // Entry [row, mine, theirs] tells whether theirs comes before mine: it is larger, or as large and earlier.
  const isAtMost = builder.cast(builder.lessOrEqual(other, own), "float32");
  const isLarger = builder.subtract(builder.scalar(1), isAtMost);
  const isEqual = builder.multiply(builder.cast(builder.equal(own, other), "float32"), isEarlier);
  const rank = builder.reduceSum(builder.add(isLarger, isEqual), [2], false);
  return builder.cast(builder.lessOrEqual(rank, builder.scalar(count - 0.5)), "float32");
}

/**
 * The loss that keeps experts equally busy (Fedus et al. 2022, "Switch Transformers", equations 4 to 6) over the tokens of all
 * layers: experts * sum over them of (share of tokens sent) * (mean probability). Padding does not count.
 */
export function balanceLoss(context: ForwardContext, routings: readonly Routing[]): Value {
  const { builder, sequence } = context;
  const total = (of: (routing: Routing) => Value) =>
    routings
      .map((routing) => builder.reduceSum(context.zeroPadding(of(routing)), [0]))
      .reduce((a, b) => builder.add(a, b));
  const ones = builder.expand(builder.scalar(1), [sequence.tokens, 1]);
  const tokens = builder.scale(builder.sumAll(context.zeroPadding(ones)), routings.length);
  const share = builder.divide(
    total(({ chosen }) => chosen),
    tokens,
  );
  const mean = builder.divide(
    total(({ probabilities }) => probabilities),
    tokens,
  );
  const experts = Number(share.shape[1] ?? 0);
  return builder.scale(builder.sumAll(builder.multiply(share, mean)), experts);
}
