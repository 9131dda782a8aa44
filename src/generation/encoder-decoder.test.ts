/** @file Generation of an encoder-decoder, which reads once, against whole forward passes that read anew each time. */
import path from "node:path";
import { writeFileSync } from "node:fs";
import { expect, it, onTestFinished, vi } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createAdapter, withValues } from "../adapters/adapter.ts";
import type { Adapter } from "../adapters/adapter.ts";
import { openBase } from "../base/base.ts";
import type { Base } from "../base/base.ts";
import { loraDefaults } from "../methods/lora.ts";
import { prefixTuningDefaults } from "../methods/prefix-tuning.ts";
import { promptTuningDefaults } from "../methods/prompt-tuning.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session } from "../runtime/session.ts";
import { feedsOf } from "../tasks/feeds.ts";
import { buildLogitsGraph } from "../tasks/graphs.ts";
import { frozenInput } from "../tasks/pass.ts";
import { TorchGenerator } from "../tensor/random.ts";
import { float32Tensor, int64Tensor } from "../tensor/tensor.ts";
import { beamSearch } from "./beam-search.ts";
import { createGenerator } from "./generate.ts";
import type { Generator } from "./generate.ts";
import { mostLikely } from "./sampling.ts";

const startTokenId = 3;
const configuration = {
  model_type: "t5",
  vocab_size: 61,
  d_model: 16,
  d_kv: 6,
  d_ff: 24,
  num_layers: 1,
  num_decoder_layers: 2,
  num_heads: 3,
  relative_attention_num_buckets: 6,
  relative_attention_max_distance: 5,
  initializer_factor: 2,
  tie_word_embeddings: false,
  decoder_start_token_id: startTokenId,
  pad_token_id: 0,
};
const sources = [
  [5, 17, 60, 3, 33, 41, 9],
  [12, 50],
  [33, 33, 34, 1],
];

async function openTiny(): Promise<Base> {
  const folder = temporaryFolder();
  vi.stubEnv("DELTAFIT_CACHE", path.join(folder, "cache"));
  const file = path.join(folder, "config.json");
  writeFileSync(file, JSON.stringify(configuration));
  return openBase({ path: file, name: "tiny", task: "seq2seq-lm", randomWeights: 4 });
}

function adaptersFor(base: Base): Adapter[] {
  const lora = { ...loraDefaults, rank: 2, targets: ["q", "v"] };
  const adapter = createAdapter({ base, type: "LORA", configuration: lora, seed: 1, name: "lora" });
  const values = new TorchGenerator(5).normal(adapter.layout.size, 0, 0.3);
  const prompt = { ...promptTuningDefaults, virtualTokens: 2 };
  const prefix = { ...prefixTuningDefaults, virtualTokens: 3 };
  return [
    withValues(adapter, values),
    createAdapter({ base, type: "PROMPT_TUNING", configuration: prompt, seed: 2, name: "prompt" }),
    createAdapter({ base, type: "PREFIX_TUNING", configuration: prefix, seed: 3, name: "prefix" }),
  ];
}

