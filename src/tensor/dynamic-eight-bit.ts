/**
 * @file Eight bits a number with a dynamic exponent (Dettmers 2015, "8-Bit Approximations for Parallelism in Deep
 * Learning"), in blocks that share a scale, as bitsandbytes keeps the scales of doubly quantised matrices: the leading
 * zero bits are the decimal exponent, the bits behind the first one a linear fraction. Works on arrays.
 */
import { blockScales } from "./four-bit-blocks.ts";

/** Numbers in eight bits. */
export interface DynamicBlocks {
  readonly codes: Uint8Array;
  /** Largest magnitude of each block. */
  readonly scales: Float32Array;
}

/** The 256 numbers that codes stand for, rising from -0.993 to 1. */
export const dynamicCodes: Float32Array = makeCodes();

/** For each exponent e from 0 to 6, the middles of 2^e equal parts of [0.1, 1], times 10^(e - 6), with both signs. */
function makeCodes(): Float32Array {
  const exponents = 7;
  const codes: number[] = [0, 1];
  for (let exponent = 0; exponent < exponents; exponent++) {
    const parts = 2 ** exponent;
    const boundary = rising(0.1, 1, parts + 1);
    for (let part = 0; part < parts; part++) {
      const middle = Math.fround(Math.fround((boundary[part] ?? 0) + (boundary[part + 1] ?? 0)) / 2);
      const code = Math.fround(middle * Math.fround(10 ** (exponent - exponents + 1)));
      codes.push(code, -code);
    }
  }
  return Float32Array.from(codes).sort();
}

/** Equally spaced float32 numbers with both ends, each rounded once from the nearer end, as torch's linspace does. */
function rising(from: number, to: number, count: number): number[] {
  const step = Math.fround((to - from) / (count - 1));
  const [first, last] = [Math.fround(from), Math.fround(to)];
  return Array.from({ length: count }, (_, index) =>
    index < count / 2 ? Math.fround(first + step * index) : Math.fround(last - step * (count - index - 1)),
  );
}

/** Steps of the grid over [-1, 1] on which numbers lie before their code is chosen, as in bitsandbytes on the CPU. */
const gridSteps = 65535;

/** The code of each place of the grid: the nearest, the lower one of two equally near. */
const codeOfPlace: Uint8Array = Uint8Array.from({ length: gridSteps + 1 }, (_, place) =>
  nearest(Math.fround((place * 2) / gridSteps - 1)),
);

/** Quantises numbers in blocks: to the grid of 65,536 places, and from there to the nearest code. */
export function quantiseDynamic(values: Float32Array, blockSize: number): DynamicBlocks {
  const scales = blockScales(values, blockSize);
  const codes = Uint8Array.from(values, (value, index) => {
    const scale = scales[Math.floor(index / blockSize)] ?? 0;
    const scaled = scale === 0 ? 0 : Math.fround(value / scale);
    return codeOfPlace[Math.round(((scaled + 1) * gridSteps) / 2)] ?? 0;
  });
  return { codes, scales };
}

function nearest(value: number): number {
  let [low, high] = [0, dynamicCodes.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((dynamicCodes[middle] ?? 0) <= value) low = middle;
    else high = middle;
  }
  const below = Math.fround(value - (dynamicCodes[low] ?? 0));
  const above = Math.fround((dynamicCodes[high] ?? 0) - value);
  return above < below ? high : low;
}

/**
 * The numbers that codes stand for.
 * @param table The 256 numbers of the codes.
 */
export function dequantiseDynamic(
  { codes, scales }: DynamicBlocks,
  blockSize: number,
  table: Float32Array = dynamicCodes,
): Float32Array {
  return Float32Array.from(
    codes,
    (code, index) => (table[code] ?? 0) * (scales[Math.floor(index / blockSize)] ?? 0),
  );
}

/** Scales of a matrix that are kept in eight bits themselves, less their mean. */
export interface NestedScales extends DynamicBlocks {
  /** The mean. */
  readonly offset: number;
}

/** Scales in a block of eight bits, as bitsandbytes has them. */
export const nestedBlockSize = 256;

/**
 * Double quantisation (Dettmers et al. 2023, "QLoRA", section 3): scales less their mean in eight bits, in blocks that
 * share a scale.
 * @param offset The mean; left out, it is summed in 64 bits and rounded once, where torch's order of adding is its own.
 */
export function nestScales(
  scales: Float32Array,
  blockSize: number,
  offset: number = meanOf(scales),
): NestedScales {
  return {
    ...quantiseDynamic(
      scales.map((scale) => scale - offset),
      blockSize,
    ),
    offset,
  };
}

const meanOf = (values: Float32Array): number =>
  Math.fround(values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length));

/**
 * The scales that nested ones stand for.
 * @param table The 256 numbers of the codes.
 */
export function unnestScales(
  { offset, ...blocks }: NestedScales,
  blockSize: number,
  table: Float32Array = dynamicCodes,
): Float32Array {
  return dequantiseDynamic(blocks, blockSize, table).map((scale) => scale + offset);
}
