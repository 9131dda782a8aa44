/**
 * @file LoHa (Hyeon-Woo et al. 2021, "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated
 * Learning", proposition 1): the change of W is the element-wise product of two products of low rank,
 * y = W x + s ((A1 B1) o (A2 B2)) x with s = alpha / r, whose rank may be r^2. A1, A2 [out, r] and B1 [r, in] start
 * random and B2 [r, in] at zero, so that training starts from the base; merging adds the change to W.
 */
import type { Value } from "../graph/graph.ts";
import type { Method, MethodUse } from "./contract.ts";
import { kaimingUniform, zeros } from "./initial.ts";
import { checkHighestRank } from "./highest-rank.ts";
import { bindLycoris, lycorisDefaults, lycorisSites } from "./lycoris.ts";
import type { LycorisConfiguration, LycorisSite } from "./lycoris.ts";

export interface LohaConfiguration extends LycorisConfiguration {
  /** True as above; false starts with all four random: not the identity, for tests. */
  readonly initialWeights: boolean;
}

/** PEFT's dropout of outputs always keeps the size of the change. */
export const lohaDefaults = {
  ...lycorisDefaults,
  rankDropoutScale: true,
  initialWeights: true,
} as const satisfies Partial<LohaConfiguration>;

export const loha: Method<LohaConfiguration> = {
  type: "LOHA",
  summary:
    "LoHa: the element-wise product of two low-rank products beside frozen matrices (Hyeon-Woo et al. 2021)",
  bind: (configuration, modules) =>
    bindLycoris(configuration, modules, {
      name: "LoHa",
      specs: ({ linear: { path, in: from, out }, rank }) => {
        const spec = (suffix: string, shape: readonly number[], startsAtZero = false) => ({
          key: `${path}.hada_${suffix}`,
          shape,
          initial: startsAtZero ? zeros(shape) : kaimingUniform(shape),
        });
        return [
          spec("w1_a", [out, rank]),
          spec("w1_b", [rank, from]),
          spec("w2_a", [out, rank]),
          spec("w2_b", [rank, from], configuration.initialWeights),
        ];
      },
      apply: (use, site, x) => use.builder.gemm(x, changeOf(use, site), { transB: true }),
      change: changeOf,
    }),
  // Each of the two products is of low rank; the rank of the change is at most the square of it.
  checkNew: (configuration, modules) => {
    checkHighestRank(
      "LoHa",
      lycorisSites(configuration, modules).map(({ linear, rank }) => ({ ...linear, rank })),
    );
  },
};

function changeOf(
  { builder, parameter }: Pick<MethodUse, "builder" | "parameter">,
  { linear, factor }: LycorisSite,
): Value {
  const half = (index: 1 | 2, alpha: number): Value =>
    builder.gemm(parameter(`${linear.path}.hada_w${index}_a`), parameter(`${linear.path}.hada_w${index}_b`), {
      alpha,
    });
  return builder.multiply(half(1, factor), half(2, 1));
}
