/**
 * @file LoRA that started as a part of the frozen matrix, as a plain LoRA of twice the rank for the matrix as it was:
 * (W - s B0 A0) x + s B A x = W x + s [B, -B0] [A; A0] x (Meng et al. 2024, appendix C). Also right for DoRA, whose
 * matrix W + s (B A - B0 A0) is the same.
 */
import type { Value } from "../../graph/graph.ts";
import type { BoundMethod, ParameterSpec } from "../contract.ts";
import type { LoraConfiguration } from "../lora.ts";
import type { LoraSite } from "../lora-site.ts";

/** The configuration of twice the rank with the same factor. */
export function doubledRank(configuration: LoraConfiguration): LoraConfiguration {
  const { rank, alpha, rankStabilised, rankPattern, alphaPattern } = configuration;
  const alphaFactor = rankStabilised ? Math.SQRT2 : 2;
  return {
    ...configuration,
    rank: 2 * rank,
    alpha: alphaFactor * alpha,
    rankPattern: scaled(rankPattern, 2),
    alphaPattern: scaled(alphaPattern, alphaFactor),
    initialWeights: true,
    loftqIterations: undefined,
  };
}

function scaled(pattern: Readonly<Record<string, number>> | undefined, factor: number) {
  return (
    pattern &&
    Object.fromEntries(Object.entries(pattern).map(([key, value]) => [key, factor * value] as const))
  );
}

/** The parameters of the doubled rank; all others as they are. */
export function withStartTakenOut(
  sites: readonly LoraSite[],
  parameters: readonly ParameterSpec[],
): NonNullable<BoundMethod["forUnchangedBase"]> {
  return ({ builder, parameter, start }) => {
    const values = new Map(parameters.map(({ key }) => [key, parameter(key)]));
    const extend = (key: string, axis: number, added: (own: Value) => Value) => {
      const own = parameter(key);
      values.set(key, builder.concat([own, added(own)], axis));
    };
    for (const { kind, a, b } of sites) {
      // Embeddings started beside the table: what is added to them is zero.
      const isPart = kind === "linear";
      extend(a, 0, (own) => (isPart ? start(a) : builder.scale(own, 0)));
      extend(b, 1, (own) => (isPart ? builder.scale(start(b), -1) : builder.scale(own, 0)));
    }
    return values;
  };
}
