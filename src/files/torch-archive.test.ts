import fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failureOf, rejectionOf } from "../../test/support/failure.ts";
import { scratchFolder } from "../../test/support/tiny-base.ts";
import { DeltafitError } from "../errors.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { openTorchArchive } from "./torch-archive.ts";

const fixtures = join("test", "fixtures", "torch");
let scratch: ReturnType<typeof scratchFolder>;
beforeAll(() => {
  scratch = scratchFolder();
});
afterAll(() => scratch.dispose());

const failureIn = (name: string) => rejectionOf(() => openTorchArchive(join(fixtures, name)), fixtures);

describe.each(["tensors.pt", "nested.pt", "protocol-4.pt"])("%s", (name) => {
  it("gives views, all float types, empty tensors and scalars as torch does", async () => {
    const archive = await openTorchArchive(join(fixtures, name));
    const shapes = Object.fromEntries(
      [...archive.tensors].map(([key, { dtype, shape }]) => [key, [dtype, ...shape]]),
    );
    expect(shapes).toEqual({
      parameter: ["float32", 4, 6],
      transposed: ["float32", 6, 4],
      half: ["float16", 2, 3],
      bfloat: ["bfloat16", 6],
      double: ["float64", 6],
      integers: ["int64", 3],
      empty: ["float32", 0, 3],
      scalar: ["float32"],
    });
    const read = (key: string) => [...archive.readFloat32(key)];
    expect(read("parameter")).toEqual([...Array(24).keys()]);
    expect(read("transposed").slice(0, 8)).toEqual([0, 6, 12, 18, 1, 7, 13, 19]);
    expect(read("half")).toEqual([8, 9, 10, 14, 15, 16]);
    expect(read("bfloat")).toEqual([0, 1, 2, 3, 4, 5]);
    expect(read("double")).toEqual([18, 19, 20, 21, 22, 23]);
    expect(read("empty")).toEqual([]);
    expect(read("scalar")).toEqual([3.5]);
    expect(failureOf(() => archive.readFloat32("integers"), fixtures)).toEqual({
      code: "file-invalid",
      message: `"FOLDER/${name}": the tensor "integers" holds int64; expected floating point numbers.`,
      hint: undefined,
    });
    expect(failureOf(() => archive.readFloat32("other"), fixtures)).toEqual({
      code: "checkpoint-mismatch",
      message: `"FOLDER/${name}" has no tensor "other".`,
      hint: undefined,
    });
  });
});

describe("files that are refused", () => {
  it("names whatever would have to be imported", async () => {
    expect(await failureIn("code.pt")).toEqual({
      code: "file-refused",
      message:
        '"FOLDER/code.pt" holds more than a dictionary of tensors: the name "torch.device" at byte 33.',
      hint:
        "deltafit reads tensors from torch's files and never runs their code. Save the state dictionary alone, " +
        "or as safetensors.",
    });
  });

  it("refuses the format before torch 1.6, which is a pickle from its first byte on", async () => {
    expect(await failureIn("before-1.6.pt")).toEqual({
      code: "file-refused",
      message: '"FOLDER/before-1.6.pt" is not the zip archive that torch.save has written since torch 1.6.',
      hint: "Load it with a current torch and save its state dictionary again, best as safetensors.",
    });
  });

  it("expects a dictionary of tensors", async () => {
    expect(await failureIn("list.pt")).toEqual({
      code: "file-invalid",
      message: '"FOLDER/list.pt" holds no dictionary of tensors.',
      hint: "Save the adapter's state dictionary, as loralib's lora_state_dict gives it.",
    });
  });

  it("refuses a broken zip archive", async () => {
    const path = join(scratch.path, "short.pt");
    fs.writeFileSync(path, fs.readFileSync(join(fixtures, "tensors.pt")).subarray(0, 1000));
    expect(await rejectionOf(() => openTorchArchive(path), scratch.path)).toEqual({
      code: "file-invalid",
      message:
        '"FOLDER/short.pt" is a broken zip archive: End of central directory record signature not found. ' +
        "Either not a zip file, or file is truncated.",
      hint: "Check that the download or the copy is complete.",
    });
  });

  it("refuses a tensor that reaches beyond its storage", async () => {
    const path = join(scratch.path, "beyond.pt");
    const bytes = fs.readFileSync(join(fixtures, "tensors.pt"));
    // The shape (4, 6) and strides (6, 1) of the first tensor: BININT1 4, BININT1 6, TUPLE2.
    const place = bytes.indexOf(Buffer.from([0x4b, 4, 0x4b, 6, 0x86]));
    bytes[place + 1] = 5;
    fs.writeFileSync(path, bytes);
    expect(await rejectionOf(() => openTorchArchive(path), scratch.path)).toEqual({
      code: "file-invalid",
      message:
        '"FOLDER/beyond.pt": the tensor "parameter" of shape [5, 6] does not lie within its storage "0".',
      hint: "Check that the download or the copy is complete.",
    });
  });
});

it("reads or refuses 1,500 files with changed bytes, and never fails in another way", async () => {
  const original = fs.readFileSync(join(fixtures, "nested.pt"));
  const random = new TorchGenerator(7);
  let refused = 0;
  for (let round = 0; round < 1500; round++) {
    const bytes = Uint8Array.from(original);
    const places = random.uniform(4, 0, bytes.length);
    for (const [index, value] of random.uniform(4, 0, 256).entries())
      bytes[Math.min(bytes.length - 1, Math.floor(places[index] ?? 0))] = Math.floor(value);
    const path = join(scratch.path, "changed.pt");
    fs.writeFileSync(path, bytes);
    try {
      const archive = await openTorchArchive(path);
      for (const [name, { dtype }] of archive.tensors) if (dtype !== "int64") archive.readFloat32(name);
    } catch (error) {
      if (!DeltafitError.isInstance(error) || error.code === "internal") throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(200);
  expect(refused).toBeLessThan(1500);
});
