/**
 * @file What PEFT's format has no place for and using an adapter needs: the names of its labels, how prompts were
 * written, which tokenizer it was trained with. Kept as deltafit.json beside the adapter.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../files/atomic.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { quote } from "../files/quote.ts";
import { taskNames } from "./shared-flags.ts";

const fileName = "deltafit.json";

const schema = z.object({
  format: z.literal(1),
  task: z.enum(taskNames),
  /** Names by id, where labels have names. */
  labels: z.array(z.string()).nullable(),
  labelCount: z.int().positive().nullable(),
  /** How prompts of Alpaca data end. */
  alpaca: z.enum(["stanford", "response-newline"]),
  /** SHA-256 of tokenizer.json and of the chat template. */
  tokenizer: z.string(),
  chatTemplate: z.string().nullable(),
});

export type TrainingNotes = z.infer<typeof schema>;

/** SHA-256 of a text in hexadecimal; null for none. */
export function fingerprintOf(text: string | undefined): string | null {
  return text === undefined ? null : createHash("sha256").update(text).digest("hex");
}

/** @throws DeltafitError `config-invalid`, and what reading the file throws; `undefined` where there is none. */
export function readTrainingNotes(folder: string): TrainingNotes | undefined {
  const path = join(folder, fileName);
  return fs.existsSync(path) ? parseWithSchema(schema, readJsonFile(path), quote(path)) : undefined;
}

export function writeTrainingNotes(folder: string, notes: TrainingNotes): void {
  writeFileAtomic(join(folder, fileName), `${JSON.stringify(notes, null, 2)}\n`);
}
