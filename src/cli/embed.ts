/** @file `deltafit embed`: one vector for each text. */
import { parseRows } from "../data/formats.ts";
import { readRows } from "../data/read-rows.ts";
import { DeltafitError } from "../errors.ts";
import { readSentencePooling } from "../files/pooling.ts";
import { Embedder } from "../generation/embedder.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, optional, switched, text, texts, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { openAdaptedModel, openTokenizer, warnOfOtherTokenizer } from "./model.ts";
import { sequenceLengthOf } from "./sequence-length.ts";
import { adapterFlags, modelFlags, storageFlags, threadFlags } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Texts (one of them):";
const vectorGroup = "Vectors:";

const flags = {
  ...modelFlags,
  ...adapterFlags,
  text: optional(texts("TEXT"), group, "a text; may be repeated"),
  data: optional(text("PATH"), group, "file whose rows have a text or sentence"),
  pooling: optional(
    choice(["mean", "first", "last"]),
    vectorGroup,
    "mean of the tokens, or one of them",
    "as modules.json says, else mean",
  ),
  normalise: switched(vectorGroup, "scale vectors to length 1, also where modules.json does not say so"),
  batchSize: withDefault(wholeNumber(1), "Data:", 8, "rows of a batch"),
  sequenceLength: optional(wholeNumber(1), "Data:", "longest row in tokens", "512, or what the model can"),
  ...storageFlags,
  ...threadFlags,
} satisfies FlagTable;

export const embed = defineCommand({
  name: "embed",
  summary: "turn texts into vectors",
  example: `deltafit embed --model org/name --text "a quiet river" --text "a loud town" --json`,
  flags,
  run,
});

type Values = FlagValues<typeof flags>;

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  const startMs = performance.now();
  const given = readTexts(values);
  const { base, adapters, notes } = await openAdaptedModel({ ...values, pretraining: true }, terminal);
  const tokenizer = openTokenizer(base);
  warnOfOtherTokenizer(tokenizer, notes, terminal);
  const own = values.pooling === undefined ? readSentencePooling(base.folder) : undefined;
  const pooling = values.pooling ?? own?.pooling ?? "mean";
  const normalise = values.normalise || (own?.normalise ?? false);
  terminal.note(`pooling: ${pooling}${normalise ? ", scaled to length 1" : ""}`);
  const session = values.threads === undefined ? undefined : { threads: values.threads };
  const embedder = await Embedder.create({ base, adapters, pooling, normalise, session });
  try {
    const sequenceLength = sequenceLengthOf(values.sequenceLength, base, tokenizer, adapters);
    const { batchSize } = values;
    const vectors = await embedder.embedTexts(given, tokenizer, { batchSize, sequenceLength });
    const embeddings = vectors.map((vector) => [...vector]);
    const seconds = (performance.now() - startMs) / 1000;
    return {
      json: {
        embeddings,
        dimensions: base.model.hiddenSize,
        examples: given.length,
        pooling,
        normalise,
        seconds,
      },
      text: embeddings.map((vector) => JSON.stringify(vector)).join("\n"),
    };
  } finally {
    await embedder.dispose();
  }
}

function readTexts({ text: given, data }: Values): readonly string[] {
  if ((given === undefined) === (data === undefined))
    throw new DeltafitError(
      "usage-invalid",
      "Expected one of --text and --data.",
      'For example: deltafit embed --text "a quiet river"',
    );
  if (data === undefined) return given ?? [];
  const { records } = parseRows(readRows(data), "masked-lm");
  return records.flatMap((record) => (record.kind === "text" ? [record.text] : []));
}
