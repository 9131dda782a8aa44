/**
 * @file Normal numbers from uniform ones in blocks of 16, bit for bit as torch's AVX2 kernel makes them:
 * Box and Muller 1958 with the single precision logarithm, sine and cosine of the Cephes library (Moshier),
 * every product fused with the sum that follows it. A logarithm or cosine rounded correctly would differ
 * from torch in the last bits. Draws nothing itself.
 */

export const boxMullerBlockLength = 16;

const round = Math.fround;

/**
 * a * b + c, rounded once: the product of two float32 is exact in a double. (The sum is rounded to a double
 * first, which can change the result only if it falls within 2^-29 of a tie.)
 */
function fused(a: number, b: number, c: number): number {
  return round(a * b + c);
}

/** Horner's rule, the highest power first. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => fused(sum, x, coefficient));
}

const logCoefficients = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(round);
/** ln 2 as the sum of a short number, whose products with an exponent are exact, and a rest. */
const ln2High = round(0.693359375);
const ln2Low = round(-2.1219444e-4);
const halfSquareRoot2 = round(Math.SQRT1_2);

const sineCoefficients = [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1].map(round);
const cosineCoefficients = [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2].map(round);
/** -pi/4 in three parts, the first two short, so that subtracting a multiple of pi/4 loses nothing. */
const minusQuarterPi = [-0.78515625, -2.4187564849853516e-4, -3.774894977445941e-8].map(round);
const fourOverPi = round(4 / Math.PI);
const twoPi = round(2 * Math.PI);

const floatView = new Float32Array(1);
const bitsView = new Uint32Array(floatView.buffer);

/** ln x of a positive normal float32: x = m 2^e with m in [sqrt(1/2), sqrt 2), ln(1 + t) as a polynomial. */
function logarithm(x: number): number {
  floatView[0] = x;
  const bits = bitsView[0] as number;
  bitsView[0] = (bits & 0x7fffff) | 0x3f000000;
  const mantissa = floatView[0];
  const isLow = mantissa < halfSquareRoot2;
  const exponent = (bits >>> 23) - 126 - (isLow ? 1 : 0);
  const t = isLow ? round(round(mantissa - 1) + mantissa) : round(mantissa - 1);
  const square = round(t * t);
  let rest = round(polynomial(logCoefficients, t) * t);
  rest = fused(rest, square, round(exponent * ln2Low));
  rest = fused(square, -0.5, rest);
  return fused(exponent, ln2High, round(t + rest));
}

/** [sin x, cos x] of x in [0, 2 pi]: x less its nearest even multiple of pi/4, then two polynomials. */
function sineAndCosine(x: number): readonly [number, number] {
  const octant = (Math.trunc(round(x * fourOverPi)) + 1) & ~1;
  const t = minusQuarterPi.reduce((rest, part) => fused(octant, part, rest), x);
  const square = round(t * t);
  const cosineRest = round(polynomial(cosineCoefficients, square) * square);
  const cosine = round(fused(cosineRest, square, -0.5 * square) + 1);
  const sine = fused(round(polynomial(sineCoefficients, square) * square), t, t);
  const sineSign = octant & 4 ? -1 : 1;
  const cosineSign = (octant - 2) & 4 ? 1 : -1;
  return octant & 2 ? [sineSign * cosine, cosineSign * sine] : [sineSign * sine, cosineSign * cosine];
}

/**
 * Turns 16 uniform numbers of [0, 1) in place into normal ones:
 * sqrt(-2 ln(1 - x[i])) times the cosine (to i) and the sine (to i + 8) of 2 pi x[i + 8].
 */
export function boxMullerBlock(block: Float32Array, mean: number, standardDeviation: number): void {
  const half = boxMullerBlockLength / 2;
  const shift = round(mean);
  const scale = round(standardDeviation);
  for (let index = 0; index < half; index++) {
    const radius = round(Math.sqrt(round(-2 * logarithm(round(1 - (block[index] as number))))));
    const [sine, cosine] = sineAndCosine(round(twoPi * (block[index + half] as number)));
    block[index] = fused(round(radius * cosine), scale, shift);
    block[index + half] = fused(round(radius * sine), scale, shift);
  }
}
