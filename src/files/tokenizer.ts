/**
 * @file Text to token ids and back, through the tokenizers library, with deltafit's own placing of special
 * tokens. Texts and time are bounded: the regular expressions inside a tokenizer.json are somebody else's.
 * Knows no model.
 */
import {
  PrecompiledNormalizer,
  SequenceNormalizer,
  Tokenizer as LibraryTokenizer,
} from "@huggingface/tokenizers";
import type { Normalizer } from "@huggingface/tokenizers";
import { DeltafitError } from "../errors.ts";
import { exactNormalizer, exactPreTokenizer } from "./exact-rules.ts";
import type { LayoutItem } from "./post-processor.ts";
import { specialTokenLayout } from "./post-processor.ts";
import { charsmapNormalizer } from "./precompiled-charsmap.ts";
import { quote } from "./quote.ts";
import type { StreamDecoder } from "./stream-decoder.ts";
import { createStreamDecoder } from "./stream-decoder.ts";
import { withTimeLimit } from "./time-limit.ts";
import type { TokenizerFiles, TokenizerJson, TokenRole } from "./tokenizer-files.ts";
import { readTokenizerFiles } from "./tokenizer-files.ts";

/** In UTF-16 units: about 3,000 pages, many times any model's context. */
const maximumTextLength = 8 * 2 ** 20;
/** A hundred times what a known tokenizer needs for a text of that length. */
const timeLimitMs = (textLength: number): number => 2_000 + textLength / 20;

/** A model's input for one text or a pair; both lists have the same length. */
export interface EncodedInput {
  readonly inputIds: number[];
  /**
   * Which text a token belongs to, as the tokenizer's post-processor counts them: 0, or 1 for a second text.
   */
  readonly tokenTypeIds: number[];
}

