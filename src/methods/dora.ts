/**
 * @file DoRA (Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", equation 5): LoRA with the lengths m of
 * the adapted matrix's rows trained apart from their directions, y = m / |W + s B A| * (W x + s B A x), the norm taken
 * row by row and as a constant in the backward pass (section 4.3). m [out] starts as the norm itself, so that training
 * starts from the base. The matrix W + s B A is never made while training:
 * |w_i + s b_i A|^2 = |w_i|^2 + 2 s b_i (W A^T)_i + s^2 b_i (A A^T) b_i^T. Merging puts m / |W + s B A| (W + s B A) in
 * W's place. A bias is not scaled, and dropout reaches the low-rank path alone.
 */
import type { Value } from "../graph/graph.ts";
import type { MergeRule, MethodUse, ParameterSpec } from "./contract.ts";
import type { LoraSite } from "./lora-site.ts";

const magnitudeKey = ({ path }: LoraSite): string => `${path}.lora_magnitude_vector`;

/** The lengths m of the rows of W + s B A. */
export function magnitudeSpec(site: LoraSite): ParameterSpec {
  return {
    key: magnitudeKey(site),
    shape: [site.out],
    initial: ({ base, earlier }) =>
      rowLengths(site, base(`${site.path}.weight`), earlier(site.a), earlier(site.b)),
  };
}

/** |W + s B A| row by row, on the host. */
function rowLengths(site: LoraSite, weight: Float32Array, a: Float32Array, b: Float32Array): Float32Array {
  const { in: columns, out: rows, rank, factor, transposed } = site;
  const row = new Float64Array(columns);
  return Float32Array.from({ length: rows }, (_, i) => {
    for (let j = 0; j < columns; j++) row[j] = weight[transposed ? j * rows + i : i * columns + j] ?? 0;
    for (let k = 0; k < rank; k++) {
      const scale = factor * (b[i * rank + k] ?? 0);
      if (scale === 0) continue;
      for (let j = 0; j < columns; j++) row[j] = (row[j] ?? 0) + scale * (a[k * columns + j] ?? 0);
    }
    return Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
  });
}

/** The two halves of a layer's output: A x [rows, rank], and the base's own output with its bias. */
interface LayerOutput {
  readonly down: Value;
  readonly base: Value;
  /** Name of the layer's bias, where it has one. */
  readonly bias: string | undefined;
}

/** m / |W + s B A| * (W x + s B A x) + bias. */
export function withMagnitude(use: MethodUse, site: LoraSite, { down, base, bias }: LayerOutput): Value {
  const { builder, parameter } = use;
  const product = bias === undefined ? base : builder.subtract(base, use.base(bias));
  const sum = builder.gemm(down, parameter(site.b), { transB: true, alpha: site.factor, c: product });
  const norm = builder.stopGradient(builder.squareRoot(squaredNorm(use, site)));
  const scaled = builder.multiply(sum, builder.divide(parameter(magnitudeKey(site)), norm));
  return use.toward(base, bias === undefined ? scaled : builder.add(scaled, use.base(bias)));
}

/** |W + s B A|^2 row by row: [out]. */
function squaredNorm({ builder, parameter, base }: MethodUse, site: LoraSite): Value {
  const { out, factor, transposed } = site;
  const weight = base(`${site.path}.weight`);
  const [a, b] = [parameter(site.a), parameter(site.b)];
  const own = builder.reshape(builder.reduceSum(builder.multiply(weight, weight), [transposed ? 0 : 1]), [
    out,
  ]);
  const crossed = builder.gemm(weight, a, { transA: transposed, transB: true, alpha: 2 * factor });
  const gram = builder.gemm(a, a, { transB: true });
  const quadratic = builder.gemm(b, gram, { alpha: factor * factor, c: crossed });
  const change = builder.reduceSum(builder.multiply(quadratic, b), [1]);
  return builder.add(own, builder.reshape(change, [out]));
}

/** A merged matrix with its rows at the trained lengths, in the layout it is stored in. */
export function withRowLengths(
  { builder, parameter }: Parameters<MergeRule["merged"]>[0],
  site: LoraSite,
  sum: Value,
): Value {
  const norm = builder.squareRoot(builder.reduceSum(builder.multiply(sum, sum), [site.transposed ? 0 : 1]));
  const magnitude = builder.reshape(parameter(magnitudeKey(site)), norm.shape);
  return builder.multiply(sum, builder.divide(magnitude, norm));
}
