import path from "node:path";
import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import type { ChatMessage } from "./chat-template.ts";
import { encodeChat, renderChat } from "./chat-template.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { loadTokenizer } from "./tokenizer.ts";

const fixtures = path.resolve(import.meta.dirname, "../../test/fixtures/tokenizers");
const tokenizer = loadTokenizer(path.join(fixtures, "byte-level"));
const template = tokenizer.chatTemplate ?? "";

const conversation: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "How many ships?" },
  { role: "assistant", content: "12" },
  { role: "user", content: "Gulls?" },
  { role: "assistant", content: "345" },
];

describe("rendering", () => {
  test("a conversation with and without the generation prompt", () => {
    expect(renderChat(template, conversation.slice(1, 3))).toBe(
      "<|im_start|>user\nHow many ships?<|im_end|>\n<|im_start|>assistant\n12<|im_end|>\n",
    );
    expect(renderChat(template, conversation.slice(1, 2), { addGenerationPrompt: true })).toBe(
      "<|im_start|>user\nHow many ships?<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("blocks swallow the white space around them; what is missing is as in transformers", () => {
    const source =
      "{{ bos_token }}|{{ eos_token }}|{% if tools is not none %}tools{% else %}no tools{% endif %}\n  {% set x = 1 %}\n!";
    expect(renderChat(source, [], { eosToken: "</s>" })).toBe("|</s>|no tools!");
    expect(renderChat("{{ tools[0].name }}", [], { tools: [{ name: "clock" }] })).toBe("clock");
  });

  test("the date is the one given, in English", () => {
    const now = new Date(2024, 1, 29, 7, 5, 9);
    expect(renderChat("{{ strftime_now('%d %b %Y, %A %H:%M:%S %B %q') }}", [], { now })).toBe(
      "29 Feb 2024, Thursday 07:05:09 February %q",
    );
  });

  test("a template cannot reach the host", () => {
    const refused = (source: string): string => failureOf(() => renderChat(source, conversation)).message;
    expect(refused("{{ messages.constructor.constructor('return process')() }}")).toBe(
      "The chat template cannot be used: Cannot call something that is not a function: got UndefinedValue.",
    );
    expect(renderChat("{{ process }}{{ ''.__class__ }}{{ messages.__proto__ }}", conversation)).toBe("");
  });

  test("time, memory and recursion are bounded", () => {
    const failures = [
      "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
      "{% for a in range(1000000000) %}{% endfor %}",
      "{% set ns = namespace(x='12345678') %}{% for i in range(21) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
      `{{ ${"(".repeat(50_000)}`,
      "x".repeat(2 ** 20 + 1),
    ].map((source) => failureOf(() => renderChat(source, conversation)).message);
    expect(failures).toEqual([
      "The chat template cannot be used: it took more than 3000 ms.",
      "The chat template cannot be used: range() of 1000000000 numbers, at most 100000 are allowed.",
      "The chat template cannot be used: it gave 16777216 characters, at most 8388608 are allowed.",
      "The chat template cannot be used: Maximum call stack size exceeded.",
      "The chat template cannot be used: expected at most 1048576 characters, found 1048577.",
    ]);
  }, 20_000);

  test("what has no text is refused", () => {
    const broken = (source: string): string => failureOf(() => renderChat(source, conversation)).message;
    expect(broken("{{ 'arguments: ' + {'zone': 1} }}")).toBe(
      "The chat template cannot be used: it joins an object to a text; templates differ in whether arguments are objects or texts.",
    );
    expect(broken("{{ [1].strip() }}")).toBe(
      "The chat template cannot be used: strip works on texts, found [1].",
    );
    expect(renderChat("{{ messages[0].content }}", [{ role: "user", content: "[object Map]" }])).toBe(
      "[object Map]",
    );
  });

  test("what a template refuses is the data's fault", () => {
    const source = "{{ raise_exception('Roles must alternate') }}";
    expect(failureOf(() => renderChat(source, conversation))).toEqual({
      code: "data-invalid",
      message:
        'The chat template refuses the conversation ("system, user, assistant, user, assistant"): "Roles must alternate".',
      hint: "Bring the messages into the form that the model was trained with.",
    });
  });
});

test("conversations with tools take the model's template for them", () => {
  const withTools: Tokenizer = {
    ...tokenizer,
    chatTemplate: "{% for m in messages %}{{ m.content }}{% endfor %}",
    toolChatTemplate: "{{ tools[0].name }}:{% for m in messages %}{{ m.content }}{% endfor %}",
  };
  const textOf = (tools?: readonly unknown[]): string =>
    tokenizer.decode(encodeChat(withTools, conversation.slice(1, 3), { tools }).inputIds);
  expect(textOf()).toBe("How many ships?12");
  expect(textOf([{ name: "clock" }])).toBe("clock:How many ships?12");
});

describe("encoding", () => {
  const withTemplate = (chatTemplate: string | undefined): Tokenizer => ({ ...tokenizer, chatTemplate });

  test("answers and their end-of-turn tokens are trained on, and nothing else", () => {
    const { inputIds, labels } = encodeChat(tokenizer, conversation);
    expect(tokenizer.decode(inputIds)).toBe(renderChat(template, conversation));
    const trained = labels.map((label) => (label === -100 ? "_" : (tokenizer.idToToken(label) ?? "")));
    const compact = trained.join(" ").replace(/_( _)*/g, "_");
    expect(compact).toBe("_ 12 <|im_end|> _ 34 5 <|im_end|> _");
    expect(labels.every((label, position) => label === -100 || label === inputIds[position])).toBe(true);
  });

  test("a token over the seam of prompt and answer belongs to the answer", () => {
    // After "quiet " the word "river" takes the space with it.
    const source =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|im_end|>{% else %}{{ m.content }} {% endif %}{% endfor %}";
    const messages = [
      { role: "user", content: "quiet" },
      { role: "assistant", content: "the" },
    ];
    const { inputIds, labels } = encodeChat(withTemplate(source), messages);
    const shown = inputIds.map(
      (id, at) => `${tokenizer.idToToken(id) ?? ""}${labels[at] === -100 ? "" : "*"}`,
    );
    expect(shown.slice(-2)).toEqual(["Ġthe*", "<|im_end|>*"]);
    expect(shown.filter((token) => token.endsWith("*"))).toHaveLength(2);
  });

  test("a template that rewrites earlier turns is refused", () => {
    const source =
      "{% for m in messages %}{{ m.role }}{% if loop.last %}: {{ m.content }}{% endif %};{% endfor %}";
    expect(failureOf(() => encodeChat(withTemplate(source), conversation))).toEqual({
      code: "file-invalid",
      message:
        'The chat template writes the turns up to message 3 of 5 ("system, user, assistant, user, assistant") ' +
        "differently when more turns follow: expected each shorter conversation to begin the longer one.",
      hint: "Such templates drop parts of earlier turns. Split the conversations so that each has one answer, its last turn.",
    });
  });

  test("no template, no answer", () => {
    const folder = tokenizer.folder;
    expect(failureOf(() => encodeChat(withTemplate(undefined), conversation), folder).message).toBe(
      'The tokenizer "FOLDER" has no chat template.',
    );
    expect(failureOf(() => encodeChat(tokenizer, conversation.slice(0, 2))).message).toBe(
      'The conversation ("system, user") has no turn of the role "assistant" to train on.',
    );
  });
});
