/**
 * @file Chat templates against transformers: the texts, and the refusals, of `make_expected.py` beside the recorded file.
 */
import path from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { DeltafitError } from "../errors.ts";
import { renderChat } from "./chat-template.ts";
import { readJsonFile } from "./json.ts";

const file = path.resolve(import.meta.dirname, "../../test/fixtures/chat-templates/expected.json");
const message = z.looseObject({ role: z.string(), content: z.string().nullable() });
const { templates, conversations, tools, date, cases } = z
  .object({
    date: z.string(),
    templates: z.record(z.string(), z.string()),
    tools: z.array(z.unknown()),
    conversations: z.record(z.string(), z.array(message)),
    cases: z.array(
      z.object({
        template: z.string(),
        conversation: z.string(),
        tools: z.boolean(),
        addGenerationPrompt: z.boolean(),
        text: z.string().optional(),
        refused: z.string().optional(),
      }),
    ),
  })
  .parse(readJsonFile(file));

test.each(Object.keys(templates))("%s", (name) => {
  const own = cases.filter(({ template }) => template === name);
  expect(own.length).toBeGreaterThanOrEqual(2 * Object.keys(conversations).length);
  for (const { conversation, addGenerationPrompt, text, refused, ...given } of own) {
    const render = (): string =>
      renderChat(templates[name] ?? "", conversations[conversation] ?? [], {
        addGenerationPrompt,
        bosToken: "<s>",
        eosToken: "</s>",
        now: new Date(`${date}T12:00:00`),
        ...(given.tools && { tools }),
      });
    if (refused === undefined) expect(render(), conversation).toBe(text);
    else expect(render, `${conversation}: ${refused}`).toThrow(DeltafitError);
  }
});
