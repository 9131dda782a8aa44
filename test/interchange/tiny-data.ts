/**
 * @file A word tokenizer and training data for the tiny random models, which come without either. Words are `w5`,
 * `w6`, ... and stand for the ids of those numbers; ids 0 to 4 are the models' special tokens.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Task } from "../../src/models/forward.ts";

const firstWordId = 5;
const unknownId = 3;
const maskId = 4;
const exampleCount = 12;

const configSchema = z.looseObject({
  vocab_size: z.number(),
  pad_token_id: z.number().nullish(),
  bos_token_id: z.number().nullish(),
  eos_token_id: z.number().nullish(),
});

const special = (id: number) => `<${String(id)}>`;

/** Writes tokenizer.json and tokenizer_config.json beside a config.json. @returns the vocabulary's size */
export function writeTokenizer(baseFolder: string): number {
  const config = configSchema.parse(JSON.parse(readFileSync(join(baseFolder, "config.json"), "utf8")));
  const token = (id: number) => (id < firstWordId ? special(id) : `w${String(id)}`);
  const ids = Array.from({ length: config.vocab_size }, (_, id) => id);
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: ids.slice(0, firstWordId).map((id) => ({
      ...{ id, content: special(id), special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: null,
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      ...{ type: "WordPiece", unk_token: special(unknownId), continuing_subword_prefix: "##" },
      ...{ max_input_chars_per_word: 100, vocab: Object.fromEntries(ids.map((id) => [token(id), id])) },
    },
  };
  const beginning = special(config.bos_token_id ?? 1);
  const end = special(config.eos_token_id ?? 2);
  const tokenizerConfig = {
    ...{ tokenizer_class: "PreTrainedTokenizerFast", model_max_length: 32 },
    ...{
      unk_token: special(unknownId),
      mask_token: special(maskId),
      pad_token: special(config.pad_token_id ?? 0),
    },
    ...{ bos_token: beginning, cls_token: beginning, eos_token: end, sep_token: end },
  };
  writeFileSync(join(baseFolder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(baseFolder, "tokenizer_config.json"), JSON.stringify(tokenizerConfig));
  return config.vocab_size;
}

/** Rows of 6 to 12 words that differ from one another; the multipliers only scatter them over the vocabulary. */
function sentences(vocabularySize: number): string[] {
  return Array.from({ length: exampleCount }, (_, row) => {
    const words = Array.from({ length: 6 + (row % 7) }, (_unused, position) => {
      const scattered = (row * 37 + position * 17 + row * position * 5) % (vocabularySize - firstWordId);
      return `w${String(firstWordId + scattered)}`;
    });
    return words.join(" ");
  });
}

/** What a task wants to know of a text, in the keys that its data has. */
function rowOf(task: Task, text: string, row: number): object {
  const words = text.split(" ");
  switch (task) {
    case "token-classification":
      return { tokens: words, tags: words.map((_, position) => (row + position) % 3) };
    case "multi-label-classification":
      return { text, labels: [row % 2 === 0, row % 3 === 0, true] };
    case "question-answering": {
      const [question = "", answer = ""] = words;
      return { question, context: text, answers: { text: [answer], answer_start: [text.indexOf(answer)] } };
    }
    default:
      return { text };
  }
}

/** Writes `data.tsv` (`sentence`, `label`) for classification, else `data.jsonl` with one row a line. @returns its path */
export function writeTrainingData(folder: string, task: Task, vocabularySize: number): string {
  const texts = sentences(vocabularySize);
  if (task === "classification") {
    const path = join(folder, "data.tsv");
    const lines = texts.map((text, row) => `${text}\t${String(row % 3)}`);
    writeFileSync(path, `${["sentence\tlabel", ...lines].join("\n")}\n`);
    return path;
  }
  const path = join(folder, "data.jsonl");
  writeFileSync(path, texts.map((text, row) => `${JSON.stringify(rowOf(task, text, row))}\n`).join(""));
  return path;
}
