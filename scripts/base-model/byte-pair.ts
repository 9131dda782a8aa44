/**
 * @file Trains a byte-level byte-pair encoding: which pairs of symbols to merge, in which order. It knows how text is
 * split into words and bytes, not what file format the result is stored in.
 */

/** Single digits, so that prices and times are spelled from ten symbols. */
export const digitPattern = "\\p{N}";

/** The split of GPT-2: contractions, words with their leading space, other signs, white space. */
const wordPattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** A merge of two symbols into one; the order of the list is the rank. */
export type Merge = readonly [string, string];

/** The characters that stand for the 256 bytes: printable Latin-1 for itself, the others from U+0100 on (GPT-2). */
export function byteCharacters(): readonly string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** Splits text as the tokenizer does before merging: digits first, then words. */
export function splitWords(text: string): string[] {
  const digit = new RegExp(`(${digitPattern})`, "u");
  const word = new RegExp(wordPattern, "gu");
  return text
    .split(digit)
    .filter((piece) => piece !== "")
    .flatMap((piece) => piece.match(word) ?? []);
}

interface Word {
  symbols: string[];
  readonly count: number;
}

function countWords(texts: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const word of splitWords(text)) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return counts;
}

/** Pairs are keyed with a line feed between the symbols: no byte character is one. */
function pairKey(left: string, right: string): string {
  return `${left}\n${right}`;
}

function addPairs(
  word: Word,
  index: number,
  sign: 1 | -1,
  counts: Map<string, number>,
  places: Map<string, Set<number>>,
) {
  for (let at = 0; at + 1 < word.symbols.length; at++) {
    const key = pairKey(word.symbols[at] ?? "", word.symbols[at + 1] ?? "");
    counts.set(key, (counts.get(key) ?? 0) + sign * word.count);
    if (sign === 1) {
      const known = places.get(key);
      if (known === undefined) {
        places.set(key, new Set([index]));
      } else {
        known.add(index);
      }
    }
  }
}

/** The most frequent pair; among equals the smallest in code unit order, so that training is deterministic. */
function bestPair(counts: ReadonlyMap<string, number>): string | undefined {
  let best: string | undefined;
  let bestCount = 1;
  for (const [key, count] of counts) {
    if (count > bestCount || (count === bestCount && best !== undefined && key < best)) {
      best = key;
      bestCount = count;
    }
  }
  return best;
}

function mergeWord(symbols: readonly string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (let at = 0; at < symbols.length; at++) {
    const symbol = symbols[at] ?? "";
    if (symbol === left && symbols[at + 1] === right) {
      merged.push(left + right);
      at++;
    } else {
      merged.push(symbol);
    }
  }
  return merged;
}

/**
 * Learns up to `mergeCount` merges from texts (fewer when no pair occurs twice any more).
 * @returns merges in rank order, in byte characters.
 */
export function trainMerges(texts: Iterable<string>, mergeCount: number): Merge[] {
  const characters = byteCharacters();
  const encoder = new TextEncoder();
  const words: Word[] = [...countWords(texts)].map(([text, count]) => ({
    symbols: [...encoder.encode(text)].map((byte) => characters[byte] ?? ""),
    count,
  }));
  const counts = new Map<string, number>();
  const places = new Map<string, Set<number>>();
  words.forEach((word, index) => {
    addPairs(word, index, 1, counts, places);
  });
  const merges: Merge[] = [];
  const made = new Set<string>();
  while (merges.length < mergeCount) {
    const key = bestPair(counts);
    if (key === undefined) {
      break;
    }
    const [left = "", right = ""] = key.split("\n");
    // Two different pairs can spell the same symbol; only the first may become a vocabulary entry.
    if (!made.has(left + right)) {
      made.add(left + right);
      merges.push([left, right]);
    }
    for (const index of places.get(key) ?? []) {
      const word = words[index];
      if (word !== undefined) {
        addPairs(word, index, -1, counts, places);
        word.symbols = mergeWord(word.symbols, left, right);
        addPairs(word, index, 1, counts, places);
      }
    }
    counts.delete(key);
    places.delete(key);
  }
  return merges;
}
