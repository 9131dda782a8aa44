/** @file Stop strings, however the pieces divide the text. */
import { describe, expect, it } from "vitest";
import { createStopScanner } from "./stop-strings.ts";

function scan(stopStrings: readonly string[], pieces: readonly string[]) {
  const scanner = createStopScanner(stopStrings);
  const shown = pieces.map((piece) => scanner.push(piece));
  return {
    shown: shown.map(({ text }) => text),
    stopped: shown.map(({ stopped }) => stopped),
    rest: scanner.flush(),
  };
}

describe("createStopScanner", () => {
  it("finds a string that is spread over pieces and shows nothing of it", () => {
    expect(scan(["\n\nQ:"], ["one\n", "\n", "Q: two"])).toEqual({
      shown: ["one", "", ""],
      stopped: [false, false, true],
      rest: "",
    });
  });

  it("shows what was held back when it turns out to be something else", () => {
    expect(scan(["\n\nQ:"], ["one\n", "two", "\n\n"])).toEqual({
      shown: ["one", "\ntwo", ""],
      stopped: [false, false, false],
      rest: "\n\n",
    });
  });

  it("ends at the earliest of several", () => {
    expect(scan(["cd", "b"], ["abcd"])).toEqual({ shown: ["a"], stopped: [true], rest: "" });
  });

  it("finds the same end for every division of a text", () => {
    const text = "aabaabaac aabx";
    for (let first = 0; first <= text.length; first++)
      for (let second = first; second <= text.length; second++) {
        const { shown, stopped } = scan(
          ["aabaac"],
          [text.slice(0, first), text.slice(first, second), text.slice(second)],
        );
        expect(shown.join("")).toBe("aab");
        expect(stopped.at(-1)).toBe(true);
      }
  });

  it("passes everything through without stop strings", () => {
    expect(scan(["", ""], ["a", "b"])).toEqual({ shown: ["a", "b"], stopped: [false, false], rest: "" });
  });
});
