/** @file Finding strings that end a text while it still comes in pieces. Knows no tokens. */

/** Follows one text. */
export interface StopScanner {
  /** Takes the next piece; returns what can be shown of the text, and whether it ended. What comes after the end is dropped. */
  push(piece: string): { readonly text: string; readonly stopped: boolean };
  /** What was held back because a stop string might have begun there. */
  flush(): string;
}

/** The text ends before the earliest of the stop strings, wherever the pieces divide it. */
export function createStopScanner(stopStrings: readonly string[]): StopScanner {
  const wanted = stopStrings.filter((stop) => stop !== "");
  let held = "";
  let stopped = false;
  return {
    push(piece) {
      if (stopped) return { text: "", stopped };
      held += piece;
      const starts = wanted.map((stop) => held.indexOf(stop)).filter((start) => start >= 0);
      stopped = starts.length > 0;
      const end = stopped ? Math.min(...starts) : held.length - longestBeginning(held, wanted);
      const text = held.slice(0, end);
      held = stopped ? "" : held.slice(end);
      return { text, stopped };
    },
    flush() {
      const rest = held;
      held = "";
      return rest;
    },
  };
}

/** Length of the longest end of `text` with which one of the strings begins. */
function longestBeginning(text: string, strings: readonly string[]): number {
  const limit = strings.reduce((longest, string) => Math.max(longest, string.length - 1), 0);
  for (let length = Math.min(limit, text.length); length > 0; length--)
    if (strings.some((string) => string.startsWith(text.slice(-length)))) return length;
  return 0;
}
