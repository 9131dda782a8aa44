/**
 * @file A text as tokens with the characters that each stands for. The tokenizers library gives no offsets, so the text
 * is encoded word by word, and within a word the pieces are laid along its characters. Knows no task.
 */
import type { Tokenizer } from "../files/tokenizer.ts";

/** Tokens of a text, without special tokens; the lists have the same length. */
export interface PlacedTokens {
  readonly ids: readonly number[];
  /** First character of each token and the one after its last, in UTF-16 units of the text. */
  readonly offsets: readonly (readonly [number, number])[];
}

/** Whether a tokenizer puts a space in front of every text by itself; then a second one would be a token of its own. */
export function addsLeadingSpace(tokenizer: Pick<Tokenizer, "encode">): boolean {
  const length = (text: string): number => tokenizer.encode(text, { addSpecialTokens: false }).length;
  return length(" a") > length("a");
}

/**
 * The tokens of a text. A piece that does not spell its characters, because the tokenizer writes them otherwise, stands
 * for its whole word.
 */
export function placeTokens(text: string, tokenizer: Pick<Tokenizer, "encode" | "idToToken">): PlacedTokens {
  const leadingSpace = addsLeadingSpace(tokenizer);
  const ids: number[] = [];
  const offsets: (readonly [number, number])[] = [];
  for (const match of text.matchAll(/(\s*)(\S+)/gu)) {
    const [segment, space = "", word = ""] = match;
    // What the whole text would give: tokenizers split at white space, and put it in front of the word.
    const encoded = tokenizer.encode(leadingSpace ? word : segment, { addSpecialTokens: false });
    const start = match.index + space.length;
    const pieces = encoded.map((id) => tokenizer.idToToken(id) ?? "");
    for (const [index, place] of placePieces(word, pieces).entries()) {
      ids.push(encoded[index] ?? 0);
      offsets.push([start + place[0], start + place[1]]);
    }
  }
  return { ids, offsets };
}

/** Bytes by the characters that stand for them in byte-level vocabularies (GPT-2's `bytes_to_unicode`). */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const others = bytes.filter((byte) => !isPrintable(byte));
  return new Map([
    ...bytes.filter(isPrintable).map((byte) => [String.fromCodePoint(byte), byte] as const),
    ...others.map((byte, index) => [String.fromCodePoint(256 + index), byte] as const),
  ]);
})();

/** The bytes of a token in a byte-level vocabulary; `undefined` where it is none. */
function byteLevelBytes(token: string): number[] | undefined {
  const bytes = Array.from(token, (character) => byteOfCharacter.get(character));
  return bytes.every((byte) => byte !== undefined) ? bytes : undefined;
}

/** The bytes of a token in a vocabulary of texts, with single bytes written as `<0xE2>`. */
function fallbackBytes(token: string): number[] {
  const [, hexadecimal] = /^<0x([0-9A-F]{2})>$/u.exec(token) ?? [];
  return hexadecimal === undefined
    ? [...Buffer.from(token.replaceAll("▁", ""))]
    : [Number.parseInt(hexadecimal, 16)];
}

/** The places of the pieces in a word; the whole word for all where they do not spell it together. */
function placePieces(word: string, pieces: readonly string[]): readonly (readonly [number, number])[] {
  const byteLevel = pieces.flatMap((piece) => {
    const bytes = byteLevelBytes(piece);
    return bytes ? [bytes] : [];
  });
  return (
    (byteLevel.length === pieces.length ? layBytes(word, byteLevel) : undefined) ??
    layBytes(word, pieces.map(fallbackBytes)) ??
    layAlong(
      word,
      pieces.map((piece) => piece.replace(/^##/u, "").replaceAll("▁", "")),
    ) ??
    pieces.map(() => [0, word.length])
  );
}

/** Lays pieces along the bytes of a word; one that ends inside a character stands for all of it. */
function layBytes(
  word: string,
  pieces: readonly (readonly number[])[],
): readonly (readonly [number, number])[] | undefined {
  const wanted = Buffer.from(word);
  const whole = Buffer.from(pieces.flat());
  // The white space before the word.
  const before = whole.length - wanted.length;
  const isSpace = before >= 0 && whole.subarray(0, before).toString("utf8").trim() === "";
  if (!isSpace || !whole.subarray(before).equals(wanted)) return undefined;
  let next = 0;
  const characterOfByte = Array.from(word).flatMap((character) => {
    const place = [next, (next += character.length)] as const;
    return Array.from(Buffer.from(character), () => place);
  });
  let at = -before;
  return pieces.map(({ length }) => {
    const [first, last] = [Math.max(0, at), (at += length) - 1];
    const start = characterOfByte[first]?.[0] ?? word.length;
    return [start, Math.max(start, characterOfByte[last]?.[1] ?? 0)];
  });
}

/** Lays pieces along a word whose characters they spell, whatever their case and accents. */
function layAlong(
  word: string,
  pieces: readonly string[],
): readonly (readonly [number, number])[] | undefined {
  const places: (readonly [number, number])[] = [];
  const characters = Array.from(word);
  let [next, at] = [0, 0];
  for (const piece of pieces) {
    const wanted = folded(piece);
    const start = at;
    let spelled = "";
    while (spelled.length < wanted.length && next < characters.length) {
      const character = characters[next++] ?? "";
      spelled += folded(character);
      at += character.length;
    }
    if (spelled !== wanted) return undefined;
    places.push([start, at]);
  }
  // Characters that the tokenizer drops at the end, such as a variation selector, belong to no piece.
  return characters.slice(next).every((character) => folded(character) === "") ? places : undefined;
}

/** Without case, compatibility forms and marks, which normalisers may take away. */
function folded(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/[\p{Mn}\p{Cf}]/gu, "")
    .toLowerCase();
}
