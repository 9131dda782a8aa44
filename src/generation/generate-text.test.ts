/** @file Text from a tiny random model through a real tokenizer: stop strings, pieces, conversations. */
import { copyFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { failureOf, rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { tinyBase, tinyConfigurations } from "../../test/support/tiny-models.ts";
import { loadTokenizer } from "../files/tokenizer.ts";
import type { Tokenizer } from "../files/tokenizer.ts";
import { createGenerator } from "./generate.ts";
import { encodePrompt, generateText, streamText } from "./generate-text.ts";

const fixtures = path.resolve(import.meta.dirname, "../../test/fixtures/tokenizers");
const tokenizer = loadTokenizer(path.join(fixtures, "byte-level"));
const request = { prompts: ["Hello world", "a"], maximumNewTokens: 30, stopTokens: [] };

async function generatorFor({ vocabularySize }: Tokenizer) {
  const base = await tinyBase({ ...tinyConfigurations.llama, vocab_size: vocabularySize });
  const generator = await createGenerator(base, [], { session: { threads: 1 } });
  onTestFinished(() => generator.dispose());
  return generator;
}

describe("generateText", () => {
  it("gives the text of the new tokens", async () => {
    const { texts, tokens, finishReasons } = await generateText(
      await generatorFor(tokenizer),
      tokenizer,
      request,
    );
    expect(texts).toEqual(tokens.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true })));
    expect(texts[0]!.length).toBeGreaterThan(20);
    expect(finishReasons).toEqual(["length", "length"]);
  });

  it("ends a row before a stop string that begins within one token and ends within another", async () => {
    const generator = await generatorFor(tokenizer);
    const free = await generateText(generator, tokenizer, request);
    const pieces = free.tokens[0]!.map((id) => tokenizer.decode([id], { skipSpecialTokens: true }));
    const at = pieces.findIndex(
      (piece, index) =>
        index > 2 &&
        piece.length > 1 &&
        (pieces[index + 1] ?? "").length > 1 &&
        !`${piece}${pieces[index + 1]}`.includes("\ufffd"),
    );
    expect(at).toBeGreaterThan(0);
    const stop = pieces[at]!.slice(-1) + pieces[at + 1]!.slice(0, 1);
    const { texts, tokens, finishReasons } = await generateText(generator, tokenizer, {
      ...request,
      stopStrings: [stop],
    });
    expect(texts[0]).toBe(free.texts[0]!.slice(0, free.texts[0]!.indexOf(stop)));
    expect(tokens[0]!.length).toBeLessThan(30);
    expect(tokens[0]).toEqual(free.tokens[0]!.slice(0, tokens[0]!.length));
    expect(finishReasons[0]).toBe("stop-string");
    const untouched = !free.texts[1]!.includes(stop);
    expect([texts[1], finishReasons[1]]).toEqual(
      untouched
        ? [free.texts[1], "length"]
        : [free.texts[1]!.slice(0, free.texts[1]!.indexOf(stop)), "stop-string"],
    );
  });

  it("ends at the tokenizer's end token, which is no part of the text", async () => {
    const generator = await generatorFor(tokenizer);
    const free = await generateText(generator, tokenizer, request);
    const ending: Tokenizer = { ...tokenizer, eosTokenId: free.tokens[0]![5] };
    const { tokens, finishReasons } = await generateText(generator, ending, {
      prompts: request.prompts,
      maximumNewTokens: 30,
    });
    expect(tokens[0]!.length).toBeLessThanOrEqual(6);
    expect(finishReasons[0]).toBe("stop-token");
  });

  it("streams pieces that make up the same texts", async () => {
    const generator = await generatorFor(tokenizer);
    const whole = await generateText(generator, tokenizer, { ...request, stopStrings: ["zz", "e"] });
    const texts = ["", ""];
    const reasons: unknown[] = [];
    for await (const { row, text, finishReason } of streamText(generator, tokenizer, {
      ...request,
      stopStrings: ["zz", "e"],
    })) {
      texts[row] = `${texts[row]}${text}`;
      if (finishReason !== undefined) reasons[row] = finishReason;
    }
    expect(texts).toEqual(whole.texts);
    expect(reasons).toEqual(whole.finishReasons);
  });

  it("searches beams, whole and streamed, but not with stop strings", async () => {
    const generator = await generatorFor(tokenizer);
    const beams = { ...request, maximumNewTokens: 8, beams: 3 };
    const { texts, tokens } = await generateText(generator, tokenizer, beams);
    expect(texts).toEqual(tokens.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true })));
    const streamed = ["", ""];
    for await (const { row, text } of streamText(generator, tokenizer, beams))
      streamed[row] = `${streamed[row]}${text}`;
    expect(streamed).toEqual(texts);
    expect(
      await rejectionOf(() => generateText(generator, tokenizer, { ...beams, stopStrings: ["x"] })),
    ).toEqual({
      code: "usage-invalid",
      message: "Generation: a beam search does not stop at strings.",
      hint: "Leave out beams or the stop strings.",
    });
  });
});

describe("encodePrompt", () => {
  it("writes a conversation up to the answer", () => {
    const ids = encodePrompt(tokenizer, [{ role: "user", content: "Hello" }]);
    expect(tokenizer.decode(ids)).toBe("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
  });

  it("puts the special tokens in front of a text and none behind", () => {
    const wordPiece = loadTokenizer(path.join(fixtures, "word-piece"));
    const whole = wordPiece.encode("hello");
    expect(wordPiece.trailingTokenIds.length).toBe(1);
    expect(encodePrompt(wordPiece, "hello")).toEqual(whole.slice(0, -1));
  });

  it("says where a chat template is missing", () => {
    const folder = temporaryFolder();
    copyFileSync(path.join(fixtures, "byte-level", "tokenizer.json"), path.join(folder, "tokenizer.json"));
    expect(
      failureOf(() => encodePrompt(loadTokenizer(folder), [{ role: "user", content: "Hello" }]), folder),
    ).toEqual({
      code: "file-invalid",
      message: 'The tokenizer "FOLDER" has no chat template.',
      hint: "Give a plain prompt, use a model with a chat template, or add a chat_template.jinja to it.",
    });
  });
});
