/**
 * @file Numbers as whole numbers times a scale that a group of them shares. Eight bits: a group is a row or a column of
 * a matrix, the scale its largest magnitude / 127. Four bits: a group is a run of neighbours along an axis, and its
 * number of largest magnitude becomes -8, so that all sixteen values are used. Works on arrays.
 */

/** A matrix as whole numbers and scales. */
export interface ScaledIntegers {
  readonly integers: Int8Array;
  readonly scales: Float32Array;
}

/** What Math.round does, in a third of the time. */
const roundHalfUp = (value: number): number => Math.floor(value + 0.5);

/** Rows and columns of a row-major matrix. */
export type MatrixShape = readonly [rows: number, columns: number];

/**
 * Rounds to eight bits, from -127 to 127.
 * @param axis 0 for one scale a row, 1 for one a column.
 */
export function quantiseInt8(values: Float32Array, shape: MatrixShape, axis: 0 | 1): ScaledIntegers {
  const scales = int8Scales(values, shape, axis);
  const [rows, columns] = shape;
  const integers = new Int8Array(values.length);
  for (let row = 0, index = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, index++) {
      const scale = scales[axis === 0 ? row : column] ?? 0;
      integers[index] = scale === 0 ? 0 : roundHalfUp((values[index] ?? 0) / scale);
    }
  return { integers, scales };
}

/** The scales of `quantiseInt8` alone. */
export function int8Scales(values: Float32Array, [rows, columns]: MatrixShape, axis: 0 | 1): Float32Array {
  const scales = new Float32Array(axis === 0 ? rows : columns);
  for (let row = 0, index = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, index++) {
      const group = axis === 0 ? row : column;
      const magnitude = Math.abs(values[index] ?? 0);
      if (magnitude > (scales[group] ?? 0)) scales[group] = magnitude;
    }
  for (let group = 0; group < scales.length; group++) scales[group] = (scales[group] ?? 0) / 127;
  return scales;
}

/** The numbers that eight-bit integers stand for. */
export function dequantiseInt8(
  { integers, scales }: ScaledIntegers,
  [, columns]: MatrixShape,
  axis: 0 | 1,
): Float32Array {
  return Float32Array.from(
    integers,
    (integer, index) => integer * (scales[axis === 0 ? Math.floor(index / columns) : index % columns] ?? 0),
  );
}

/** How many scales a matrix in four bits has along each axis. */
export function int4ScaleShape(
  [rows, columns]: MatrixShape,
  axis: 0 | 1,
  groupSize: number,
): [number, number] {
  return axis === 0 ? [Math.ceil(rows / groupSize), columns] : [rows, Math.ceil(columns / groupSize)];
}

/** Calls back with the place of every element and that of its scale. */
function forEachElement(
  [rows, columns]: MatrixShape,
  axis: 0 | 1,
  groupSize: number,
  visit: (index: number, scale: number) => void,
): void {
  const groups = Math.ceil(columns / groupSize);
  for (let row = 0, index = 0; row < rows; row++) {
    const first = axis === 0 ? Math.floor(row / groupSize) * columns : row * groups;
    for (let column = 0; column < columns; column++, index++)
      visit(index, first + (axis === 0 ? column : Math.floor(column / groupSize)));
  }
}

/** The scales of `quantiseInt4` alone. */
export function int4Scales(
  values: Float32Array,
  shape: MatrixShape,
  axis: 0 | 1,
  groupSize: number,
): Float32Array {
  const [rows, columns] = int4ScaleShape(shape, axis, groupSize);
  const scales = new Float32Array(rows * columns);
  forEachElement(shape, axis, groupSize, (index, at) => {
    const value = values[index] ?? 0;
    if (Math.abs(value) > Math.abs(scales[at] ?? 0)) scales[at] = value;
  });
  for (let at = 0; at < scales.length; at++) scales[at] = (scales[at] ?? 0) / -8;
  return scales;
}

/**
 * Rounds to four bits, from -8 to 7.
 * @param axis The axis along which neighbours share a scale.
 */
export function quantiseInt4(
  values: Float32Array,
  shape: MatrixShape,
  axis: 0 | 1,
  groupSize: number,
): ScaledIntegers {
  const scales = int4Scales(values, shape, axis, groupSize);
  const integers = new Int8Array(values.length);
  forEachElement(shape, axis, groupSize, (index, at) => {
    const scale = scales[at] ?? 0;
    if (scale !== 0) integers[index] = Math.min(7, Math.max(-8, roundHalfUp((values[index] ?? 0) / scale)));
  });
  return { integers, scales };
}

/** The numbers that four-bit integers stand for. */
export function dequantiseInt4(
  { integers, scales }: ScaledIntegers,
  shape: MatrixShape,
  axis: 0 | 1,
  groupSize: number,
): Float32Array {
  const values = new Float32Array(integers.length);
  forEachElement(shape, axis, groupSize, (index, at) => {
    values[index] = (integers[index] ?? 0) * (scales[at] ?? 0);
  });
  return values;
}

/** Two four-bit integers a byte, the first in the low bits, as ONNX packs them. */
export function packInt4(integers: Int8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(integers.length / 2));
  for (let index = 0; index < integers.length; index++)
    packed[index >> 1] = (packed[index >> 1] ?? 0) | (((integers[index] ?? 0) & 15) << ((index & 1) * 4));
  return packed;
}
