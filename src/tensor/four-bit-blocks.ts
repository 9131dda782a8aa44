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

/** Equal parts of [-1, 1], narrow enough that no two bounds lie in one. */
const partsOfRange = 4096;

/** The part that a number lies in; what rounding has moved over an end counts as there. */
const partOf = (value: number): number => ((value + 1) * (partsOfRange / 2)) | 0;

/** How numbers in units of their scale find their code: by the part of [-1, 1] they lie in, and the bound in it. */
interface CodeTable {
  /** Code of numbers up to the bound in each part, and of those above it. */
  readonly lower: Uint8Array;
  readonly upper: Uint8Array;
  /** The bound in each part; no number is above that of a part without one. */
  readonly bounds: Float32Array;
}

/** Bounds lie halfway between neighbouring codes: a number on a bound takes the lower code. */
function codeTable(kind: FourBitKind): CodeTable {
  const codes = fourBitCodes[kind];
  const order = [...codes.keys()].sort((a, b) => (codes[a] ?? 0) - (codes[b] ?? 0) || a - b);
  const bounds = order.slice(1).map((above, index) => {
    const below = order[index] ?? 0;
    return Math.fround((codes[below] ?? 0) + (codes[above] ?? 0)) / 2;
  });
  const parts = Array.from({ length: partsOfRange + 1 }, (_, part) => {
    const place = bounds.filter((bound) => partOf(bound) < part).length;
    const bound = bounds[place];
    const isInside = bound !== undefined && partOf(bound) === part;
    return { lower: order[place] ?? 0, upper: order[place + 1] ?? 0, bound: isInside ? bound : Infinity };
  });
  return {
    lower: Uint8Array.from(parts, ({ lower }) => lower),
    upper: Uint8Array.from(parts, ({ upper }) => upper),
    bounds: Float32Array.from(parts, ({ bound }) => bound),
  };
}

const codeTables = { nf4: codeTable("nf4"), fp4: codeTable("fp4") };

function codeOf({ lower, upper, bounds }: CodeTable, value: number): number {
  const part = partOf(value);
  return (value > (bounds[part] ?? 0) ? upper[part] : lower[part]) ?? 0;
}

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
  const table = codeTables[kind];
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
      const code = codeOf(table, scaled);
      packed[index >> 1] = (packed[index >> 1] ?? 0) | ((index & 1) === 0 ? code << 4 : code);
    }
  }
  // The partner of an odd last number is the code of zero.
  if (values.length % 2 === 1)
    packed[packed.length - 1] = (packed[packed.length - 1] ?? 0) | codeOf(table, 0);
  return packed;
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
