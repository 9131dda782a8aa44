/**
 * @file Quantised bases against bitsandbytes and PEFT: packed bytes and scales of single matrices, and checkpoints as
 * transformers saves them, with LoRA trained beside them (QLoRA).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { loadAdapter } from "../../src/adapters/folder.ts";
import { readJsonFile } from "../../src/files/json.ts";
import {
  dequantiseDynamic,
  dynamicCodes,
  nestedBlockSize,
  nestScales,
  quantiseDynamic,
  unnestScales,
} from "../../src/tensor/dynamic-eight-bit.ts";
import { dequantiseBlocks, fourBitCodes, quantiseBlocks } from "../../src/tensor/four-bit-blocks.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { CaseFailure, caseFolders, compare, floats, readBatch, readTensors, tolerances } from "./cases.ts";
import type { Tolerance } from "./cases.ts";
import { compareOutput, computeLogits, computeLoss, openCaseBase } from "./computed.ts";
import { caseSchema, checkTraining } from "./methods.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

const blocksSchema = z.looseObject({
  cases: z.array(
    z.looseObject({
      key: z.string(),
      quant_type: z.enum(["nf4", "fp4"]),
      blocksize: z.int(),
      double_quant: z.boolean(),
      nested_blocksize: z.int().nullable(),
    }),
  ),
});

const kindSchema = z.looseObject({ quant_type: z.enum(["nf4", "fp4"]), double_quant: z.boolean() });

/** Smaller than any difference of two float32 numbers that differ. */
const exactly: Tolerance = { absolute: Number.MIN_VALUE, relative: 0 };

export const quantised: ReferenceSection = ({ root }) =>
  caseFolders(root, "quant").map((name): ReferenceCase => {
    const folder = join(root, "quant", name);
    return {
      name: `quant/${name}`,
      check: () => (existsSync(join(folder, "base")) ? checkModel(folder) : checkBlocks(folder)),
    };
  });

function checkBlocks(folder: string): void {
  const { cases } = blocksSchema.parse(readJsonFile(join(folder, "case.json")));
  const tensors = readTensors(join(folder, "expected.safetensors"));
  for (const one of cases) checkBlocksOf(tensors, one);
  const weight = floats(tensors, "dynamic8.weight").data;
  const { codes, scales } = quantiseDynamic(weight, 256);
  const values = dequantiseDynamic({ codes, scales }, 256);
  compareArrays(tensors, "dynamic8", {
    packed: codes,
    absmax: scales,
    code: dynamicCodes,
    dequantised: values,
  });
}

function checkBlocksOf(
  tensors: ReadonlyMap<string, Tensor>,
  { key, quant_type: kind, blocksize, ...one }: z.output<typeof blocksSchema>["cases"][number],
): void {
  const weight = floats(tensors, `${key}.weight`).data;
  const { packed, scales } = quantiseBlocks(weight, blocksize, kind);
  compareArrays(tensors, key, { packed, code: fourBitCodes[kind] });
  if (!one.double_quant) {
    compareArrays(tensors, key, { absmax: scales });
    const dequantised = dequantiseBlocks({ packed, scales }, weight.length, blocksize, kind);
    compareArrays(tensors, key, { dequantised });
    return;
  }
  // The mean is torch's, whose order of addition is its own.
  const mean = floats(tensors, `${key}.offset`).data[0] ?? NaN;
  const nestedSize = one.nested_blocksize ?? nestedBlockSize;
  const nested = nestScales(scales, nestedSize, mean);
  const restored = unnestScales(nested, nestedSize);
  compareArrays(tensors, key, {
    ...{ absmax: nested.codes, nested_absmax: nested.scales, nested_code: dynamicCodes },
    dequantised: dequantiseBlocks({ packed, scales: restored }, weight.length, blocksize, kind),
  });
}

function compareArrays(
  tensors: ReadonlyMap<string, Tensor>,
  key: string,
  arrays: Readonly<Record<string, Uint8Array | Float32Array>>,
): void {
  for (const [name, data] of Object.entries(arrays)) {
    const expected = tensors.get(`${key}.${name}`);
    if (!expected || expected.dtype === "int64") throw new CaseFailure(`the case has no ${key}.${name}`);
    compare(
      `${key}.${name}`,
      { shape: expected.shape, data },
      { shape: expected.shape, data: numbers(expected) },
      exactly,
    );
  }
}

const numbers = ({ data }: Tensor): Float64Array => Float64Array.from<number | bigint>(data, Number);

async function checkModel(folder: string): Promise<void> {
  const recorded = z.looseObject({}).parse(readJsonFile(join(folder, "case.json")));
  const base = await openCaseBase(join(folder, "base"), "causal-lm");
  const { quant_type: kind, double_quant: isDouble } = kindSchema.parse(recorded);
  if (base.storage !== (isDouble ? `${kind}-double` : kind))
    throw new CaseFailure(`it is kept as ${base.storage}`);
  const expected = readTensors(join(folder, "expected.safetensors"));
  for (const key of expected.keys()) {
    const [, name] = /^dequantised\.(.+)$/.exec(key) ?? [];
    if (name === undefined) continue;
    const { shape, data } = floats(expected, key);
    compare(key, { shape, data: base.readRounded(name) }, { shape, data }, exactly);
    if (base.locate(name).form === undefined) throw new CaseFailure(`${name} is not kept in four bits`);
  }
  const batch = readBatch(folder, "forward");
  if (!batch) throw new CaseFailure("inputs.json has no batch called forward");
  const adapter = loadAdapter(join(folder, "adapter"), base);
  const tolerance = tolerances.values;
  for (const [output, adapters] of [
    ["base_logits", []],
    ["logits", [adapter]],
  ] as const) {
    const computed = await computeLogits(base, adapters, batch);
    compareOutput(output, computed, "logits", floats(expected, output), batch, tolerance);
  }
  const loss = await computeLoss(base, [adapter], batch);
  compare("loss", { shape: [], data: [loss] }, floats(expected, "loss"), tolerance);
  const missing = { task: "causal-lm", settings: {}, parameters: { trainable: adapter.layout.size } };
  const info = caseSchema.parse({ ...recorded, ...missing, without_gradient: [] });
  await checkTraining({ folder, info, base, batch, expected, tolerance }, adapter);
}
