/** @file Checkpoints in four bits: shown as float32 matrices, and refused where they contradict themselves. */
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { dequantiseBlocks, fourBitCodes, quantiseBlocks } from "../tensor/four-bit-blocks.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { withFourBitTensors } from "./four-bit-checkpoint.ts";
import { writeSafetensors } from "./safetensors-write.ts";

const values = Float32Array.from({ length: 70 }, (_, index) => Math.sin(index));
const blocks = quantiseBlocks(values, 64, "nf4");
const bytes = (data: Uint8Array): Tensor => ({ dtype: "uint8", shape: [data.length], data });
const state = { quant_type: "nf4", blocksize: 64, dtype: "float32", shape: [7, 10] };

function write(changes: Readonly<Record<string, Tensor | undefined>> = {}, description: object = state) {
  const folder = temporaryFolder();
  const tensors: Record<string, Tensor | undefined> = {
    "norm.weight": float32Tensor([2], [1, 2]),
    "layer.weight": bytes(blocks.packed),
    "layer.weight.absmax": float32Tensor([2], blocks.scales),
    "layer.weight.quant_map": float32Tensor([16], fourBitCodes.nf4),
    "layer.weight.quant_state.bitsandbytes__nf4": bytes(
      new TextEncoder().encode(JSON.stringify(description)),
    ),
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

const hint = "Download the model again, or use its checkpoint without quantisation.";

test.each<[string, Readonly<Record<string, Tensor | undefined>>, object, string]>([
  [
    "a tensor is missing",
    { "layer.weight.absmax": undefined },
    state,
    'lacks the tensor "layer.weight.absmax".',
  ],
  [
    "the shape does not fit the bytes",
    {},
    { ...state, shape: [7, 1000] },
    'has 35 bytes in "layer.weight": expected 3500 for [7, 1000].',
  ],
  [
    "there are too few scales",
    { "layer.weight.absmax": float32Tensor([1], [1]) },
    state,
    'has 4 bytes in "layer.weight.absmax": expected 8 for [7, 10].',
  ],
  [
    "the codes are others",
    { "layer.weight.quant_map": float32Tensor([16], new Float32Array(16)) },
    state,
    'has other codes than nf4 in "layer.weight.quant_map".',
  ],
  [
    "it is of another kind",
    {},
    { ...state, quant_type: "fp4" },
    "is called nf4, but describes itself as fp4.",
  ],
  [
    "the description is no JSON",
    { "layer.weight.quant_state.bitsandbytes__nf4": bytes(Uint8Array.of(123)) },
    state,
    "has a description that is no JSON.",
  ],
  [
    "the description is too long",
    { "layer.weight.quant_state.bitsandbytes__nf4": bytes(new Uint8Array(5000)) },
    state,
    "has a description of 5000 bytes: expected at most 4096.",
  ],
])("is refused where %s", (_what, changes, description, problem) => {
  const folder = write(changes, description);
  expect(failureOf(() => open(folder), folder)).toEqual({
    code: "file-invalid",
    message: `"FOLDER": the matrix "layer.weight" in four bits ${problem}`,
    hint,
  });
});
