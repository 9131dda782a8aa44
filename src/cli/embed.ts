/** @file `deltafit embed`: one vector for each text. */
import { parseRows } from "../data/formats.ts";
import { readRows } from "../data/read-rows.ts";
import { DeltafitError } from "../errors.ts";
import { readSentencePooling } from "../files/pooling.ts";
import { Embedder } from "../generation/embedder.ts";
import { chosenGroups } from "./adapter-choice.ts";
import { adapterWeightFlags, weightedAdapters } from "./adapter-weights.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { choice, optional, switched, text, texts, wholeNumber, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { openAdaptedModel, openTokenizer, warnOfOtherTokenizer } from "./model.ts";
import type { AdapterGroup } from "./model.ts";
import { sequenceLengthOf } from "./sequence-length.ts";
import { adapterFlags, memoryFlags, modelFlags, storageFlags, threadFlags } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Texts (one of them):";
const vectorGroup = "Vectors:";

const flags = {
  ...modelFlags,
  ...adapterFlags,
  ...adapterWeightFlags,
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
  ...memoryFlags,
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

/** A text and the adapters that act on it. */
interface GivenText {
  readonly text: string;
  readonly groups: readonly AdapterGroup[];
}

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  const startMs = performance.now();
  checkOneSource(values);
  const { base, groups, notes } = await openAdaptedModel({ ...values, pretraining: true }, terminal);
  const given = readTexts(values, groups);
  const tokenizer = openTokenizer(base);
  warnOfOtherTokenizer(tokenizer, notes, terminal);
  const own = values.pooling === undefined ? readSentencePooling(base.folder) : undefined;
  const pooling = values.pooling ?? own?.pooling ?? "mean";
  const normalise = values.normalise || (own?.normalise ?? false);
  terminal.note(`pooling: ${pooling}${normalise ? ", scaled to length 1" : ""}`);
  const session = values.threads === undefined ? undefined : { threads: values.threads };
  const embeddings: (readonly number[])[] = [];
  for (const { chosen, indices } of byChoice(given)) {
    const adapters = weightedAdapters(chosen, base);
    const embedder = await Embedder.create({ base, adapters, pooling, normalise, session });
    try {
      const sequenceLength = sequenceLengthOf(values.sequenceLength, base, tokenizer, adapters);
      const own = indices.map((index) => given[index]?.text ?? "");
      const { batchSize } = values;
      const vectors = await embedder.embedTexts(own, tokenizer, { batchSize, sequenceLength });
      for (const [row, index] of indices.entries()) embeddings[index] = [...(vectors[row] ?? [])];
    } finally {
      await embedder.dispose();
    }
  }
  const seconds = (performance.now() - startMs) / 1000;
  const dimensions = base.model.hiddenSize;
  return {
    json: { embeddings, dimensions, examples: given.length, pooling, normalise, seconds },
    text: embeddings.map((vector) => JSON.stringify(vector)).join("\n"),
  };
}

/** Texts with the same adapters go together: a pass then computes no adapter that none of its rows has. */
function byChoice(
  given: readonly GivenText[],
): Iterable<{ readonly chosen: readonly AdapterGroup[]; readonly indices: number[] }> {
  const choices = new Map<string, { readonly chosen: readonly AdapterGroup[]; readonly indices: number[] }>();
  for (const [index, { groups }] of given.entries()) {
    const key = JSON.stringify(groups.map(({ name }) => name));
    const choice = choices.get(key) ?? { chosen: groups, indices: [] };
    choice.indices.push(index);
    choices.set(key, choice);
  }
  return choices.values();
}

function checkOneSource({ text: given, data }: Values): void {
  if ((given === undefined) !== (data === undefined)) return;
  throw new DeltafitError(
    "usage-invalid",
    "Expected one of --text and --data.",
    'For example: deltafit embed --text "a quiet river"',
  );
}

function readTexts({ text: given, data }: Values, groups: readonly AdapterGroup[]): readonly GivenText[] {
  if (data === undefined) return (given ?? []).map((own) => ({ text: own, groups }));
  const { records } = parseRows(readRows(data), "masked-lm");
  return records.flatMap((record) =>
    record.kind === "text" ? [{ text: record.text, groups: chosenGroups(record.row, groups) }] : [],
  );
}
