/**
 * @file Types of the two libraries by Hugging Face, as far as deltafit uses them. Their own declarations import each
 * other without file extensions, which Node's module resolution does not find, so everything in them would be `any`.
 */

declare module "@huggingface/tokenizers" {
  export abstract class Normalizer {
    normalize: (text: string) => string;
  }
  export class SequenceNormalizer extends Normalizer {
    readonly normalizers: readonly (Normalizer | null)[];
  }
  export class PrecompiledNormalizer extends Normalizer {
    readonly charsmap: unknown;
  }

  export class Tokenizer {
    readonly normalizer: Normalizer | null;
    /** Throws for kinds it does not know. */
    constructor(tokenizer: object, config: object);
    /** Ids are undefined, or null, for pieces without a token. */
    encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | null | undefined)[] };
    /** Throws for an empty list. */
    decode(ids: number[], options: { clean_up_tokenization_spaces: boolean }): string;
  }
}

declare module "@huggingface/jinja" {
  interface Program {
    readonly type: "Program";
  }

  export class Environment {
    /** Makes a value of JavaScript known to templates; functions become callable. */
    set(name: string, value: unknown): unknown;
  }

  export class Interpreter {
    constructor(environment: Environment);
    run(program: Program): { readonly value: unknown };
  }

  export function tokenize(
    source: string,
    options: { lstrip_blocks: boolean; trim_blocks: boolean },
  ): readonly object[];

  export function parse(tokens: readonly object[]): Program;
}
