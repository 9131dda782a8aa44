/**
 * @file Command: trains the bundled base's tokenizer on the corpus and writes it with the model's configuration.
 *
 *   npx tsx scripts/base-model/train-tokenizer.ts --out base --documents 30000 --seed 1
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { trainMerges } from "./byte-pair.ts";
import { specialTokens } from "./chat-template.ts";
import { generateDocuments } from "./corpus.ts";
import { generationConfigFile, modelConfigFile, parameterCount, vocabularySize } from "./model-files.ts";
import { specialTokensFile, tokenizerConfigFile, tokenizerFile } from "./tokenizer-files.ts";

const specialTokenPattern = new RegExp(
  specialTokens.map((token) => token.replaceAll("|", "\\|")).join("|"),
  "g",
);

/** The text between special tokens, which never take part in merges. */
function* plainTexts(documents: Iterable<string>): Iterable<string> {
  for (const document of documents) {
    yield* document.split(specialTokenPattern);
  }
}

const { values } = parseArgs({
  options: {
    out: { type: "string", default: "base" },
    documents: { type: "string", default: "30000" },
    seed: { type: "string", default: "1" },
  },
});
const texts = plainTexts(generateDocuments(Number(values.seed), Number(values.documents)));
const merges = trainMerges(texts, vocabularySize - 256 - specialTokens.length);
const files = {
  "tokenizer.json": tokenizerFile(merges),
  "tokenizer_config.json": tokenizerConfigFile(),
  "special_tokens_map.json": specialTokensFile(),
  "config.json": modelConfigFile(),
  "generation_config.json": generationConfigFile(),
};
await mkdir(values.out, { recursive: true });
for (const [name, content] of Object.entries(files)) {
  await writeFile(join(values.out, name), `${JSON.stringify(content, null, 1)}\n`);
}
const parameters = parameterCount(modelConfigFile());
process.stdout.write(`${JSON.stringify({ out: values.out, merges: merges.length, parameters })}\n`);
