import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { writeSafetensors } from "./safetensors-write.ts";

const first = "model-00001-of-00002.safetensors";
const second = "model-00002-of-00002.safetensors";

/** A folder with two shards, `a` and `b` in the first and `c` in the second, and an index as given. */
function shardedFolder(
  weightMap: unknown,
  content: unknown = { metadata: { total_size: 1 }, weight_map: weightMap },
): string {
  const folder = temporaryFolder();
  writeSafetensors(path.join(folder, first), [
    { name: "a", tensor: float32Tensor([2], [1, 2]), storedAs: "bfloat16" },
    { name: "b", tensor: int64Tensor([1], [5]) },
  ]);
  writeSafetensors(path.join(folder, second), [{ name: "c", tensor: float32Tensor([1, 1], [3]) }]);
  writeFileSync(path.join(folder, "model.safetensors.index.json"), JSON.stringify(content));
  return folder;
}

test("a single file", () => {
  const folder = temporaryFolder();
  writeSafetensors(path.join(folder, "model.safetensors"), [
    { name: "a", tensor: float32Tensor([2], [1, 2]) },
  ]);
  const checkpoint = openCheckpoint(folder);
  expect([checkpoint.folder, checkpoint.totalBytes, [...checkpoint.tensors.keys()]]).toEqual([
    folder,
    8,
    ["a"],
  ]);
  expect(checkpoint.tensors.get("a")?.path).toBe(path.join(folder, "model.safetensors"));
  expect([...checkpoint.readFloat32("a")]).toEqual([1, 2]);
});

test("shards form one set of tensors", () => {
  const folder = shardedFolder({ a: first, b: first, c: second });
  const checkpoint = openCheckpoint(folder);
  const places = [...checkpoint.tensors.values()].map(({ name, dtype, shape, byteLength, path: file }) => {
    return [name, dtype, shape, byteLength, path.relative(folder, file)];
  });
  expect(places.sort()).toEqual([
    ["a", "bfloat16", [2], 4, first],
    ["b", "int64", [1], 8, first],
    ["c", "float32", [1, 1], 4, second],
  ]);
  expect(checkpoint.totalBytes).toBe(16);
  expect([...checkpoint.readFloat32("a")]).toEqual([1, 2]);
  expect(checkpoint.readTensor("b")).toEqual(int64Tensor([1], [5]));
  expect([...checkpoint.readBytes("c")]).toEqual([0, 0, 0x40, 0x40]);
  expect(failureOf(() => checkpoint.readFloat32("d"), folder)).toEqual({
    code: "checkpoint-mismatch",
    message: 'The checkpoint "FOLDER" has no tensor "d" among its 3 tensors.',
    hint: undefined,
  });
});

test("a snapshot of a hub cache, whose files are links to blobs", () => {
  const repository = path.join(temporaryFolder(), "models--owner--name");
  const snapshot = path.join(repository, "snapshots", "0123");
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(path.join(repository, "blobs"));
  const source = shardedFolder({ a: first, b: first, c: second });
  for (const [index, name] of [first, second, "model.safetensors.index.json"].entries()) {
    renameSync(path.join(source, name), path.join(repository, "blobs", `${index}`));
    symlinkSync(`../../blobs/${index}`, path.join(snapshot, name));
  }
  expect([...openCheckpoint(snapshot).readFloat32("c")]).toEqual([3]);
});

