/** @file Weights in an ONNX model as external data: their element types, shapes and places in files. */
import { internalError } from "../errors.ts";
import { onnxDataType } from "../graph/operation.ts";
import { partsOf, storedPart } from "../graph/weight-form.ts";
import type { PartName, RowRange, WeightForm, WeightPart } from "../graph/weight-form.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import { externalLocation } from "./schema.ts";
import type { TensorMessage } from "./schema.ts";

/** Where the bytes of a weight, or of one array of it, lie: `file` is a plain name in the model's own folder. */
export interface ExternalTensor {
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** ONNX's numbers for element types of the arrays that stored matrices consist of. */
const onnxPartType: Readonly<Record<WeightPart["type"], number>> = {
  float32: onnxDataType.float32,
  uint8: onnxDataType.uint8,
  int8: onnxDataType.int8,
  float16: 10,
  bfloat16: 16,
  int4: 22,
};

/** @throws DeltafitError `internal` where the place has another length. */
export function externalTensor(
  name: string,
  {
    type,
    dims,
    byteLength,
  }: { readonly type: number; readonly dims: readonly number[]; readonly byteLength: number },
  location: ExternalTensor,
): TensorMessage {
  if (byteLength !== location.byteLength)
    throw internalError(
      `the weight ${name} should have ${byteLength} bytes, but has ${location.byteLength}.`,
    );
  return {
    name,
    data_type: type,
    dims,
    data_location: externalLocation,
    external_data: [
      { key: "location", value: location.file },
      { key: "offset", value: String(location.offset) },
      { key: "length", value: String(byteLength) },
    ],
  };
}

/** One array of a matrix in a form. */
export interface MatrixPart {
  readonly form: WeightForm;
  readonly part: PartName;
  /** Of the whole matrix. */
  readonly shape: readonly number[];
  /** Where only some rows are meant. */
  readonly rows?: RowRange | undefined;
}

/** @param whole Where the array lies with all rows of the matrix. */
export function partTensor(
  name: string,
  { form, part, shape: [rowCount = 0, ...others], rows }: MatrixPart,
  whole: ExternalTensor,
): TensorMessage {
  const arrayOf = (count: number) => {
    const array = partsOf(form, [count, ...others])[part];
    if (!array) throw internalError(`the array ${name} is not part of the form ${form.kind}.`);
    const { dtype, shape } = storedPart(array);
    const byteLength = elementCount(shape) * bytesPerElement[dtype];
    return { type: onnxPartType[array.type], dims: array.shape, byteLength };
  };
  const all = externalTensor(name, arrayOf(rowCount), whole);
  if (!rows) return all;
  const some = arrayOf(rows.to - rows.from);
  const offset = whole.offset + arrayOf(rows.from).byteLength;
  return externalTensor(name, some, { file: whole.file, offset, byteLength: some.byteLength });
}
