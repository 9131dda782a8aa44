import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import type { StoredDataType, Tensor } from "../tensor/tensor.ts";
import { openSafetensors, readFloat32, readTensor, readTensorBytes } from "./safetensors.ts";
import { writeSafetensors } from "./safetensors-write.ts";
import type { SafetensorsEntry } from "./safetensors-write.ts";

function written(...entries: readonly SafetensorsEntry[]): string {
  const file = path.join(temporaryFolder(), "a.safetensors");
  writeSafetensors(file, entries);
  return file;
}

function streamed(
  name: string,
  dtype: StoredDataType,
  values: ArrayBufferView,
  count: number,
): SafetensorsEntry {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype, shape: [count], chunks: () => [bytes] };
}

describe("writing", () => {
  test("the bytes are those of the format: wide elements first, header padded to 8 bytes", () => {
    const file = path.join(temporaryFolder(), "a.safetensors");
    const bool: Tensor<"bool"> = { dtype: "bool", shape: [1], data: Uint8Array.of(1) };
    writeSafetensors(
      file,
      [
        { name: "flag", tensor: bool },
        { name: "b", tensor: float32Tensor([], [1.5]) },
        { name: "a", tensor: float32Tensor([1, 2], [1, -2]) },
        { name: "ids", tensor: int64Tensor([1], [-1]) },
      ],
      { format: "pt" },
    );
    const bytes = readFileSync(file);
    const headerLength = Number(bytes.readBigUInt64LE(0));
    const header =
      '{"__metadata__":{"format":"pt"},"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"a":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]},"b":{"dtype":"F32","shape":[],"data_offsets":[16,20]},' +
      '"flag":{"dtype":"BOOL","shape":[1],"data_offsets":[20,21]}}';
    expect(headerLength).toBe(Math.ceil(header.length / 8) * 8);
    expect(bytes.subarray(8, 8 + headerLength).toString()).toBe(header.padEnd(headerLength, " "));
    expect(bytes.subarray(8 + headerLength).toString("hex")).toBe(
      "ffffffffffffffff0000803f000000c00000c03f01",
    );
  });

  test("no tensors, and the name __proto__", () => {
    const empty = openSafetensors(written());
    expect([empty.tensors.size, empty.metadata]).toEqual([0, {}]);
    const file = openSafetensors(written({ name: "__proto__", tensor: float32Tensor([1], [3]) }));
    expect([...readFloat32(file, "__proto__")]).toEqual([3]);
  });

  test("float32 may be stored as float16 or bfloat16", () => {
    const tensor = float32Tensor([3], [1, 65504, 1 + 2 ** -9]);
    const file = openSafetensors(
      written({ name: "half", tensor, storedAs: "float16" }, { name: "brain", tensor, storedAs: "bfloat16" }),
    );
    expect(file.tensors.get("half")?.dtype).toBe("float16");
    expect([...readFloat32(file, "half")]).toEqual([1, 65504, 1 + 2 ** -9]);
    expect([...readFloat32(file, "brain")]).toEqual([1, 65536, 1]);
  });

  test("a name twice, a reserved name and data of the wrong length are defects; nothing is written", () => {
    const tensor = float32Tensor([1], [1]);
    const folder = temporaryFolder();
    const write = (entries: readonly SafetensorsEntry[]) =>
      failureOf(() => writeSafetensors(path.join(folder, "a"), entries)).message;
    expect([
      write([
        { name: "a", tensor },
        { name: "a", tensor },
      ]),
      write([{ name: "__metadata__", tensor }]),
      write([{ name: "a", tensor: float32Tensor([2], [1]) }]),
      write([streamed("a", "uint8", Uint8Array.of(1, 2), 3)]),
    ]).toEqual([
      'internal: tensor name "a" is taken',
      'internal: tensor name "__metadata__" is taken',
      'internal: tensor "a" of shape [2] has 1 elements',
      'internal: tensor "a" gave 2 bytes, expected 3',
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe("reading", () => {
  test("every stored type arrives as a host tensor", () => {
    const file = openSafetensors(
      written(
        streamed("float64", "float64", Float64Array.of(1.5, 0.1), 2),
        streamed("float16", "float16", Uint16Array.of(0x3c00, 0xc000), 2),
        streamed("bfloat16", "bfloat16", Uint16Array.of(0x3f80, 0xc000), 2),
        streamed("float32", "float32", Float32Array.of(1, -2), 2),
        streamed("int64", "int64", BigInt64Array.of(-(2n ** 63n)), 1),
        streamed("int32", "int32", Int32Array.of(-7), 1),
        streamed("uint32", "uint32", Uint32Array.of(2 ** 32 - 1), 1),
        streamed("int16", "int16", Int16Array.of(-300), 1),
        streamed("int8", "int8", Int8Array.of(-7), 1),
        streamed("uint8", "uint8", Uint8Array.of(200), 1),
        streamed("bool", "bool", Uint8Array.of(1, 0), 2),
      ),
    );
    const tensors = [...file.tensors.keys()].map((name) => [name, readTensor(file, name)]);
    expect(Object.fromEntries(tensors)).toEqual({
      float64: { dtype: "float32", shape: [2], data: Float32Array.of(1.5, Math.fround(0.1)) },
      float16: { dtype: "float32", shape: [2], data: Float32Array.of(1, -2) },
      bfloat16: { dtype: "float32", shape: [2], data: Float32Array.of(1, -2) },
      float32: { dtype: "float32", shape: [2], data: Float32Array.of(1, -2) },
      int64: { dtype: "int64", shape: [1], data: BigInt64Array.of(-(2n ** 63n)) },
      int32: { dtype: "int32", shape: [1], data: Int32Array.of(-7) },
      uint32: { dtype: "uint32", shape: [1], data: Uint32Array.of(2 ** 32 - 1) },
      int16: { dtype: "int32", shape: [1], data: Int32Array.of(-300) },
      int8: { dtype: "int8", shape: [1], data: Int8Array.of(-7) },
      uint8: { dtype: "uint8", shape: [1], data: Uint8Array.of(200) },
      bool: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
    });
    expect([...readTensorBytes(file, "int16")]).toEqual([0xd4, 0xfe]);
  });

  test("tensors longer than a piece survive, also at an unaligned place and into a given array", () => {
    const values = new TorchGenerator(0).uniform(600_001);
    const tensor = float32Tensor([600_001], values);
    const file = openSafetensors(
      written(
        { name: "a", tensor },
        { name: "b", tensor, storedAs: "bfloat16" },
        streamed("c", "uint8", Uint8Array.of(1), 1),
      ),
    );
    expect(Buffer.compare(Buffer.from(readFloat32(file, "a").buffer), Buffer.from(values.buffer))).toBe(0);
    const into = new Float32Array(600_001);
    expect(readFloat32(file, "b", into)).toBe(into);
    const worst = values.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - (into[index] as number))),
      0,
    );
    expect(worst).toBeLessThanOrEqual(2 ** -9);
    expect(worst).toBeGreaterThan(0);
  });

  test("refuses a missing tensor, integers as floats, a wrong destination and broken booleans", () => {
    const file = openSafetensors(
      written(
        streamed("ids", "int64", BigInt64Array.of(1n), 1),
        streamed("flags", "bool", Uint8Array.of(1, 2), 2),
        { name: "a", tensor: float32Tensor([2], [1, 2]) },
      ),
    );
    const folder = path.dirname(file.path);
    expect([
      failureOf(() => readFloat32(file, "b"), folder),
      failureOf(() => readFloat32(file, "ids"), folder),
      failureOf(() => readFloat32(file, "a", new Float32Array(3)), folder),
      failureOf(() => readTensor(file, "flags"), folder),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "checkpoint-mismatch",
          "hint": undefined,
          "message": ""FOLDER/a.safetensors" has no tensor "b" among its 3 tensors.",
        },
        {
          "code": "checkpoint-mismatch",
          "hint": undefined,
          "message": "Tensor "ids" of "FOLDER/a.safetensors": expected floating point numbers, found int64.",
        },
        {
          "code": "checkpoint-mismatch",
          "hint": undefined,
          "message": "Tensor "a" of "FOLDER/a.safetensors" has 2 elements: expected 3.",
        },
        {
          "code": "file-invalid",
          "hint": undefined,
          "message": "Tensor "flags" of "FOLDER/a.safetensors": expected booleans of 0 or 1, found 2.",
        },
      ]
    `);
  });

  test("refuses a file that was replaced after it was opened", () => {
    const file = openSafetensors(written({ name: "a", tensor: float32Tensor([1], [1]) }));
    writeSafetensors(file.path, [{ name: "b", tensor: float32Tensor([1], [2]) }]);
    expect(failureOf(() => readFloat32(file, "a"), path.dirname(file.path))).toEqual({
      code: "file-invalid",
      message: '"FOLDER/a.safetensors" has changed since it was opened.',
      hint: "Leave the file alone while deltafit runs, then start again.",
    });
  });
});

describe("opening refuses", () => {
  function opening(content: Uint8Array | string): { code: string; message: string } {
    const folder = temporaryFolder();
    const file = path.join(folder, "model.safetensors");
    writeFileSync(file, content);
    const { code, message } = failureOf(() => openSafetensors(file), folder);
    return { code, message };
  }

  test("other formats under the name of safetensors", () => {
    const pickle = Buffer.concat([Buffer.of(0x80, 2, 0x7d), Buffer.alloc(700)]);
    expect([
      opening(Buffer.concat([Buffer.from("PK\u0003\u0004"), Buffer.alloc(40)])),
      opening(pickle),
      opening("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
      opening(Buffer.concat([Buffer.from("GGUF"), Buffer.alloc(40)])),
      opening("<!DOCTYPE html><html></html>"),
      opening(""),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "file-refused",
          "message": ""FOLDER/model.safetensors" is a zip archive, as torch.save writes it: expected a safetensors file.",
        },
        {
          "code": "file-refused",
          "message": ""FOLDER/model.safetensors" is a Python pickle: expected a safetensors file.",
        },
        {
          "code": "file-invalid",
          "message": ""FOLDER/model.safetensors" is a Git LFS pointer: expected a safetensors file, found only the note where it is.",
        },
        {
          "code": "file-invalid",
          "message": ""FOLDER/model.safetensors" is a GGUF file: expected a safetensors file.",
        },
        {
          "code": "file-invalid",
          "message": ""FOLDER/model.safetensors" is not a valid safetensors file: expected a header of at most 25000000 bytes, found a length of 5789751444030890300.",
        },
        {
          "code": "file-invalid",
          "message": ""FOLDER/model.safetensors" is not a valid safetensors file: expected at least 8 bytes, found 0.",
        },
      ]
    `);
  });

  test("a header whose length looks like the start of a pickle is none", () => {
    const header = "{}".padEnd(0x0280, " ");
    const file = path.join(temporaryFolder(), "a.safetensors");
    writeFileSync(file, Buffer.concat([Buffer.of(0x80, 2, 0, 0, 0, 0, 0, 0), Buffer.from(header)]));
    expect(openSafetensors(file).tensors.size).toBe(0);
  });

  test("a folder, a missing file and a pipe, without waiting for its writer", () => {
    const folder = temporaryFolder();
    mkdirSync(path.join(folder, "sub"));
    const failures = [
      failureOf(() => openSafetensors(path.join(folder, "sub")), folder),
      failureOf(() => openSafetensors(path.join(folder, "no")), folder),
    ];
    expect(failures).toMatchInlineSnapshot(`
      [
        {
          "code": "file-refused",
          "hint": "Name a file, not a folder.",
          "message": ""FOLDER/sub" is not a regular file.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/no" does not exist.",
        },
      ]
    `);
    if (process.platform === "win32") return;
    execFileSync("mkfifo", [path.join(folder, "pipe")]);
    expect(failureOf(() => openSafetensors(path.join(folder, "pipe")), folder).message).toBe(
      '"FOLDER/pipe" is not a regular file.',
    );
  });
});
