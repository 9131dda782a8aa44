/**
 * @file `deltafit bench latency`: what an adapter costs when a model answers, as Table 1 of the LoRA paper shows it:
 * the base, merged and unmerged, and bottleneck adapters beside them.
 */
import { createAdapter } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { withMergedWeights } from "../adapters/merged-base.ts";
import { defaultTargets } from "../adapters/method-table.ts";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { measureLatency } from "../evaluation/latency.ts";
import type { Latency, LatencyVariant } from "../evaluation/latency.ts";
import { bottleneckDefaults } from "../methods/bottleneck.ts";
import { loraDefaults } from "../methods/lora.ts";
import { defineCommand } from "./command.ts";
import type { CommandResult } from "./command.ts";
import { optional, wholeNumber, wholeNumbers, withDefault } from "./flags.ts";
import type { FlagTable, FlagValues } from "./flags.ts";
import { median } from "./median.ts";
import { findModel, openAdaptedModel, openModel } from "./model.ts";
import { randomTokens } from "./random-tokens.ts";
import { adapterFlags, modelFlags, randomWeightsFlags, threadFlags } from "./shared-flags.ts";
import type { Terminal } from "./terminal.ts";

const group = "Measurement:";

const flags = {
  ...modelFlags,
  ...randomWeightsFlags,
  ...adapterFlags,
  batchSize: optional(wholeNumbers, group, "rows of a batch, each measured by itself", "1,16"),
  sequenceLength: withDefault(wholeNumber(2), group, 128, "tokens of a row"),
  repeat: withDefault(wholeNumber(1), group, 10, "rounds that are measured, after one that is not"),
  seed: withDefault(wholeNumber(0), group, 0, "of tokens and new adapters"),
  ...threadFlags,
} satisfies FlagTable;

type Values = FlagValues<typeof flags>;

export const benchLatency = defineCommand({
  name: "bench latency",
  summary: "what an adapter costs in use: merged, unmerged, bottleneck",
  example: "deltafit bench latency --model bench/shapes/gpt2.json --random-weights 0",
  flags,
  run,
});

async function run(values: Values, terminal: Terminal): Promise<CommandResult> {
  const { sequenceLength, repeat, seed, threads } = values;
  const { base, adapters } = await openBaseWithAdapters(values, terminal);
  if (sequenceLength + 1 > base.model.maximumPositions)
    throw new DeltafitError(
      "usage-invalid",
      `--sequence-length: expected less than ${base.model.maximumPositions}, the positions of the model, found ${sequenceLength}.`,
    );
  const variants = await variantsOf(base, adapters, seed, terminal);
  const batches = [];
  for (const batchSize of values.batchSize ?? [1, 16]) {
    if (batchSize < 1)
      throw new DeltafitError("usage-invalid", `--batch-size: expected at least 1, found ${batchSize}.`);
    const measured = await measureLatency(variants, {
      batchSize,
      sequenceLength,
      rounds: repeat,
      tokens: (count) => randomTokens(count, base.model.vocabularySize, seed),
      ...(threads === undefined ? {} : { session: { threads } }),
    });
    batches.push({ batchSize, variants: summariesOf(measured) });
  }
  return {
    json: { sequenceLength, repeat, batches },
    text: batches.map((batch) => tableOf(batch, sequenceLength, repeat)).join("\n\n"),
  };
}

async function openBaseWithAdapters(
  { model, randomWeights, adapter, seed }: Values,
  terminal: Terminal,
): Promise<{ readonly base: Base; readonly adapters: readonly Adapter[] }> {
  if (adapter !== undefined) return openAdaptedModel({ model, adapter }, terminal);
  const base = await openModel(await findModel(model, terminal, randomWeights), "causal-lm");
  const configuration = {
    ...loraDefaults,
    rank: 8,
    alpha: 16,
    targets: defaultTargets("LORA", base.model.modelType),
  };
  terminal.note("no --adapter: a new LoRA of rank 8 stands in for one");
  return { base, adapters: [createAdapter({ base, type: "LORA", configuration, seed })] };
}

async function variantsOf(
  base: Base,
  adapters: readonly Adapter[],
  seed: number,
  terminal: Terminal,
): Promise<LatencyVariant[]> {
  const unmergeable = adapters.find(({ method }) => "impossible" in method.merge);
  if (unmergeable) terminal.note(`${unmergeable.methodType} cannot be merged: it is measured unmerged alone`);
  const bottleneck = createAdapter({
    base,
    type: "BOTTLENECK",
    configuration: bottleneckDefaults.double_seq_bn,
    seed,
    name: "bottleneck",
  });
  return [
    { name: "base", base, adapters: [] },
    ...(unmergeable ? [] : [{ name: "merged", base: await withMergedWeights(base, adapters), adapters: [] }]),
    { name: "unmerged", base, adapters },
    { name: "bottleneck", base, adapters: [bottleneck] },
  ];
}

interface Summary {
  readonly name: string;
  /** Medians; the ratios are medians of each round's ratio to the base. */
  readonly forwardMilliseconds: number;
  readonly forwardRatio: number;
  /** Null for models that do not go on token by token. */
  readonly tokenMilliseconds: number | null;
  readonly tokenRatio: number | null;
}

function summariesOf(measured: readonly Latency[]): Summary[] {
  const [base] = measured;
  return measured.map(({ name, forward, token }) => {
    const isStepwise = token.length > 0;
    return {
      name,
      forwardMilliseconds: median(forward),
      forwardRatio: median(forward.map((value, round) => value / (base?.forward[round] ?? NaN))),
      tokenMilliseconds: isStepwise ? median(token) : null,
      tokenRatio: isStepwise
        ? median(token.map((value, round) => value / (base?.token[round] ?? NaN)))
        : null,
    };
  });
}

function tableOf(
  { batchSize, variants }: { readonly batchSize: number; readonly variants: readonly Summary[] },
  sequenceLength: number,
  repeat: number,
): string {
  const column = (value: number | null, digits: number) =>
    (value === null ? "-" : value.toFixed(digits)).padStart(11);
  return [
    `batch ${batchSize}, ${sequenceLength} tokens a row (medians of ${repeat} rounds)`,
    `${"".padEnd(11)}${["forward ms", "to base", "token ms", "to base"].map((title) => title.padStart(11)).join("")}`,
    ...variants.map(
      ({ name, forwardMilliseconds, forwardRatio, tokenMilliseconds, tokenRatio }) =>
        `${name.padEnd(11)}${column(forwardMilliseconds, 1)}${column(forwardRatio, 3)}${column(tokenMilliseconds, 2)}${column(tokenRatio, 3)}`,
    ),
  ].join("\n");
}
