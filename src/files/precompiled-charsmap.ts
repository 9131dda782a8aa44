/**
 * @file The normaliser `Precompiled` of a tokenizer.json: SentencePiece's rules of replacement, compiled into a trie
 * (Kudo and Richardson 2018, section 3.2). The tokenizers library comes near it with NFKC; this reads the rules
 * themselves. Knows no tokenizer.
 *
 * Layout, little-endian: the trie's size in bytes (uint32), its units (uint32 each), then UTF-8 replacements, each ended
 * by a zero byte. The trie is a double array (Darts-clone): a unit leads from its own place by `offset`, XOR the next
 * byte, to the unit of that byte, which bears the byte as its `label`. Where a key ends there, its value, the place of
 * the replacement, stands at the unit that offset itself leads to.
 */
import { DeltafitError } from "../errors.ts";

const sizeBytes = 4;
const unitBytes = 4;

interface Charsmap {
  readonly units: Uint32Array;
  readonly replacements: Uint8Array;
}

/**
 * What the rules make of a text.
 * @param charsmap In Base64.
 * @param where What the rules are called in errors.
 * @throws DeltafitError `file-invalid` for rules that cannot be read, now or when a text leads out of them.
 */
export function charsmapNormalizer(charsmap: unknown, where: string): (text: string) => string {
  const rules = readCharsmap(charsmap, where);
  const known = new Map<string, string>();
  const ofGrapheme = (grapheme: string): string => {
    const before = known.get(grapheme);
    if (before !== undefined) return before;
    const normalized = normalizeGrapheme(rules, grapheme, where);
    if (known.size < maximumKnown) known.set(grapheme, normalized);
    return normalized;
  };
  return (text) => {
    let normalized = "";
    for (const grapheme of graphemesOf(text)) normalized += ofGrapheme(grapheme);
    return normalized;
  };
}

/** Graphemes whose replacements are kept at hand; a text in one script has a few thousand. */
const maximumKnown = 2 ** 16;

/** In UTF-16 units: the time that the segmenter takes grows with the square of the text it is given. */
const windowLength = 256;

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });

/** The grapheme clusters of a text. Whether one begins depends on what is before, and on the one character behind. */
function* graphemesOf(text: string): Generator<string> {
  let start = 0;
  let length = windowLength;
  while (start < text.length) {
    const found = Array.from(segmenter.segment(text.slice(start, start + length)), ({ segment }) => segment);
    const isEnd = start + length >= text.length;
    // Where a window cuts the text, its last cluster may be cut as well.
    const whole = isEnd ? found : found.slice(0, -1);
    yield* whole;
    start += whole.reduce((sum, grapheme) => sum + grapheme.length, 0);
    length = whole.length === 0 ? 2 * length : windowLength;
  }
}

/** In bytes: longer ones are looked up character by character, as the Rust library does it. */
const longestWhole = 5;

function normalizeGrapheme(rules: Charsmap, grapheme: string, where: string): string {
  const isWhole = Buffer.byteLength(grapheme) <= longestWhole;
  const whole = isWhole ? replacement(rules, grapheme, where) : undefined;
  return (
    whole ?? Array.from(grapheme, (character) => replacement(rules, character, where) ?? character).join("")
  );
}

/** The replacement of the shortest key that a piece begins with; it stands for the whole piece. */
function replacement({ units, replacements }: Charsmap, piece: string, where: string): string | undefined {
  const unitAt = (place: number): number => {
    const unit = units[place];
    if (unit === undefined) throw broken(where, `its trie leads to unit ${place} of ${units.length}`);
    return unit;
  };
  let place = offsetOf(unitAt(0));
  for (const byte of Buffer.from(piece)) {
    if (byte === 0) return undefined;
    place ^= byte;
    const unit = unitAt(place);
    if (labelOf(unit) !== byte) return undefined;
    place ^= offsetOf(unit);
    if (!isEndOfKey(unit)) continue;
    const start = unitAt(place) & 0x7fff_ffff;
    if (start >= replacements.length)
      throw broken(where, `a replacement starts at byte ${start} of ${replacements.length}`);
    const end = replacements.indexOf(0, start);
    return decoded(replacements.subarray(start, end < 0 ? undefined : end), where);
  }
  return undefined;
}

/** From a unit's own place to those of its children, XOR their labels. */
const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);
/** The byte that leads to a unit; the top bit marks values, which are nobody's children. */
const labelOf = (unit: number): number => (unit & 0x8000_00ff) >>> 0;
const isEndOfKey = (unit: number): boolean => (unit & 0x100) !== 0;

function readCharsmap(charsmap: unknown, where: string): Charsmap {
  if (typeof charsmap !== "string") throw broken(where, "it is no text");
  const bytes = Buffer.from(charsmap, "base64");
  if (bytes.toString("base64") !== charsmap) throw broken(where, "it is not Base64");
  if (bytes.length < sizeBytes) throw broken(where, `it has ${bytes.length} bytes`);
  const trieBytes = bytes.readUInt32LE(0);
  if (trieBytes === 0 || trieBytes % unitBytes !== 0 || trieBytes > bytes.length - sizeBytes)
    throw broken(where, `a trie of ${trieBytes} bytes in ${bytes.length}`);
  const units = Uint32Array.from({ length: trieBytes / unitBytes }, (_, index) =>
    bytes.readUInt32LE(sizeBytes + index * unitBytes),
  );
  return { units, replacements: bytes.subarray(sizeBytes + trieBytes) };
}

function decoded(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw broken(where, "a replacement is not UTF-8", error);
  }
}

const broken = (where: string, reason: string, cause?: unknown): DeltafitError =>
  new DeltafitError(
    "file-invalid",
    `${where}: expected SentencePiece's rules in precompiled_charsmap, found that ${reason}.`,
    "Take the tokenizer.json that belongs to the model.",
    cause,
  );
