/**
 * @file Command: writes the corpus as train.jsonl and valid.jsonl, `{"text": ...}` a line.
 *
 *   npx tsx scripts/base-model/make-corpus.ts --out DIR --documents 60000 --seed 1
 */
import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { generateDocuments } from "./corpus.ts";

/** Held-out documents come from seeds this far away, so that no choice of --seed reaches them by accident. */
const VALID_SEED_OFFSET = 1_000_003;
const VALID_SHARE = 0.02;

interface Written {
  readonly documents: number;
  readonly duplicates: number;
  readonly characters: number;
}

/** Writes `count` documents that are not in `seen`, and adds them to it. */
async function writeDocuments(
  path: string,
  seed: number,
  count: number,
  seen: Set<string>,
): Promise<Written> {
  const stream = createWriteStream(path);
  let documents = 0;
  let duplicates = 0;
  let characters = 0;
  // Twice as many as needed is far more than the duplicates ever take away.
  for (const text of generateDocuments(seed, count * 2)) {
    if (documents === count) {
      break;
    }
    if (seen.has(text)) {
      duplicates++;
      continue;
    }
    seen.add(text);
    documents++;
    characters += text.length;
    if (!stream.write(`${JSON.stringify({ text })}\n`)) {
      await once(stream, "drain");
    }
  }
  stream.end();
  await once(stream, "finish");
  return { documents, duplicates, characters };
}

const { values } = parseArgs({
  options: {
    out: { type: "string" },
    documents: { type: "string", default: "60000" },
    seed: { type: "string", default: "1" },
  },
});
const documentCount = Number(values.documents);
const seed = Number(values.seed);
if (
  values.out === undefined ||
  !Number.isSafeInteger(documentCount) ||
  documentCount < 1 ||
  !Number.isSafeInteger(seed)
) {
  process.stderr.write("Usage: make-corpus.ts --out DIR [--documents COUNT] [--seed INTEGER]\n");
  process.exitCode = 2;
} else {
  await mkdir(values.out, { recursive: true });
  const seen = new Set<string>();
  const train = await writeDocuments(join(values.out, "train.jsonl"), seed, documentCount, seen);
  const validCount = Math.max(1, Math.round(documentCount * VALID_SHARE));
  const valid = await writeDocuments(
    join(values.out, "valid.jsonl"),
    seed + VALID_SEED_OFFSET,
    validCount,
    seen,
  );
  process.stdout.write(`${JSON.stringify({ train, valid })}\n`);
}