/** Logits after what was written so far, from a forward pass over all of it. */
async function wholePass(base: Base, adapters: readonly Adapter[]) {
  const graph = buildLogitsGraph({
    model: base.model,
    settings: base.settings,
    adapters: adapters.map(({ name, method }) => ({ name, method, trainable: false })),
    padding: false,
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const session: Session = await cpu.createSession(graph.graph, (name) => base.locate(name), { threads: 1 });
  onTestFinished(() => session.dispose());
  const values = Object.fromEntries(
    adapters.map(({ name, values: own }) => [frozenInput(name), float32Tensor([own.length], own)]),
  );
  return async (source: readonly number[], written: readonly number[]): Promise<Float32Array> => {
    // The last target is never read.
    const targets = int64Tensor([1, written.length + 1], [...written, -100]);
    const inputIds = int64Tensor([1, source.length], source);
    const attentionMask = int64Tensor(
      [1, source.length],
      source.map(() => 1),
    );
    const { tensors } = feedsOf(graph, base.model, { inputIds, attentionMask, targets });
    const logits = (await session.run({ ...tensors, ...values }))["logits"]!.data as Float32Array;
    return logits.subarray(-base.model.vocabularySize);
  };
}

async function generatorOf(base: Base, adapters: readonly Adapter[]): Promise<Generator> {
  const generator = await createGenerator(base, adapters, { session: { threads: 1 } });
  onTestFinished(() => generator.dispose());
  return generator;
}

it.each([false, true])("writes what whole forward passes would, with adapters: %s", async (isAdapted) => {
  const base = await openTiny();
  const adapters = isAdapted ? adaptersFor(base) : [];
  const generator = await generatorOf(base, adapters);
  const { tokens } = await generator.generate({ prompts: sources, maximumNewTokens: 9, stopTokens: [] });
  const logitsAfter = await wholePass(base, adapters);
  for (const [row, source] of sources.entries()) {
    const written: number[] = [];
    while (written.length < 9) written.push(mostLikely(await logitsAfter(source, written)));
    expect(tokens[row]).toEqual(written);
  }
  expect(new Set(tokens.flat()).size).toBeGreaterThan(4);
});

it("searches with beams that each keep what they wrote and what was read", async () => {
  const base = await openTiny();
  const adapters = adaptersFor(base);
  const generator = await generatorOf(base, adapters);
  const { tokens } = await generator.generate({
    prompts: sources,
    maximumNewTokens: 6,
    stopTokens: [7, 9],
    beams: 3,
    noRepeatNgram: 2,
  });
  const logitsAfter = await wholePass(base, adapters);
  for (const [row, source] of sources.entries()) {
    let written: (readonly number[])[] = [[]];
    const settings = { beams: 3, lengthPenalty: 1, limit: 6, stopTokens: new Set([7, 9]), noRepeatNgram: 2 };
    const { tokens: found } = await beamSearch(
      {
        advance(given) {
          written = written.map((ids, beam) => [...ids, ...given[beam]!]);
          return Promise.all(written.map((ids) => logitsAfter(source, ids.slice(1))));
        },
        selectRows(rows) {
          written = rows.map((beam) => written[beam]!);
        },
      },
      [startTokenId],
      settings,
    );
    expect(tokens[row]).toEqual(found);
  }
});

it("penalises what it wrote, not what it read", async () => {
  const base = await openTiny();
  const generator = await generatorOf(base, []);
  const request = { prompts: sources, maximumNewTokens: 6, stopTokens: [] };
  const { tokens } = await generator.generate({ ...request, noRepeatNgram: 1 });
  for (const row of tokens) expect([startTokenId, ...row]).toEqual([...new Set([startTokenId, ...row])]);
  const drawn = (seed: number) => generator.generate({ ...request, temperature: 3, seed });
  expect((await drawn(1)).tokens).toEqual((await drawn(1)).tokens);
  expect((await drawn(1)).tokens).not.toEqual((await drawn(2)).tokens);
});

it("adapters that change what is in front of the rows have no weight", async () => {
  const base = await openTiny();
  const generator = await generatorOf(base, adaptersFor(base));
  expect(await rejectionOf(() => generator.switchAdapters([{ name: "prompt", weight: 0.5 }])))
    .toMatchInlineSnapshot(`
    {
      "code": "method-unsupported",
      "hint": "Leave the adapter out to switch it off.",
      "message": "Generation: the adapter "prompt" cannot have the weight 0.5: it puts tokens in front of every row.",
    }
  `);
  await generator.switchAdapters([{ name: "lora", weight: 0 }]);
  const request = { prompts: sources, maximumNewTokens: 5, stopTokens: [] };
  const plain = await generatorOf(base, []);
  expect((await generator.generate(request)).tokens).toEqual((await plain.generate(request)).tokens);
});
