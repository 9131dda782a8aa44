/**
 * @file LoKr (Yeh et al. 2023, "Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation",
 * section 3.3): the change of W is a Kronecker product, y = W x + s (W1 (x) W2) x with s = alpha / r. in = i1 i2 and
 * out = o1 o2 are split into factors near their square roots; W1 [o1, i1] is whole, or of low rank where asked for,
 * and W2 [o2, i2] of low rank where that is smaller. One of the two starts at zero, so that training starts from the
 * base. With x as a matrix X [i1, i2] the product is W1 X W2^T, so that W1 (x) W2 is made for merging alone.
 */
import { multiplyDimensions } from "../graph/dimension.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import type { Method, MethodUse, ParameterSpec } from "./contract.ts";
import { kaimingUniform, zeros } from "./initial.ts";
import { bindLycoris, lycorisDefaults } from "./lycoris.ts";
import type { LycorisConfiguration, LycorisSite } from "./lycoris.ts";

export interface LokrConfiguration extends LycorisConfiguration {
  /** Make the first factor a product of low rank as well. */
  readonly decomposeBoth: boolean;
  /** Extent of the first factor where it divides the layer's; -1 for the divisor nearest to the square root. */
  readonly decomposeFactor: number;
  /** True starts with the first factor at zero, "lycoris" with the second; false with both random, for tests. */
  readonly initialWeights: boolean | "lycoris";
}

export const lokrDefaults = {
  ...lycorisDefaults,
  decomposeBoth: false,
  decomposeFactor: -1,
  initialWeights: true,
} as const satisfies Partial<LokrConfiguration>;

export const lokr: Method<LokrConfiguration> = {
  type: "LOKR",
  summary: "LoKr: a trained Kronecker product beside frozen matrices (Yeh et al. 2023)",
  bind: (configuration, modules) =>
    bindLycoris(configuration, modules, {
      name: "LoKr",
      specs: (site) => specsOf(site, configuration),
      apply: (use, site, x) => applyKronecker(use, site, configuration, x),
      change: (use, site) => changeOf(use, site, configuration),
    }),
};

/** The two factors' extents, and which of them are products of low rank. */
interface Shapes {
  readonly out: readonly [number, number];
  readonly in: readonly [number, number];
  readonly decomposed: readonly [boolean, boolean];
}

function shapesOf(
  { linear, rank }: LycorisSite,
  { decomposeBoth, decomposeFactor }: LokrConfiguration,
): Shapes {
  const out = factorise(linear.out, decomposeFactor);
  const from = factorise(linear.in, decomposeFactor);
  const isSmaller = (index: 0 | 1) => rank < Math.max(out[index], from[index]) / 2;
  return { out, in: from, decomposed: [decomposeBoth && isSmaller(0), isSmaller(1)] };
}

/**
 * Two factors of an extent: the given one with its complement; otherwise the pair with the smallest sum whose first
 * factor is at most the given one.
 */
export function factorise(extent: number, factor: number): readonly [number, number] {
  if (factor > 0 && extent % factor === 0) return [factor, extent / factor];
  const limit = factor === -1 ? extent : factor;
  let first = 1;
  for (let candidate = 2; candidate * candidate <= extent && candidate <= limit; candidate++)
    if (extent % candidate === 0) first = candidate;
  return [first, extent / first];
}

function specsOf(site: LycorisSite, configuration: LokrConfiguration): ParameterSpec[] {
  const shapes = shapesOf(site, configuration);
  const { initialWeights } = configuration;
  const zeroFactor = initialWeights === false ? undefined : initialWeights === "lycoris" ? 1 : 0;
  return ([0, 1] as const).flatMap((index) => {
    const [rows, columns] = [shapes.out[index], shapes.in[index]];
    const spec = (suffix: string, shape: readonly number[], startsAtZero: boolean): ParameterSpec => ({
      key: `${keyOf(site.linear, index)}${suffix}`,
      shape,
      initial: startsAtZero ? zeros(shape) : kaimingUniform(shape),
    });
    if (!shapes.decomposed[index]) return [spec("", [rows, columns], zeroFactor === index)];
    return [
      spec("_a", [rows, site.rank], zeroFactor === index && index === 0),
      spec("_b", [site.rank, columns], zeroFactor === index && index === 1),
    ];
  });
}

function keyOf({ path }: LinearSite, index: 0 | 1): string {
  return `${path}.lokr_w${index + 1}`;
}

type Use = Pick<MethodUse, "builder" | "parameter">;

function factorOf(
  { builder, parameter }: Use,
  site: LycorisSite,
  index: 0 | 1,
  { decomposed }: Shapes,
): Value {
  const key = keyOf(site.linear, index);
  return decomposed[index] ? builder.gemm(parameter(`${key}_a`), parameter(`${key}_b`)) : parameter(key);
}

/** Row by row s W1 X W2^T, flattened. */
function applyKronecker(
  use: MethodUse,
  site: LycorisSite,
  configuration: LokrConfiguration,
  x: Value,
): Value {
  const { builder } = use;
  const shapes = shapesOf(site, configuration);
  const [firstOut, secondOut] = shapes.out;
  const [firstIn, secondIn] = shapes.in;
  const rows = x.shape[0] ?? 0;
  const matrices = builder.reshape(x, [multiplyDimensions(rows, firstIn), secondIn]);
  const right = builder.gemm(matrices, factorOf(use, site, 1, shapes), { transB: true, alpha: site.factor });
  const turned = builder.transposeLast(builder.reshape(right, [rows, firstIn, secondOut]));
  const flat = builder.reshape(turned, [multiplyDimensions(rows, secondOut), firstIn]);
  const left = builder.gemm(flat, factorOf(use, site, 0, shapes), { transB: true });
  const back = builder.transposeLast(builder.reshape(left, [rows, secondOut, firstOut]));
  return builder.reshape(back, [rows, site.linear.out]);
}

/** s (W1 (x) W2): [out, in]. */
function changeOf(use: Use, site: LycorisSite, configuration: LokrConfiguration): Value {
  const { builder } = use;
  const shapes = shapesOf(site, configuration);
  const { out, in: from } = shapes;
  const first = builder.reshape(factorOf(use, site, 0, shapes), [out[0], 1, from[0], 1]);
  const second = builder.reshape(factorOf(use, site, 1, shapes), [1, out[1], 1, from[1]]);
  const product = builder.multiply(builder.scale(first, site.factor), second);
  return builder.reshape(product, [site.linear.out, site.linear.in]);
}
