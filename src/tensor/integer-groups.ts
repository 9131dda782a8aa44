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

/** Rows and columns of a row-major matrix. */
export type MatrixShape = readonly [rows: number, columns: number];

/**
 * Rounds to eight bits, from -127 to 127.
 * @param axis 0 for one scale a row, 1 for one a column.
 */
export function quantiseInt8(
  values: Float32Array,
  [rows, columns]: MatrixShape,
  axis: 0 | 1,
): ScaledIntegers {
  const scales = new Float32Array(axis === 0 ? rows : columns);
  const groupOf = (row: number, column: number) => (axis === 0 ? row : column);
  for (let row = 0, index = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, index++) {
      const group = groupOf(row, column);
      scales[group] = Math.max(scales[group] ?? 0, Math.abs(values[index] ?? 0));
    }
  for (const [group, largest] of scales.entries()) scales[group] = largest / 127;
  const integers = new Int8Array(values.length);
  for (let row = 0, index = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, index++) {
      const scale = scales[groupOf(row, column)] ?? 0;
      integers[index] = scale === 0 ? 0 : Math.round((values[index] ?? 0) / scale);
    }
  return { integers, scales };
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

/** Place of the scale of an element among the row-major scales. */
function scalePlace([, columns]: MatrixShape, axis: 0 | 1, groupSize: number): (index: number) => number {
  const groups = Math.ceil(columns / groupSize);
  return axis === 0
    ? (index) => Math.floor(Math.floor(index / columns) / groupSize) * columns + (index % columns)
    : (index) => Math.floor(index / columns) * groups + Math.floor((index % columns) / groupSize);
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
  const [rows, columns] = int4ScaleShape(shape, axis, groupSize);
  const scales = new Float32Array(rows * columns);
  const place = scalePlace(shape, axis, groupSize);
  for (const [index, value] of values.entries()) {
    const at = place(index);
    if (Math.abs(value) > Math.abs(scales[at] ?? 0)) scales[at] = value;
  }
  for (const [at, largest] of scales.entries()) scales[at] = largest / -8;
  const integers = Int8Array.from(values, (value, index) => {
    const scale = scales[place(index)] ?? 0;
    return scale === 0 ? 0 : Math.min(7, Math.max(-8, Math.round(value / scale)));
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
  const place = scalePlace(shape, axis, groupSize);
  return Float32Array.from(integers, (integer, index) => integer * (scales[place(index)] ?? 0));
}

/** Two four-bit integers a byte, the first in the low bits, as ONNX packs them. */
export function packInt4(integers: Int8Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(integers.length / 2));
  for (const [index, integer] of integers.entries())
    packed[index >> 1] = (packed[index >> 1] ?? 0) | ((integer & 15) << ((index & 1) * 4));
  return packed;
}
