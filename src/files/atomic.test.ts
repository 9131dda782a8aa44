import fs from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { failureOf, rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { restoreInterruptedSwap, writeFileAtomic, writeFolderAtomic } from "./atomic.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** An error as the system raises it. */
function systemError(code: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: ${syscall}`), { code, syscall });
}

/** Everything below a folder: names with contents. */
function contentsOf(folder: string): Record<string, string> {
  const files = fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile());
  const paths = files.map((entry) => path.join(entry.parentPath, entry.name));
  return Object.fromEntries(
    paths.sort().map((file) => [path.relative(folder, file), fs.readFileSync(file, "utf8")]),
  );
}

describe("writeFileAtomic", () => {
  test("writes text, bytes and chunks, and replaces what was there", () => {
    const folder = temporaryFolder();
    writeFileAtomic(path.join(folder, "text"), "é");
    writeFileAtomic(path.join(folder, "bytes"), Buffer.from("first"));
    writeFileAtomic(path.join(folder, "bytes"), Buffer.from("second"));
    writeFileAtomic(path.join(folder, "chunks"), [Buffer.from("a"), Buffer.alloc(0), Buffer.from("b")]);
    expect(contentsOf(folder)).toEqual({ bytes: "second", chunks: "ab", text: "é" });
  });

  test("keeps the permissions of the file it replaces", () => {
    const file = path.join(temporaryFolder(), "a");
    fs.writeFileSync(file, "x", { mode: 0o600 });
    writeFileAtomic(file, "y");
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
  });

  test("goes on after a write that took only a part", () => {
    const folder = temporaryFolder();
    const writeSync = fs.writeSync.bind(fs);
    vi.spyOn(fs, "writeSync").mockImplementation(((descriptor: number, data: Uint8Array, offset: number) =>
      writeSync(descriptor, data, offset, 1)) as typeof fs.writeSync);
    writeFileAtomic(path.join(folder, "a"), "abcdef");
    expect(contentsOf(folder)).toEqual({ a: "abcdef" });
  });

  test("a full disk leaves the earlier file as it was and no temporary file", () => {
    const folder = temporaryFolder();
    const file = path.join(folder, "adapter");
    fs.writeFileSync(file, "earlier");
    vi.spyOn(fs, "writeSync").mockImplementation(() => {
      throw systemError("ENOSPC", "write");
    });
    expect(failureOf(() => writeFileAtomic(file, "later"), folder)).toEqual({
      code: "write-failed",
      message:
        'Cannot write "FOLDER/adapter": no space left on the device (ENOSPC). The earlier file is untouched.',
      hint: "Free some space, or write to another disk.",
    });
    expect(contentsOf(folder)).toEqual({ adapter: "earlier" });
  });

  test.each([
    ["fsyncSync", "EDQUOT", "the disk quota is used up"],
    ["openSync", "EACCES", "permission denied"],
    ["openSync", "EROFS", "the file system is read-only"],
    ["renameSync", "EXDEV", "the system refused it"],
  ] as const)("a failing %s with %s leaves nothing behind", (call, code, reason) => {
    const folder = temporaryFolder();
    vi.spyOn(fs, call).mockImplementation(() => {
      throw systemError(code, call);
    });
    expect(failureOf(() => writeFileAtomic(path.join(folder, "a"), "x"), folder).message).toBe(
      `Cannot write "FOLDER/a": ${reason} (${code}). No file was created.`,
    );
    vi.restoreAllMocks();
    expect(contentsOf(folder)).toEqual({});
  });

  test("a folder that does not exist, and a target that is a folder", () => {
    const folder = temporaryFolder();
    fs.mkdirSync(path.join(folder, "sub"));
    expect([
      failureOf(() => writeFileAtomic(path.join(folder, "no", "a"), "x"), folder),
      failureOf(() => writeFileAtomic(path.join(folder, "sub"), "x"), folder),
    ]).toMatchInlineSnapshot(`
      [
        {
          "code": "write-failed",
          "hint": "Create the folder first.",
          "message": "Cannot write "FOLDER/no/a": the folder does not exist (ENOENT). No file was created.",
        },
        {
          "code": "write-failed",
          "hint": "Name a file.",
          "message": "Cannot write "FOLDER/sub": it is a folder (EISDIR). The earlier file is untouched.",
        },
      ]
    `);
    expect(contentsOf(folder)).toEqual({});
  });

  test("an error of the chunks' producer is passed on, nothing is left", () => {
    const folder = temporaryFolder();
    function* chunks(): Generator<Uint8Array> {
      yield Buffer.from("a");
      throw new RangeError("no more");
    }
    expect(() => writeFileAtomic(path.join(folder, "a"), chunks())).toThrow(new RangeError("no more"));
    expect(contentsOf(folder)).toEqual({});
  });

  test("a link is replaced, and what it led to is untouched", () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "target"), "target");
    fs.symlinkSync("target", path.join(folder, "link"));
    writeFileAtomic(path.join(folder, "link"), "new");
    expect(contentsOf(folder)).toEqual({ link: "new", target: "target" });
  });
});

describe("writeFolderAtomic", () => {
  test("creates a folder and passes the result on, then replaces it as a whole", async () => {
    const folder = temporaryFolder();
    const target = path.join(folder, "run");
    const result = await writeFolderAtomic(target, (temporary) => {
      expect(fs.readdirSync(folder)).toEqual([path.basename(temporary)]);
      fs.mkdirSync(path.join(temporary, "sub"));
      fs.writeFileSync(path.join(temporary, "sub", "a"), "1");
      return 7;
    });
    expect([result, contentsOf(folder)]).toEqual([7, { "run/sub/a": "1" }]);
    await writeFolderAtomic(target, async (temporary) => {
      await fs.promises.writeFile(path.join(temporary, "b"), "2");
    });
    expect([fs.readdirSync(folder), contentsOf(folder)]).toEqual([["run"], { "run/b": "2" }]);
  });

  test("creates missing folders above the target", async () => {
    const folder = temporaryFolder();
    await writeFolderAtomic(path.join(folder, "runs", "first"), (temporary) => {
      fs.writeFileSync(path.join(temporary, "a"), "1");
    });
    expect(contentsOf(folder)).toEqual({ "runs/first/a": "1" });
  });

  test("an existing folder survives a failing build", async () => {
    const folder = temporaryFolder();
    const target = path.join(folder, "run");
    await writeFolderAtomic(target, (temporary) => fs.writeFileSync(path.join(temporary, "a"), "1"));
    const failing = writeFolderAtomic(target, (temporary) => {
      fs.writeFileSync(path.join(temporary, "a"), "half");
      throw systemError("ENOSPC", "write");
    });
    expect(await rejectionOf(() => failing, folder)).toEqual({
      code: "write-failed",
      message:
        'Cannot write "FOLDER/run": no space left on the device (ENOSPC). The earlier folder is untouched.',
      hint: "Free some space, or write to another disk.",
    });
    expect([fs.readdirSync(folder), contentsOf(folder)]).toEqual([["run"], { "run/a": "1" }]);
  });

  test("a full disk while one file of the folder is written is reported for the folder", async () => {
    const folder = temporaryFolder();
    const failing = writeFolderAtomic(path.join(folder, "run"), (temporary) => {
      vi.spyOn(fs, "writeSync").mockImplementation(() => {
        throw systemError("ENOSPC", "write");
      });
      writeFileAtomic(path.join(temporary, "a"), "x");
    });
    expect((await rejectionOf(() => failing, folder)).message).toBe(
      'Cannot write "FOLDER/run": no space left on the device (ENOSPC). No folder was created.',
    );
    expect(fs.readdirSync(folder)).toEqual([]);
  });

  test("a link to a folder stays, and the folder it leads to is replaced", async () => {
    const folder = temporaryFolder();
    fs.mkdirSync(path.join(folder, "run"));
    fs.symlinkSync("run", path.join(folder, "latest"));
    await writeFolderAtomic(path.join(folder, "latest"), (temporary) => {
      fs.writeFileSync(path.join(temporary, "a"), "1");
    });
    expect([fs.readdirSync(folder).sort(), contentsOf(folder)]).toEqual([
      ["latest", "run"],
      { "run/a": "1" },
    ]);
  });

  test("an existing folder comes back when the new one cannot be moved into its place", async () => {
    const folder = temporaryFolder();
    const target = path.join(folder, "run");
    await writeFolderAtomic(target, (temporary) => fs.writeFileSync(path.join(temporary, "a"), "1"));
    const renameSync = fs.renameSync.bind(fs);
    vi.spyOn(fs, "renameSync").mockImplementation((from, to) => {
      if (String(from).endsWith(".partial")) throw systemError("EACCES", "rename");
      renameSync(from, to);
    });
    const failing = writeFolderAtomic(target, (temporary) =>
      fs.writeFileSync(path.join(temporary, "a"), "2"),
    );
    expect((await rejectionOf(() => failing, folder)).message).toBe(
      'Cannot write "FOLDER/run": permission denied (EACCES). The earlier folder is untouched.',
    );
    expect([fs.readdirSync(folder), contentsOf(folder)]).toEqual([["run"], { "run/a": "1" }]);
  });

  test("a swap that was killed halfway is undone, and one killed at its end is finished", () => {
    const folder = temporaryFolder();
    const target = path.join(folder, "run");
    fs.mkdirSync(path.join(folder, ".run.earlier"));
    fs.writeFileSync(path.join(folder, ".run.earlier", "a"), "1");
    expect(restoreInterruptedSwap(target)).toBe(true);
    expect(contentsOf(folder)).toEqual({ "run/a": "1" });
    fs.mkdirSync(path.join(folder, ".run.earlier"));
    expect(restoreInterruptedSwap(target)).toBe(false);
    expect(fs.readdirSync(folder)).toEqual(["run"]);
  });

  test("refuses to replace a file, the current folder and what holds it", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(path.join(folder, "file"), "x");
    const write = (target: string) => rejectionOf(() => writeFolderAtomic(target, () => undefined), folder);
    expect(await write(path.join(folder, "file"))).toEqual({
      code: "write-failed",
      message:
        'Cannot write "FOLDER/file": expected a folder or nothing there, found a file. It is untouched.',
      hint: "Name another folder.",
    });
    expect(await write(path.parse(process.cwd()).root)).toEqual({
      code: "usage-invalid",
      message: `The output folder ${JSON.stringify(path.parse(process.cwd()).root)} would be replaced as a whole, and the current folder or your home folder lies in it.`,
      hint: "Name a folder of its own for the output.",
    });
    expect((await write(".")).code).toBe("usage-invalid");
    expect(contentsOf(folder)).toEqual({ file: "x" });
  });
});