describe("refuses", () => {
  test.each([
    ["pickles", ["pytorch_model.bin", "config.json", "optimizer.pt"], '"optimizer.pt", "pytorch_model.bin"'],
    [
      "pickled shards",
      ["pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model-3.bin", "pytorch_model.bin.index.json"],
      '"pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model-3.bin", ...',
    ],
    ["other pickles", ["consolidated.00.pth"], '"consolidated.00.pth"'],
  ])("%s by name", (_, names, shown) => {
    const folder = temporaryFolder();
    for (const name of names) writeFileSync(path.join(folder, name), "");
    expect(failureOf(() => openCheckpoint(folder), folder)).toEqual({
      code: "file-refused",
      message: `"FOLDER" has no model.safetensors, only weights in a format that deltafit refuses: ${shown}.`,
      hint: "Pickle can run code when it is loaded, so deltafit never reads it. Convert the weights to safetensors, or download the model's safetensors files.",
    });
  });

  test("a folder without weights, a missing folder and a file", () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, "config.json"), "{}");
    expect([
      failureOf(() => openCheckpoint(folder), folder),
      failureOf(() => openCheckpoint(path.join(folder, "no")), folder),
      failureOf(() => openCheckpoint(path.join(folder, "config.json")), folder),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "file-missing",
          "hint": "Check that this is the model's folder and that it is complete.",
          "message": ""FOLDER" holds no weights: expected model.safetensors or model.safetensors.index.json.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/no" does not exist.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/config.json" cannot be read: a file stands where a folder is expected.",
        },
      ]
    `);
  });

  test("an index that does not agree with its shards", () => {
    const failures = [
      { a: first, c: second },
      { a: first, b: second, c: second },
      { a: first, b: first, c: second, d: second },
      { a: first, b: first, c: "model-3.safetensors" },
      { a: first, b: first, c: "../model.safetensors" },
    ].map((weightMap) => {
      const folder = shardedFolder(weightMap);
      return failureOf(() => openCheckpoint(folder), folder);
    });
    expect(failures).toMatchInlineSnapshot(`
      [
        {
          "code": "checkpoint-mismatch",
          "hint": "Download the model again.",
          "message": ""FOLDER/model.safetensors.index.json" does not list tensor "b" of "model-00001-of-00002.safetensors".",
        },
        {
          "code": "checkpoint-mismatch",
          "hint": "Download the model again.",
          "message": ""FOLDER/model.safetensors.index.json" says that tensor "b" is in "model-00002-of-00002.safetensors", but it is not there.",
        },
        {
          "code": "checkpoint-mismatch",
          "hint": "Download the model again.",
          "message": ""FOLDER/model.safetensors.index.json" says that tensor "d" is in "model-00002-of-00002.safetensors", but it is not there.",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/model-3.safetensors" does not exist.",
        },
        {
          "code": "file-refused",
          "hint": "Files may refer only to files in their own folder.",
          "message": ""FOLDER" refers to the file "../model.safetensors": expected a plain file name, found a path.",
        },
      ]
    `);
  });

  test("a tensor in two shards", () => {
    const folder = shardedFolder({ a: first, b: first, c: second });
    writeSafetensors(path.join(folder, second), [
      { name: "a", tensor: float32Tensor([2], [1, 2]) },
      { name: "c", tensor: float32Tensor([1, 1], [3]) },
    ]);
    expect(failureOf(() => openCheckpoint(folder), folder)).toEqual({
      code: "checkpoint-mismatch",
      message: `"FOLDER/model.safetensors.index.json" lists tensor "a" in "${first}", but it is in "${second}" as well.`,
      hint: "Download the model again.",
    });
  });

  test("an index of another form", () => {
    const failures = [{}, { weight_map: [] }, { weight_map: { a: 1 } }, []].map((content) => {
      const folder = shardedFolder(undefined, content);
      return failureOf(() => openCheckpoint(folder), folder).message;
    });
    expect(failures).toMatchInlineSnapshot(`
      [
        ""FOLDER/model.safetensors.index.json" is not valid: weight_map: expected an object of tensor names and file names, found nothing.",
        ""FOLDER/model.safetensors.index.json" is not valid: weight_map: expected an object of tensor names and file names, found a list of 0.",
        ""FOLDER/model.safetensors.index.json" is not valid: weight_map: expected an object of tensor names and file names, found an object.",
        ""FOLDER/model.safetensors.index.json" is not valid: expected object, found a list of 0.",
      ]
    `);
  });
});
