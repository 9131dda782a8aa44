/** @file Checkpoints in four bits: shown as float32 matrices, and refused where they contradict themselves. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { byteTensor, fourBitTensors, stateTensor } from "../../test/support/four-bit-tensors.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { nestScales, unnestScales } from "../tensor/dynamic-eight-bit.ts";
import { dequantiseBlocks, quantiseBlocks } from "../tensor/four-bit-blocks.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { withFourBitTensors } from "./four-bit-checkpoint.ts";
import { writeSafetensors } from "./safetensors-write.ts";

const values = Float32Array.from({ length: 70 }, (_, index) => Math.sin(index));
const blocks = quantiseBlocks(values, 64, "nf4");
const stateName = "layer.weight.quant_state.bitsandbytes__nf4";
const state = { quant_type: "nf4", blocksize: 64, dtype: "float32", shape: [7, 10] };

function write(changes: Readonly<Record<string, Tensor | undefined>> = {}, isDouble = false) {
  const folder = temporaryFolder();
  const tensors: Record<string, Tensor | undefined> = {
    "norm.weight": float32Tensor([2], [1, 2]),
    ...fourBitTensors("layer.weight", [7, 10], values, isDouble),
    ...changes,
  };
  const entries = Object.entries(tensors).flatMap(([name, tensor]) => (tensor ? [{ name, tensor }] : []));
  writeSafetensors(`${folder}/model.safetensors`, entries);
  return folder;
}

const open = (folder: string) => withFourBitTensors(openCheckpoint(folder));

test("its matrices look like float32 ones, and their arrays are there as well", () => {
  const checkpoint = open(write());
  expect([...checkpoint.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
    ["norm.weight", "float32", [2]],
    ["layer.weight", "float32", [7, 10]],
  ]);
  expect(checkpoint.readFloat32("layer.weight")).toEqual(dequantiseBlocks(blocks, 70, 64, "nf4"));
  expect(checkpoint.fourBit.get("layer.weight")?.read()).toEqual(blocks);
  expect(checkpoint.readFloat32("norm.weight")).toEqual(Float32Array.of(1, 2));
});

test("doubly quantised scales come as float32, and as they lie", () => {
  const checkpoint = open(write({}, true));
  const nested = nestScales(blocks.scales, 256);
  const { packed } = blocks;
  const tensor = checkpoint.fourBit.get("layer.weight");
  expect(tensor?.read()).toEqual({ packed, scales: unnestScales(nested, 256) });
  expect(tensor?.nested?.blockSize).toBe(256);
  expect(tensor?.nested?.read()).toEqual(nested);
  const other = open(
    write({ "layer.weight.nested_quant_map": float32Tensor([256], new Float32Array(256)) }, true),
  );
  expect(other.fourBit.get("layer.weight")?.nested).toBeUndefined();
});

const hint = "Download the model again, or use its checkpoint without quantisation.";

test.each<[string, Readonly<Record<string, Tensor | undefined>>, boolean, string]>([
  [
    "a tensor is missing",
    { "layer.weight.absmax": undefined },
    false,
    'lacks the tensor "layer.weight.absmax".',
  ],
  [
    "the shape does not fit the bytes",
    { [stateName]: stateTensor({ ...state, shape: [7, 1000] }) },
    false,
    'has 35 bytes in "layer.weight": expected 3500 for [7, 1000].',
  ],
  [
    "there are too few scales",
    { "layer.weight.absmax": float32Tensor([1], [1]) },
    false,
    'has 4 bytes in "layer.weight.absmax": expected 8 for [7, 10].',
  ],
  [
    "the codes are others",
    { "layer.weight.quant_map": float32Tensor([16], new Float32Array(16)) },
    false,
    'has other codes than nf4 in "layer.weight.quant_map".',
  ],
  [
    "it is of another kind",
    { [stateName]: stateTensor({ ...state, quant_type: "fp4" }) },
    false,
    "is called nf4, but describes itself as fp4.",
  ],
  [
    "the description is no JSON",
    { [stateName]: byteTensor(Uint8Array.of(123)) },
    false,
    "has a description that is no JSON.",
  ],
  [
    "the description is too long",
    { [stateName]: byteTensor(new Uint8Array(5000)) },
    false,
    "has a description of 5000 bytes: expected at most 4096.",
  ],
  [
    "scales of its scales are missing",
    { "layer.weight.nested_absmax": undefined },
    true,
    'lacks the tensor "layer.weight.nested_absmax".',
  ],
  [
    "scales are not in eight bits",
    { "layer.weight.absmax": float32Tensor([2], [1, 1]) },
    true,
    'has 8 bytes in "layer.weight.absmax": expected 2 for [7, 10].',
  ],
])("is refused where %s", (_what, changes, isDouble, problem) => {
  const folder = write(changes, isDouble);
  expect(failureOf(() => open(folder), folder)).toEqual({
    code: "file-invalid",
    message: `"FOLDER": the matrix "layer.weight" in four bits ${problem}`,
    hint,
  });
});

test("blocks of scales longer than bitsandbytes makes them are refused", () => {
  const folder = write({ [stateName]: stateTensor({ ...state, nested_blocksize: 10 ** 12 }) }, true);
  expect(failureOf(() => open(folder), folder)).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": undefined,
      "message": ""layer.weight.quant_state.bitsandbytes__nf4" is not valid: nested_blocksize: expected at most 4096, found 1000000000000.",
    }
  `);
});
