/** @file A scratch folder, with the cache in it, for every test of a file. Apart from the folder: scripts use that, too. */
import { afterEach, beforeEach } from "vitest";
import { scratchFolder } from "./tiny-base.ts";

/** A new one for each test, gone after it. */
export function scratchFolderPerTest(): { readonly path: string } {
  let current: ReturnType<typeof scratchFolder> | undefined;
  beforeEach(() => {
    current = scratchFolder();
  });
  afterEach(() => {
    current?.dispose();
  });
  return {
    get path() {
      if (!current) throw new Error("a scratch folder is there while a test runs");
      return current.path;
    },
  };
}
