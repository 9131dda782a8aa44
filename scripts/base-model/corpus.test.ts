/** @file Tests of the corpus: the same text for the same seed, and no traces of templates in it. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { renderChat as renderTemplate } from "../../src/files/chat-template.ts";
import { chatTemplate, renderChat, specialTokens } from "./chat-template.ts";
import { generateDocument, generateDocuments } from "./corpus.ts";
import { lexicon } from "./lexicon.ts";
import { createScene, fill, say, spell } from "./phrase.ts";
import { createRandom } from "./random.ts";

const documents = [...generateDocuments(3, 4000)];

/** Documents in which a pattern occurs, as excerpts around it. */
function excerpts(pattern: RegExp): string[] {
  return documents.flatMap((text) => {
    const found = pattern.exec(text);
    return found === null ? [] : [text.slice(Math.max(0, found.index - 30), found.index + 30)];
  });
}

describe("the corpus", () => {
  it("is the same for the same seed", () => {
    const hash = createHash("sha256")
      .update([...generateDocuments(1, 50)].join("\u0000"))
      .digest("hex");
    expect(hash).toMatchInlineSnapshot(`"de2db0d068b03b53c992067801567599c3bcb57f204ba8e02012a7544c2a8d2d"`);
  });

  it("gives each document by its index alone", () => {
    expect(generateDocument(3, 17)).toBe(documents[17]);
  });

  it.each([
    ["template signs", /[{}~@[\]()]|\^|_/],
    ["missing words", /undefined|null|NaN/],
    ["double spaces", / {2}/],
    ["spaces before punctuation", / [,.?!;:]/],
    ["double punctuation", /\.\.|,,|,\.|\?\.|!\./],
    ["a before a vowel", /\b[Aa] (?:[aeio]|hour|u(?!ni|se|su))/],
    ["an before a consonant", /\b[Aa]n (?![aeiouAEIOU]|hour|honest|8|11|18)/],
    ["a repeated word", /\b([a-z]+) \1\b/],
    ["a sentence that starts in lower case", /(?:^|[.?] |\." )"?[a-z]/],
    [
      "a plural that does not agree",
      /\b(?:they|we) (?:was|is|has|goes)\b|\b(?:he|she|it) (?:were|are|have|go)\b/,
    ],
  ])("has no %s", (_, pattern) => {
    expect(excerpts(pattern)).toEqual([]);
  });

  it("hardly repeats itself", () => {
    expect(new Set(documents).size / documents.length).toBeGreaterThan(0.99);
  });

  it("has about an eighth of conversations, all in the chat format", () => {
    const chats = documents.filter((text) => text.includes("<|"));
    expect(chats.length / documents.length).toBeGreaterThan(0.1);
    expect(chats.length / documents.length).toBeLessThan(0.16);
    const form = /^(?:<\|user\|>\n[^<]+<\|end\|>\n<\|assistant\|>\n[^<]+<\|end\|>\n)+$/;
    expect(chats.filter((text) => !form.test(text))).toEqual([]);
  });

  it("stays within the model's context", () => {
    expect(Math.max(...documents.map((text) => text.length))).toBeLessThan(1400);
  });
});

describe("the chat format", () => {
  const turns = [
    { role: "user", content: "Hello, {you}!" },
    { role: "assistant", content: "Hi." },
  ] as const;

  it("is the template's", () => {
    expect(renderChat(turns)).toBe(renderTemplate(chatTemplate, turns));
    expect(renderTemplate(chatTemplate, turns.slice(0, 1), { addGenerationPrompt: true })).toBe(
      `${renderChat(turns.slice(0, 1))}<|assistant|>\n`,
    );
  });

  it("refuses a role it has no token for", () => {
    expect(() => renderTemplate(chatTemplate, [{ role: "system", content: "x" }])).toThrow(
      "This chat template knows the roles user and assistant, not system.",
    );
  });

  it("uses special tokens only", () => {
    const used = renderChat(turns).match(/<\|\w+\|>/g) ?? [];
    expect(used.filter((token) => !specialTokens.some((known) => known === token))).toEqual([]);
  });
});

describe("the sentence engine", () => {
  const scene = () => createScene(createRandom(1), lexicon);

  it("remembers what it says", () => {
    const one = scene();
    expect(say(one, "they left [why:because it was late][hidden=unseen].")).toBe(
      "They left because it was late.",
    );
    expect(say(one, "{^why} and {hidden}.")).toBe("Because it was late and unseen.");
  });

  it("refuses what it does not know", () => {
    expect(() => fill(scene(), "Hello {nobody}.")).toThrow(
      new ReferenceError('Template slot {nobody} is not known in "Hello {nobody}.".'),
    );
    expect(() => fill(scene(), "{@nothing}")).toThrow(
      new ReferenceError('There is no word table "nothing".'),
    );
  });

  it.each([
    ["a~apple and a~pear", "An apple and a pear"],
    ["it took a~hour at a~university. it was 11 am", "It took an hour at a university. It was 11 am"],
    ['"where?" asked Tom. "here," he said.', '"Where?" asked Tom. "Here," he said.'],
    ["yes , no", "Yes, no"],
  ])("spells %j", (text, expected) => {
    expect(spell(text)).toBe(expected);
  });
});
