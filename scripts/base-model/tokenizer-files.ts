/** @file Writes a byte-level tokenizer in the Hugging Face layout. It knows the files' keys, not how merges are found. */
import { byteCharacters, digitPattern } from "./byte-pair.ts";
import type { Merge } from "./byte-pair.ts";
import { chatTemplate, specialTokens } from "./chat-template.ts";

const [endOfText, padding] = specialTokens;

/** The longest sequence the bundled base was trained on, in tokens. */
export const contextLength = 512;

function addedToken(content: string, id: number) {
  return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
}

/**
 * The content of tokenizer.json: special tokens first, then the 256 bytes, then the merges in rank order. Nothing is
 * normalised and no token is added around a text, so decoding an encoded text gives it back byte by byte.
 */
export function tokenizerFile(merges: readonly Merge[]) {
  const entries = [...specialTokens, ...byteCharacters(), ...merges.map(([left, right]) => left + right)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => addedToken(content, id)),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: digitPattern }, behavior: "Isolated", invert: false },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(entries.map((entry, id) => [entry, id])),
      merges,
    },
  };
}

/** The content of tokenizer_config.json; the end-of-text token also opens a text where a tool insists on one. */
export function tokenizerConfigFile() {
  const decoder = specialTokens.map((content, id) => {
    const { id: key, ...token } = addedToken(content, id);
    return [String(key), token] as const;
  });
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    added_tokens_decoder: Object.fromEntries(decoder),
    bos_token: endOfText,
    eos_token: endOfText,
    pad_token: padding,
    clean_up_tokenization_spaces: false,
    model_max_length: contextLength,
    chat_template: chatTemplate,
  };
}

/** The content of special_tokens_map.json. */
export function specialTokensFile() {
  return { bos_token: endOfText, eos_token: endOfText, pad_token: padding };
}
