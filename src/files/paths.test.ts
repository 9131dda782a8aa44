import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { hubCacheRepository, resolveInside } from "./paths.ts";

test.each(["../secret", "a/b", "a\\b", "/etc/passwd", "..", ".", "", "C:x", "a\u0000b", "x".repeat(256)])(
  "refuses the name %j",
  (name) => {
    const shown = name.length > 160 ? `${name.slice(0, 160)}...` : name;
    expect(failureOf(() => resolveInside("/models/a", name))).toEqual({
      code: "file-refused",
      message: `"/models/a" refers to the file ${JSON.stringify(shown)}: expected a plain file name, found a path.`,
      hint: "Files may refer only to files in their own folder.",
    });
  },
);

test("gives the real path of a plain file, of a link within the folder and of a hard link", () => {
  const folder = temporaryFolder();
  const file = path.join(folder, "..a.safetensors");
  writeFileSync(file, "x");
  symlinkSync("..a.safetensors", path.join(folder, "link"));
  linkSync(file, path.join(folder, "hard"));
  expect(["..a.safetensors", "link", "hard"].map((name) => resolveInside(folder, name))).toEqual([
    file,
    file,
    path.join(folder, "hard"),
  ]);
});

test("refuses a link that leads outside, also to a folder whose name begins alike, and what is no file", () => {
  const outer = temporaryFolder();
  const folder = path.join(outer, "model");
  mkdirSync(path.join(folder, "inner"), { recursive: true });
  mkdirSync(path.join(outer, "model2"));
  writeFileSync(path.join(outer, "model2", "weights"), "x");
  symlinkSync("../model2/weights", path.join(folder, "link"));
  expect([
    failureOf(() => resolveInside(folder, "link"), outer),
    failureOf(() => resolveInside(folder, "inner"), outer),
    failureOf(() => resolveInside(folder, "missing"), outer),
  ]).toMatchInlineSnapshot(`
    [
      {
        "code": "file-refused",
        "hint": "Put the file itself into the folder.",
        "message": ""FOLDER/model/link" is a link to "FOLDER/model2/weights", outside of "FOLDER/model".",
      },
      {
        "code": "file-refused",
        "hint": undefined,
        "message": ""FOLDER/model/inner" is not a regular file.",
      },
      {
        "code": "file-missing",
        "hint": "Check the path.",
        "message": ""FOLDER/model/missing" does not exist.",
      },
    ]
  `);
});

test("a snapshot of a hub cache may link to the blobs of its own repository and of the cache, and no further", () => {
  const cache = temporaryFolder();
  const repository = path.join(cache, "models--owner--name");
  const snapshot = path.join(repository, "snapshots", "0123abcd");
  mkdirSync(snapshot, { recursive: true });
  mkdirSync(path.join(repository, "blobs"));
  const blob = path.join(repository, "blobs", "ff00");
  writeFileSync(blob, "x");
  writeFileSync(path.join(cache, "other"), "x");
  symlinkSync("../../blobs/ff00", path.join(snapshot, "model.safetensors"));
  symlinkSync("../../../other", path.join(snapshot, "config.json"));
  mkdirSync(path.join(cache, "blobs", "ab"), { recursive: true });
  const shared = path.join(cache, "blobs", "ab", "abcd");
  writeFileSync(shared, "x");
  symlinkSync("../../../blobs/ab/abcd", path.join(snapshot, "tokenizer.json"));

  const root = hubCacheRepository(snapshot);
  expect(root).toBe(repository);
  expect(resolveInside(snapshot, "model.safetensors", root)).toBe(blob);
  expect(resolveInside(snapshot, "tokenizer.json", root)).toBe(shared);
  expect(failureOf(() => resolveInside(snapshot, "config.json", root), cache)).toMatchInlineSnapshot(`
    {
      "code": "file-refused",
      "hint": "Put the file itself into the folder.",
      "message": ""FOLDER/models--owner--name/snapshots/0123abcd/config.json" is a link to "FOLDER/other", outside of "FOLDER/models--owner--name".",
    }
  `);
  expect(hubCacheRepository(repository)).toBeUndefined();
  expect(hubCacheRepository(cache)).toBeUndefined();
});
