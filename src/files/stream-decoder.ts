/**
 * @file Text from token ids as they are generated. A character that is spread over several tokens comes out
 * when it is complete. Knows no tokenizer, only a function that decodes.
 */

/** Turns token ids into text one after the other; what it returns, joined, is the decoded text. */
export interface StreamDecoder {
  /** Takes the next id and returns the text that has become certain, possibly "". */
  push(id: number): string;
  /** Returns what is left, with U+FFFD for an unfinished character, and begins anew. */
  flush(): string;
}

const replacementCharacter = "\uFFFD";
/** A character takes at most 4 bytes, so at most 4 tokens; more in waiting are no character. */
const maximumPendingTokens = 8;

export function createStreamDecoder(decode: (ids: readonly number[]) => string): StreamDecoder {
  // The ids of the last piece returned are decoded again with those that follow: a decoder gives the first
  // token of a text no space in front.
  let context: readonly number[] = [];
  let pending: number[] = [];
  const takePending = (): string => {
    const known = decode(context);
    const piece = decode([...context, ...pending]).slice(known.length);
    if (piece !== "") context = pending;
    else context = [...context, ...pending];
    pending = [];
    return piece;
  };
  return {
    push(id) {
      pending.push(id);
      const isUnfinished = decode([...context, ...pending]).endsWith(replacementCharacter);
      return isUnfinished && pending.length < maximumPendingTokens ? "" : takePending();
    },
    flush() {
      const rest = pending.length === 0 ? "" : takePending();
      context = [];
      return rest;
    },
  };
}
