/** @file Bases from checkpoints in four bits: their arrays are kept as they are, or as another storage asks. */
import fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fourBitTensors } from "../../test/support/four-bit-tensors.ts";
import { scratchFolderPerTest } from "../../test/support/scratch-per-test.ts";
import { tinyBase } from "../../test/support/tiny-base.ts";
import { writeSafetensors } from "../files/safetensors-write.ts";
import type { ArrayLocation } from "../runtime/session.ts";
import { float32Tensor } from "../tensor/tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { openBase, storedParameters } from "./base.ts";
import { storableMatrices } from "./weight-storage.ts";
import type { Storage } from "./weight-storage.ts";

const scratch = scratchFolderPerTest();

const matrix = "model.layers.0.mlp.down_proj.weight";
const [plainForm, doubleForm] = [
  { kind: "nf4", blockSize: 64 },
  { kind: "nf4", blockSize: 64, nestedBlockSize: 256 },
];

/** A folder with the tiny base, 4096 wide inside, whose layers' matrices are in four bits. */
async function writeCheckpoint(isDouble: boolean, changes: Readonly<Record<string, Tensor>> = {}) {
  const base = await tinyBase(scratch.path, { configuration: { intermediate_size: 4096 } });
  const folder = join(scratch.path, "model");
  fs.mkdirSync(folder);
  fs.copyFileSync(join(scratch.path, "config.json"), join(folder, "config.json"));
  const inFourBits = new Set(storableMatrices(base.modules, "nf4").map(({ stored }) => stored));
  const tensors = storedParameters(base.modules).flatMap(({ stored, shape }): [string, Tensor][] =>
    inFourBits.has(stored)
      ? Object.entries(fourBitTensors(stored, shape, base.read(stored), isDouble))
      : [[stored, float32Tensor(shape, base.read(stored))]],
  );
  writeSafetensors(
    join(folder, "model.safetensors"),
    tensors.map(([name, tensor]) => ({ name, tensor: changes[name] ?? tensor })),
  );
  return (storage?: Storage) => openBase({ path: folder, task: "causal-lm", storage });
}

function bytesAt(location: ArrayLocation | undefined): Uint8Array {
  if (!location) throw new Error("there is no such array");
  return fs.readFileSync(location.path).subarray(location.offset, location.offset + location.byteLength);
}

test("doubly quantised matrices stay so, and cost no more rounding", async () => {
  const open = await writeCheckpoint(true);
  const base = await open();
  const { form, parts } = base.locate(matrix);
  expect([base.storage, form]).toEqual(["nf4-double", doubleForm]);
  expect(Object.keys(parts ?? {}).sort()).toEqual(["nestedOffset", "nestedScales", "scales"]);
  expect(base.readRounded(matrix)).toEqual(base.read(matrix));
  const again = await tinyBase(scratch.path, {
    storage: "nf4-double",
    configuration: { intermediate_size: 4096 },
  });
  for (const part of ["scales", "nestedScales", "nestedOffset"] as const)
    expect(bytesAt(parts?.[part])).toEqual(bytesAt(again.locate(matrix).parts?.[part]));
  expect(bytesAt(base.locate(matrix))).toEqual(bytesAt(again.locate(matrix)));
  expect(base.readRounded(matrix)).toEqual(again.readRounded(matrix));
});

test("as nf4 their scales are widened, and nothing else changes", async () => {
  const open = await writeCheckpoint(true);
  const base = await open("nf4");
  const { form, parts } = base.locate(matrix);
  expect([base.storage, form, Object.keys(parts ?? {})]).toEqual(["nf4", plainForm, ["scales"]]);
  expect(base.readRounded(matrix)).toEqual((await open()).readRounded(matrix));
});

test("matrices with scales in float32 keep their bits, and lose these scales' where that is asked for", async () => {
  const open = await writeCheckpoint(false);
  const [plain, double] = [await open(), await open("nf4-double")];
  expect([plain.storage, plain.locate(matrix).form]).toEqual(["nf4", plainForm]);
  expect([double.storage, double.locate(matrix).form]).toEqual(["nf4-double", doubleForm]);
  expect(bytesAt(double.locate(matrix))).toEqual(bytesAt(plain.locate(matrix)));
  const [exact, rounded] = [plain.readRounded(matrix), double.readRounded(matrix)];
  expect(rounded).not.toEqual(exact);
  const largest = Math.max(...exact.map(Math.abs));
  for (const [index, value] of exact.entries())
    expect(Math.abs(rounded[index]! - value)).toBeLessThan(0.01 * largest);
});

test("scales in codes of another table are widened", async () => {
  const table = Float32Array.from({ length: 256 }, (_, index) => index / 127.5 - 1);
  const open = await writeCheckpoint(true, {
    [`${matrix}.nested_quant_map`]: float32Tensor([256], table),
  });
  const base = await open("nf4-double");
  // What is kept is the nearest to what the checkpoint stands for.
  const [read, rounded] = [base.read(matrix), base.readRounded(matrix)];
  const largest = Math.max(...read.map(Math.abs));
  for (const [index, value] of read.entries())
    expect(Math.abs(rounded[index]! - value)).toBeLessThan(0.02 * largest);
  expect((await open("nf4")).readRounded(matrix)).toEqual(read);
});
