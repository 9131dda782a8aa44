/**
 * @file Matrices in four bits a number, as bitsandbytes keeps them: blocks of consecutive numbers share a scale (their
 * largest magnitude) and each number is the nearest of 16 fixed codes, two to a byte with the first in the high bits.
 * NF4's codes are quantiles of a normal distribution (Dettmers et al. 2023, "QLoRA", appendix E), FP4's are small
 * floats. Bytes and scales equal those of bitsandbytes. Works on arrays; knows no files.
 */

/** The two sets of codes. */
export type FourBitKind = "nf4" | "fp4";

/** A matrix in four bits. */
export interface FourBitBlocks {
  /** Two codes a byte, the first in the high four bits; an odd last number has a partner that means nothing. */
  readonly packed: Uint8Array;
  /** Largest magnitude of each block; the last block may be short. */
  readonly scales: Float32Array;
}

const nf4Codes = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];

/** Sign in the highest bit; 12 is the largest of these floats. */
const fp4Magnitudes = [0, 0.0625, 8, 12, 4, 6, 2, 3];

/** The 16 numbers that codes stand for, in units of a block's scale. */
export const fourBitCodes: Readonly<Record<FourBitKind, Float32Array>> = {
  nf4: Float32Array.from(nf4Codes),
  fp4: Float32Array.from([...fp4Magnitudes, ...fp4Magnitudes.map((value) => -value)], (value) => value / 12),
};

/** How many scales `count` numbers have. */
export const blockCount = (count: number, blockSize: number): number => Math.ceil(count / blockSize);

/** The largest magnitude of each block. */
export function blockScales(values: Float32Array, blockSize: number): Float32Array {
  const scales = new Float32Array(blockCount(values.length, blockSize));
  for (let block = 0; block < scales.length; block++) {
    const end = Math.min((block + 1) * blockSize, values.length);
    let largest = 0;
    for (let index = block * blockSize; index < end; index++)
      largest = Math.max(largest, Math.abs(values[index] ?? 0));
    scales[block] = largest;
  }
  return scales;
}

/** Smallest divisor: a block of zeros stays zero. */
const smallestScale = Math.fround(1e-38);

/** The codes in rising order, with the bounds halfway between neighbours: a number on a bound takes the lower code. */
function sortedCodes(kind: FourBitKind): { readonly order: Uint8Array; readonly bounds: Float32Array } {
  const codes = fourBitCodes[kind];
  const order = Uint8Array.from(codes.keys()).sort((a, b) => (codes[a] ?? 0) - (codes[b] ?? 0) || a - b);
  const bounds = Float32Array.from({ length: order.length - 1 }, (_, index) => {
    const [below = 0, above = 0] = [codes[order[index] ?? 0], codes[order[index + 1] ?? 0]];
    return Math.fround(below + above) / 2;
  });
  return { order, bounds };
}

const sorted = { nf4: sortedCodes("nf4"), fp4: sortedCodes("fp4") };

/**
 * Quantises numbers given the scales of their blocks.
 * @param scales As `blockScales` gives them.
 */
export function packBlocks(
  values: Float32Array,
  scales: Float32Array,
  blockSize: number,
  kind: FourBitKind,
): Uint8Array {
  const { order, bounds } = sorted[kind];
  const packed = new Uint8Array(Math.ceil(values.length / 2));
  const wholeBlocks = Math.floor(values.length / blockSize);
  for (let block = 0; block < scales.length; block++) {
    const scale = Math.max(scales[block] ?? 0, smallestScale);
    const reciprocal = Math.fround(1 / scale);
    // bitsandbytes divides in a short last block and multiplies by the reciprocal in all others.
    const isWhole = block < wholeBlocks;
    const end = Math.min((block + 1) * blockSize, values.length);
    for (let index = block * blockSize; index < end; index++) {
      const value = values[index] ?? 0;
      const scaled = Math.fround(isWhole ? value * reciprocal : value / scale);
      const code = order[lowerBound(bounds, scaled)] ?? 0;
      packed[index >> 1] = (packed[index >> 1] ?? 0) | ((index & 1) === 0 ? code << 4 : code);
    }
  }
  // The partner of an odd last number is the code of zero.
  if (values.length % 2 === 1)
    packed[packed.length - 1] = (packed[packed.length - 1] ?? 0) | (order[lowerBound(bounds, 0)] ?? 0);
  return packed;
}

/** How many of the 15 bounds lie below a value. */
function lowerBound(bounds: Float32Array, value: number): number {
  let index = value > (bounds[7] ?? 0) ? 8 : 0;
  if (value > (bounds[index + 3] ?? 0)) index += 4;
  if (value > (bounds[index + 1] ?? 0)) index += 2;
  return value > (bounds[index] ?? 0) ? index + 1 : index;
}

/** Quantises numbers in blocks. */
export function quantiseBlocks(values: Float32Array, blockSize: number, kind: FourBitKind): FourBitBlocks {
  const scales = blockScales(values, blockSize);
  return { packed: packBlocks(values, scales, blockSize, kind), scales };
}

/** The numbers that codes stand for: code times scale, rounded to float32. */
export function dequantiseBlocks(
  { packed, scales }: FourBitBlocks,
  count: number,
  blockSize: number,
  kind: FourBitKind,
): Float32Array {
  const codes = fourBitCodes[kind];
  const values = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const byte = packed[index >> 1] ?? 0;
    const code = (index & 1) === 0 ? byte >> 4 : byte & 15;
    values[index] = (codes[code] ?? 0) * (scales[Math.floor(index / blockSize)] ?? 0);
  }
  return values;
}