export interface Tokenizer {
  readonly folder: string;
  /** SHA-256 of tokenizer.json in hexadecimal. */
  readonly fingerprint: string;
  /** 1 + the largest id, added tokens included; ids below it may be unused. */
  readonly vocabularySize: number;
  /** Ids of the special tokens, undefined for those the tokenizer does not have. */
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly maskTokenId: number | undefined;
  readonly clsTokenId: number | undefined;
  readonly sepTokenId: number | undefined;
  /** Special tokens that the tokenizer puts in front of, and behind, a single text. */
  readonly leadingTokenIds: readonly number[];
  readonly trailingTokenIds: readonly number[];
  /** Tokens; undefined where the tokenizer's configuration names no real limit. */
  readonly modelMaximumLength: number | undefined;
  /** Where a text that is too long loses tokens: at its beginning or at its end. */
  readonly truncationSide: "left" | "right";
  /** Jinja source. */
  readonly chatTemplate: string | undefined;
  /** For conversations with tools, where the model has a template of its own for them ("tool_use"). */
  readonly toolChatTemplate: string | undefined;
  /**
   * The ids of a text, by default with the special tokens the tokenizer puts around it. Special tokens
   * written inside the text are recognised.
   *
   * @throws DeltafitError `tokenizer-mismatch` for a text over 8 Mi UTF-16 units, with a lone surrogate, that
   * the tokenizer takes too long for (2 s and 50 microseconds a unit) or has no token for.
   */
  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[];
  /** A pair with its special tokens, as in `[CLS] first [SEP] second [SEP]`. Errors as for {@link encode}. */
  encodePair(first: string, second: string): EncodedInput;
  /** Puts the special tokens around ids that were encoded without, one text or a pair. */
  addSpecialTokens(first: readonly number[], second?: readonly number[]): EncodedInput;
  /**
   * The text of ids, with no tidying of spaces before punctuation beyond what tokenizer.json itself asks for.
   * Ids without a token, which a model with a padded vocabulary can produce, give no text.
   */
  decode(ids: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  /** Decodes generated ids one by one, special tokens left out. */
  createStreamDecoder(): StreamDecoder;
  /** Looks up a token as the vocabulary spells it, such as `Ġthe` or `##ing`. */
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  isSpecialToken(id: number): boolean;
}

/**
 * Loads the tokenizer of a folder in Hugging Face layout. tokenizer.json is needed; tokenizer_config.json,
 * special_tokens_map.json and chat_template.jinja are read where they are. Truncation and padding that
 * tokenizer.json may ask for are not applied.
 *
 * @throws DeltafitError `file-missing`, `file-refused`, `file-invalid`, `config-invalid`.
 *
 * @example
 * ```ts
 * const tokenizer = loadTokenizer("models/smollm2-135m");
 * tokenizer.decode(tokenizer.encode("Hello world")); // "Hello world"
 * ```
 */
export function loadTokenizer(folder: string): Tokenizer {
  const files = readTokenizerFiles(folder);
  const { where, tokens } = files;
  const layout = specialTokenLayout(files.tokenizer.post_processor, where);
  const library = createLibraryTokenizer(files);
  const ids = new Map([...tokens].map(([id, token]) => [token, id]));
  for (const { id, content } of files.tokenizer.added_tokens) ids.set(content, id);
  const roleId = (role: TokenRole): number | undefined => ids.get(files.roles.get(role) ?? "");
  const specialIds = new Set(
    files.tokenizer.added_tokens.filter((token) => token.special).map((token) => token.id),
  );
  for (const role of files.roles.values()) specialIds.add(ids.get(role) ?? -1);

  const assemble = (first: readonly number[], second?: readonly number[]): EncodedInput =>
    assembleInput(second === undefined ? layout.single : layout.pair, first, second ?? []);
  const partsOfWords = withinWords(files.tokenizer);
  const encodeBare = (text: string): number[] => encodeText(library, text, where, partsOfWords);
  const decode = (encoded: readonly number[], skipSpecialTokens: boolean): string => {
    const kept = encoded.filter((id) => tokens.has(id) && !(skipSpecialTokens && specialIds.has(id)));
    // By default the library tidies up English contractions, which would change the text.
    return kept.length === 0 ? "" : library.decode(kept, { clean_up_tokenization_spaces: false });
  };
  const textPosition = layout.single.findIndex((item) => item.kind === "text");
  const tokenIds = (items: readonly LayoutItem[]): number[] =>
    items.flatMap((item) => (item.kind === "token" ? [item.id] : []));

  return {
    folder,
    fingerprint: files.fingerprint,
    vocabularySize: 1 + [...tokens.keys()].reduce((largest, id) => Math.max(largest, id), 0),
    bosTokenId: roleId("bos"),
    eosTokenId: roleId("eos"),
    padTokenId: roleId("pad"),
    unkTokenId: roleId("unk"),
    maskTokenId: roleId("mask"),
    clsTokenId: roleId("cls"),
    sepTokenId: roleId("sep"),
    leadingTokenIds: tokenIds(layout.single.slice(0, Math.max(textPosition, 0))),
    trailingTokenIds: tokenIds(layout.single.slice(textPosition + 1)),
    modelMaximumLength: files.modelMaximumLength,
    truncationSide: files.truncationSide,
    chatTemplate: files.chatTemplate,
    toolChatTemplate: files.toolChatTemplate,
    encode: (text, options) =>
      (options?.addSpecialTokens ?? true) ? assemble(encodeBare(text)).inputIds : encodeBare(text),
    encodePair: (first, second) => assemble(encodeBare(first), encodeBare(second)),
    addSpecialTokens: assemble,
    decode: (encoded, options) => decode(encoded, options?.skipSpecialTokens ?? false),
    createStreamDecoder: () => createStreamDecoder((encoded) => decode(encoded, true)),
    tokenToId: (token) => ids.get(token),
    idToToken: (id) => tokens.get(id),
    isSpecialToken: (id) => specialIds.has(id),
  };
}

function createLibraryTokenizer({ tokenizer, where }: TokenizerFiles): LibraryTokenizer {
  const source: TokenizerJson = {
    ...tokenizer,
    normalizer: exactNormalizer(tokenizer.normalizer ?? null),
    pre_tokenizer: exactPreTokenizer(tokenizer.pre_tokenizer ?? null),
    decoder: tokenizer.decoder ?? null,
    post_processor: null,
  };
  const onTimeout = (): Error =>
    new DeltafitError("file-invalid", `${where}: building the tokenizer took more than 60 s.`);
  try {
    const library = withTimeLimit(60_000, () => new LibraryTokenizer(source, {}), onTimeout);
    installCharsmaps(library, tokenizer, where);
    return library;
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DeltafitError(
      "file-invalid",
      `${where} does not describe a usable tokenizer: ${reason}.`,
      undefined,
      error,
    );
  }
}

/**
 * Puts SentencePiece's own rules in the place of what the library takes for them.
 * @throws DeltafitError `file-invalid`.
 */
function installCharsmaps(library: LibraryTokenizer, { added_tokens }: TokenizerJson, where: string): void {
  const { normalizer } = library;
  if (normalizer === null) return;
  // The library has normalised these while it was built, and tells nobody into what.
  const normalized = added_tokens.filter((token) => token["normalized"] === true);
  const before = normalized.map(({ content }) => normalizer.normalize(content));
  const install = (part: Normalizer | null): void => {
    if (part instanceof SequenceNormalizer) part.normalizers.forEach(install);
    if (part instanceof PrecompiledNormalizer) part.normalize = charsmapNormalizer(part.charsmap, where);
  };
  install(normalizer);
  for (const [index, { content }] of normalized.entries())
    if (normalizer.normalize(content) !== before[index])
      throw new DeltafitError(
        "file-invalid",
        `${where}: the added token ${quote(content)} is normalised by rules that it cannot be looked up by.`,
        'Set "normalized" of that token to false.',
      );
}

/** A character of a word, as Unicode's regular expressions have it (UTS 18, annex C). */
const wordCharacter = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";

/** Where a token that is to be found as a word alone (`single_word`) is part of one: the library takes it all the same. */
function withinWords({ added_tokens }: TokenizerJson): RegExp | undefined {
  const contents = added_tokens
    .filter((token) => token["single_word"] === true)
    .map(({ content }) => content.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const alternatives = contents.flatMap((content) => [
    `(?<=${wordCharacter})${content}`,
    `${content}(?=${wordCharacter})`,
  ]);
  return alternatives.length === 0 ? undefined : new RegExp(alternatives.join("|"), "u");
}

function encodeText(
  library: LibraryTokenizer,
  text: string,
  where: string,
  partsOfWords: RegExp | undefined,
): number[] {
  const refuse = (reason: string, hint?: string, cause?: unknown): DeltafitError =>
    new DeltafitError(
      "tokenizer-mismatch",
      `${where} cannot encode the text ${quote(text)}: ${reason}.`,
      hint,
      cause,
    );
  if (text.length > maximumTextLength) {
    const reason = `expected at most ${maximumTextLength} UTF-16 units, found ${text.length}`;
    throw refuse(reason, "Split the text into several.");
  }
  if (/\p{Surrogate}/u.test(text)) throw refuse("it holds half of a surrogate pair, which is no character");
  const part = partsOfWords?.exec(text) ?? partsOfWords?.exec(library.normalizer?.normalize(text) ?? text);
  if (part)
    throw refuse(
      `${quote(part[0])}, a token that counts as a whole word only, is part of a longer one`,
      'Set "single_word" of that token to false, or leave it out of the text.',
    );
  const limitMs = Math.round(timeLimitMs(text.length));
  try {
    const { ids } = withTimeLimit(
      limitMs,
      () => library.encode(text, { add_special_tokens: false }),
      () =>
        refuse(`it took more than ${limitMs} ms`, "A regular expression in tokenizer.json may be at fault."),
    );
    if (ids.every((id): id is number => Number.isInteger(id))) return ids;
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    throw refuse(error instanceof Error ? error.message : String(error), undefined, error);
  }
  throw refuse("a part of it has no token, and there is no token for unknown text");
}

function assembleInput(
  layout: readonly LayoutItem[],
  first: readonly number[],
  second: readonly number[],
): EncodedInput {
  const inputIds: number[] = [];
  const tokenTypeIds: number[] = [];
  for (const item of layout) {
    const ids = item.kind === "token" ? [item.id] : item.text === "A" ? first : second;
    for (const id of ids) {
      inputIds.push(id);
      tokenTypeIds.push(item.typeId);
    }
  }
  return { inputIds, tokenTypeIds };
}

/**
 * @param modelVocabularySize Rows of the model's embedding.
 * @param names What tokenizer and model are called in the error.
 * @throws DeltafitError `tokenizer-mismatch` if the tokenizer has ids beyond the embedding. Fewer ids than
 * rows are usual: embeddings are padded.
 */
export function assertTokenizerFits(
  tokenizer: Tokenizer,
  modelVocabularySize: number,
  names: { readonly tokenizer: string; readonly model: string },
): void {
  if (tokenizer.vocabularySize <= modelVocabularySize) return;
  const largest = tokenizer.vocabularySize - 1;
  const example = tokenizer.idToToken(largest) ?? "";
  throw new DeltafitError(
    "tokenizer-mismatch",
    `The tokenizer ${quote(names.tokenizer)} does not fit the model ${quote(names.model)}: expected ids below ` +
      `${modelVocabularySize}, the rows of the embedding, found ids up to ${largest} (${quote(example)}).`,
    "Use the tokenizer that belongs to the model.",
  );
}
