/**
 * @file The two 16-bit float formats of tensor files, widened to float32 and narrowed from it, over whole
 * arrays. Widening is exact; narrowing rounds to nearest, ties to even (IEEE 754), as torch does. Knows
 * bits only: no shapes, no files.
 */

/** Bits of 2^-14, the smallest normal float16, as float32. */
const smallestNormalBits = 0x38800000;
/** Bits of 65520, halfway between the largest float16 and 2^16: from here on rounding gives infinity. */
const overflowBits = 0x477ff000;
const infinityBits = 0x7f800000;

let float16Table: Uint32Array | undefined;

/** The float32 bits of every float16: 256 KiB, made at the first use. */
function widenedFloat16Bits(): Uint32Array {
  if (float16Table === undefined) {
    float16Table = new Uint32Array(0x10000);
    for (let half = 0; half < 0x10000; half++) float16Table[half] = widenedBits(half);
  }
  return float16Table;
}

function widenedBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  let fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | infinityBits | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // A subnormal is fraction * 2^-24; float32 has it as a normal number, its leading bit implicit.
  const shift = Math.clz32(fraction) - 21;
  fraction = (fraction << shift) & 0x3ff;
  return sign | ((113 - shift) << 23) | (fraction << 13);
}

function narrowedFloat16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > infinityBits) return sign | 0x7e00;
  if (magnitude >= overflowBits) return sign | 0x7c00;
  if (magnitude >= smallestNormalBits) {
    // A carry out of the fraction moves into the exponent, which is what rounding up means there.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  const shift = 126 - (magnitude >>> 23);
  if (shift > 24) return sign;
  const significand = (magnitude & 0x7fffff) | 0x800000;
  return sign | ((significand + (1 << (shift - 1)) - 1 + ((significand >>> shift) & 1)) >>> shift);
}

function float32Bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/**
 * float16 bit patterns as float32 values, exactly; NaN keeps its payload.
 *
 * @param into Written from its start and returned; at least as long as `source`.
 */
export function widenFloat16(
  source: Uint16Array,
  into: Float32Array = new Float32Array(source.length),
): Float32Array {
  const table = widenedFloat16Bits();
  const bits = float32Bits(into);
  for (let index = 0; index < source.length; index++) bits[index] = table[source[index] as number] as number;
  return into;
}

/**
 * bfloat16 bit patterns as float32 values, exactly: bfloat16 is the upper half of a float32.
 *
 * @param into Written from its start and returned; at least as long as `source`.
 */
export function widenBfloat16(
  source: Uint16Array,
  into: Float32Array = new Float32Array(source.length),
): Float32Array {
  const bits = float32Bits(into);
  for (let index = 0; index < source.length; index++) bits[index] = (source[index] as number) << 16;
  return into;
}

/**
 * float32 values as float16 bit patterns, rounded to nearest even. Beyond 65504 (after rounding) comes
 * infinity; every NaN becomes the quiet NaN of its sign.
 *
 * @param into Written from its start and returned; at least as long as `source`.
 */
export function narrowToFloat16(
  source: Float32Array,
  into: Uint16Array = new Uint16Array(source.length),
): Uint16Array {
  const bits = float32Bits(source);
  for (let index = 0; index < bits.length; index++) into[index] = narrowedFloat16Bits(bits[index] as number);
  return into;
}

/**
 * float32 values as bfloat16 bit patterns, rounded to nearest even; every NaN becomes the quiet NaN of its
 * sign.
 *
 * @param into Written from its start and returned; at least as long as `source`.
 */
export function narrowToBfloat16(
  source: Float32Array,
  into: Uint16Array = new Uint16Array(source.length),
): Uint16Array {
  const bits = float32Bits(source);
  for (let index = 0; index < bits.length; index++) {
    const value = bits[index] as number;
    const isNaN = (value & 0x7fffffff) > infinityBits;
    into[index] = isNaN ? ((value >>> 16) & 0x8000) | 0x7fc0 : (value + 0x7fff + ((value >>> 16) & 1)) >>> 16;
  }
  return into;
}
