/**
 * @file Rules of a tokenizer.json rewritten so that the tokenizers library for JavaScript does with them what the one
 * for Rust and Python does. Each rewriting says where the two differ.
 */

type Rule = Readonly<Record<string, unknown>>;

const isRule = (value: unknown): value is Rule => typeof value === "object" && value !== null;

/**
 * What GPT-2's byte-level pre-tokenizer splits by, written out: the library's own copy takes JavaScript's
 * `\s`, which differs from Unicode's white space in U+FEFF and U+0085; in a `Split` it translates `\s`.
 */
const byteLevelPattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** A pre-tokenizer with Unicode's white space in place of JavaScript's. */
export function exactPreTokenizer(rule: unknown): unknown {
  if (!isRule(rule)) return rule;
  const { type, pretokenizers } = rule;
  if (Array.isArray(pretokenizers)) return { ...rule, pretokenizers: pretokenizers.map(exactPreTokenizer) };
  if (type === "WhitespaceSplit")
    return { type: "Split", pattern: { Regex: "\\s+" }, behavior: "Removed", invert: false };
  const usesPattern = !("use_regex" in rule) || rule["use_regex"] === true;
  if (type !== "ByteLevel" || !usesPattern || rule["add_prefix_space"] === true) return rule;
  const split = { type: "Split", pattern: { Regex: byteLevelPattern }, behavior: "Isolated", invert: false };
  return { type: "Sequence", pretokenizers: [split, { ...rule, use_regex: false }] };
}

const replaceAll = (expression: string, content: string): Rule => ({
  type: "Replace",
  pattern: { Regex: expression },
  content,
});

/** Lower case letter by letter: JavaScript writes a sigma at the end of a word in its final form. */
const sigma = replaceAll("Σ", "σ");

/** The ideographs beyond U+FFFF that BERT sets apart (`is_chinese_char` of the Rust library, its gap included). */
const ideographs = replaceAll(
  "[\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]",
  " $& ",
);

/**
 * A normaliser that sees whole characters where the library looks at UTF-16 units one by one, and that strips Unicode's
 * white space.
 */
export function exactNormalizer(rule: unknown): unknown {
  if (!isRule(rule)) return rule;
  const { type, normalizers } = rule;
  const sequence = (...parts: readonly Rule[]): Rule => ({ type: "Sequence", normalizers: parts });
  if (Array.isArray(normalizers)) return { ...rule, normalizers: normalizers.map(exactNormalizer) };
  if (type === "Lowercase") return sequence(sigma, rule);
  if (type === "BertNormalizer")
    return sequence(
      ...(rule["handle_chinese_chars"] === true ? [ideographs] : []),
      ...(rule["lowercase"] === true ? [sigma] : []),
      rule,
    );
  // `^` and `$` would be the ends of lines here.
  if (type === "Strip")
    return sequence(
      ...(rule["strip_left"] === true ? [replaceAll("(?<![\\s\\S])\\s+", "")] : []),
      ...(rule["strip_right"] === true ? [replaceAll("(?<!\\s)\\s+(?![\\s\\S])", "")] : []),
    );
  return rule;
}
