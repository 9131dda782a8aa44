/** @file The rows of a file of prompts: a text or a conversation each, with the adapters that act on it. */
import { z } from "zod";
import { readRows } from "../data/read-rows.ts";
import { DeltafitError } from "../errors.ts";
import type { ChatMessage } from "../files/chat-template.ts";
import { chosenGroups } from "./adapter-choice.ts";
import type { AdapterGroup } from "./model.ts";

/** Messages of a conversation. */
export const messagesSchema = z
  .array(z.looseObject({ role: z.string(), content: z.string().nullable() }))
  .min(1);

const rowSchema = z.union([
  z.looseObject({ prompt: z.string(), messages: z.undefined().optional() }),
  z.looseObject({ prompt: z.undefined().optional(), messages: messagesSchema }),
]);

export interface PromptRow {
  readonly prompt: string | readonly ChatMessage[];
  readonly groups: readonly AdapterGroup[];
}

/** @throws DeltafitError `data-invalid` with the row's place; what `readRows` throws. */
export function readPromptRows(path: string, groups: readonly AdapterGroup[]): readonly PromptRow[] {
  return readRows(path).map((row) => {
    const { success, data } = rowSchema.safeParse(row.values);
    const prompt = success ? (data.prompt ?? data.messages) : undefined;
    if (prompt === undefined)
      throw new DeltafitError(
        "data-invalid",
        `${row.where}: expected a text under "prompt" or a list of messages under "messages", and only one of them.`,
        'For example: {"prompt": "Good morning!", "adapter": "french"}',
      );
    return { prompt, groups: chosenGroups(row, groups) };
  });
}
