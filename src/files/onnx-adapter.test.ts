import fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolder } from "../../test/support/tiny-base.ts";
import { DeltafitError } from "../errors.ts";
import { readOnnxAdapter, writeOnnxAdapter } from "./onnx-adapter.ts";

const recorded = join("test", "fixtures", "onnx-adapter", "two.onnx_adapter");
let scratch: ReturnType<typeof scratchFolder>;
beforeAll(() => {
  scratch = scratchFolder();
});
afterAll(() => scratch.dispose());

const counted = Float32Array.from({ length: 16 }, (_, index) => index);
const stem = "model.layers.0.self_attn.q_proj";
const expected = [
  { name: `${stem}.lora_A.weight`, shape: [8, 2], values: counted },
  { name: `${stem}.lora_B.weight`, shape: [2, 8], values: counted.map((value) => -value / 16) },
];

it("reads what ONNX Runtime wrote", () => {
  const found = readOnnxAdapter(recorded);
  expect(found.sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual(expected);
});

it("reads what it wrote, also names of any length, which move everything behind them", () => {
  const path = join(scratch.path, "own.onnx_adapter");
  const parameters = Array.from({ length: 9 }, (_, length) => ({
    name: "n".repeat(length + 1),
    shape: [length],
    values: counted.slice(0, length),
  }));
  writeOnnxAdapter(path, parameters);
  expect(readOnnxAdapter(path)).toEqual(parameters);
});

it("refuses what is no adapter file", () => {
  const path = join(scratch.path, "other.onnx_adapter");
  fs.writeFileSync(path, "twelve bytes");
  expect(failureOf(() => readOnnxAdapter(path), scratch.path)).toEqual({
    code: "file-invalid",
    message: '"FOLDER/other.onnx_adapter" is no adapter of ONNX Runtime: bytes 4 to 7 are not "TORT".',
    hint: "Check that the download or the copy is complete.",
  });
});

it("refuses a file at whatever byte it ends, and says so", () => {
  const bytes = fs.readFileSync(recorded);
  const path = join(scratch.path, "short.onnx_adapter");
  for (let length = 8; length < bytes.length; length += 4) {
    fs.writeFileSync(path, bytes.subarray(0, length));
    expect(failureOf(() => readOnnxAdapter(path), scratch.path).code).toBe("file-invalid");
  }
  fs.writeFileSync(path, bytes.subarray(0, 64));
  expect(failureOf(() => readOnnxAdapter(path), scratch.path).message).toBe(
    '"FOLDER/short.onnx_adapter" is no adapter of ONNX Runtime: it points outside of itself.',
  );
});

it("reads or refuses a file with any one byte changed", () => {
  const bytes = fs.readFileSync(recorded);
  const path = join(scratch.path, "changed.onnx_adapter");
  let refused = 0;
  for (let place = 0; place < bytes.length; place++) {
    const changed = Uint8Array.from(bytes);
    changed[place] = 255 - (changed[place] ?? 0);
    fs.writeFileSync(path, changed);
    try {
      readOnnxAdapter(path);
    } catch (error) {
      if (!DeltafitError.isInstance(error)) throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(50);
});
