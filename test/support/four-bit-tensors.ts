/** @file A matrix in bitsandbytes' four bits, as transformers saves it: the tensors it consists of, by name. */
import { dynamicCodes, nestedBlockSize, nestScales } from "../../src/tensor/dynamic-eight-bit.ts";
import { fourBitCodes, quantiseBlocks } from "../../src/tensor/four-bit-blocks.ts";
import { float32Tensor } from "../../src/tensor/tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";

export const byteTensor = (data: Uint8Array): Tensor => ({ dtype: "uint8", shape: [data.length], data });

export const stateTensor = (state: object): Tensor =>
  byteTensor(new TextEncoder().encode(JSON.stringify(state)));

/** @param isDouble Whether the scales are in eight bits, too. */
export function fourBitTensors(
  name: string,
  shape: readonly number[],
  values: Float32Array,
  isDouble = false,
): Record<string, Tensor> {
  const { packed, scales } = quantiseBlocks(values, 64, "nf4");
  const state = { quant_type: "nf4", blocksize: 64, dtype: "float32", shape };
  const stateName = `${name}.quant_state.bitsandbytes__nf4`;
  const common = {
    [name]: byteTensor(packed),
    [`${name}.quant_map`]: float32Tensor([16], fourBitCodes.nf4),
  };
  if (!isDouble)
    return {
      ...common,
      [`${name}.absmax`]: float32Tensor([scales.length], scales),
      [stateName]: stateTensor(state),
    };
  const nested = nestScales(scales, nestedBlockSize);
  return {
    ...common,
    [`${name}.absmax`]: byteTensor(nested.codes),
    [`${name}.nested_absmax`]: float32Tensor([nested.scales.length], nested.scales),
    [`${name}.nested_quant_map`]: float32Tensor([256], dynamicCodes),
    [stateName]: stateTensor({
      ...state,
      nested_blocksize: nestedBlockSize,
      nested_dtype: "float32",
      nested_offset: nested.offset,
    }),
  };
}
