import { expect, test } from "vitest";
import { Arena } from "./arena.ts";

const mebibyte = 2 ** 20;

test("regions count as far as they were written to", () => {
  const arena = new Arena();
  arena.allocate(3 * mebibyte);
  expect(arena.touchedBytes).toBe(3 * mebibyte);
  // What is left of the region of 4 MiB.
  arena.allocate(mebibyte);
  expect(arena.touchedBytes).toBe(4 * mebibyte);
});

test("a free block serves again, whole where what is asked for is more than half of it", () => {
  const arena = new Arena();
  arena.release(arena.allocate(4 * mebibyte));
  const most = arena.allocate(3 * mebibyte);
  expect(most.bytes).toBe(4 * mebibyte);
  arena.allocate(mebibyte);
  expect(arena.touchedBytes).toBe(5 * mebibyte);
});

test("neighbours that were given back are one block again, whichever came first", () => {
  const arena = new Arena();
  arena.release(arena.allocate(4 * mebibyte));
  const blocks = [1, 1, 2].map((share) => arena.allocate(share * mebibyte));
  const before = arena.touchedBytes;
  for (const index of [1, 2, 0]) arena.release(blocks[index]!);
  arena.allocate(4 * mebibyte);
  expect(arena.touchedBytes).toBe(before);
});

test("the smallest block that suffices is taken", () => {
  const arena = new Arena();
  const [large, , small] = [64, 1, 32].map((size) => arena.allocate(size * 1024));
  arena.allocate(1024);
  arena.release(large!);
  arena.release(small!);
  expect(arena.allocate(20 * 1024).start).toBe(small!.start);
});
