/** @file Whole generation runs of tiny random models: the cache against none, batches, adapters, ends, errors. */
import { describe, expect, it, onTestFinished } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { randomLora, tinyBase, tinyConfigurations } from "../../test/support/tiny-models.ts";
import { createAdapter } from "../adapters/adapter.ts";
import type { Base } from "../base/base.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { graphOf } from "../graph/graph.ts";
import { createForwardContext, inputNames } from "../methods/forward-pass.ts";
import { prefixTuningDefaults } from "../methods/prefix-tuning.ts";
import { promptTuningDefaults } from "../methods/prompt-tuning.ts";
import { headOutput } from "../methods/survey.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session } from "../runtime/session.ts";
import { int64Tensor } from "../tensor/tensor.ts";
import { createGenerator } from "./generate.ts";
import type { GenerationAdapter, Generator, GeneratorOptions } from "./generate.ts";
import { mostLikely } from "./sampling.ts";
import { SessionCache } from "./session-cache.ts";

const prompts = [
  [5, 17, 60, 3, 88, 41, 9],
  [12, 80],
  [33, 33, 34, 1, 0],
];

async function generatorOf(
  base: Base,
  adapters: readonly GenerationAdapter[] = [],
  options: GeneratorOptions = {},
): Promise<Generator> {
  const generator = await createGenerator(base, adapters, { session: { threads: 1 }, ...options });
  onTestFinished(() => generator.dispose());
  return generator;
}

/** Greedy ids by running the whole row anew for each token, with the plain attention and no cache. */
async function withoutCache(
  base: Base,
  adapters: readonly GenerationAdapter[],
  prompt: readonly number[],
  count: number,
): Promise<number[]> {
  const builder = new GraphBuilder();
  const active = adapters.map(({ name, method, layout, values }) => {
    const valueOf = (key: string) => {
      const { offset, size, shape } = layout.entries.find((entry) => entry.key === key)!;
      return builder.constant("float32", shape, [...values.subarray(offset, offset + size)]);
    };
    return { name, method, parameter: valueOf };
  });
  const context = createForwardContext({
    builder,
    adapters: active,
    training: false,
    padding: false,
    attentionBlocks: 1,
  });
  const logits = headOutput(base.model, base.settings, context, base.model.encode(context));
  const session: Session = await cpu.createSession(
    graphOf([{ name: "logits", value: logits }]),
    (name) => base.locate(name),
    { threads: 1 },
  );
  const ids = [...prompt];
  for (let step = 0; step < count; step++) {
    const places = ids.map((_, index) => index);
    const results = await session.run({
      [inputNames.inputIds]: int64Tensor([1, ids.length], ids),
      [inputNames.positionIds]: int64Tensor([1, ids.length], places),
    });
    const all = results["logits"]!.data as Float32Array;
    ids.push(mostLikely(all.subarray(-base.model.vocabularySize)));
  }
  await session.dispose();
  return ids.slice(prompt.length);
}

describe.each(Object.entries(tinyConfigurations))("%s", (_name, configuration) => {
  it("reads virtual tokens and prefixes once, in front of every row", async () => {
    const base = await tinyBase(configuration);
    const adapters = [
      createAdapter({
        base,
        type: "PREFIX_TUNING",
        configuration: { ...prefixTuningDefaults, virtualTokens: 2 },
        seed: 1,
        name: "prefix",
      }),
      createAdapter({
        base,
        type: "PROMPT_TUNING",
        configuration: { ...promptTuningDefaults, virtualTokens: 3 },
        seed: 2,
        name: "prompt",
      }),
    ];
    const generator = await generatorOf(base, adapters);
    const expected = [];
    for (const prompt of prompts) expected.push(await withoutCache(base, adapters, prompt, 6));
    const { tokens } = await generator.generate({ prompts, maximumNewTokens: 6, stopTokens: [] });
    expect(tokens).toEqual(expected);
    const refused = await rejectionOf(() => generator.switchAdapters([{ name: "prompt", weight: 0.5 }]));
    expect(refused).toEqual({
      code: "method-unsupported",
      message:
        'Generation: the adapter "prompt" cannot have the weight 0.5: it puts tokens in front of every row.',
      hint: "Leave the adapter out to switch it off.",
    });
  });

  it("says the same with the cache as without, for prompts of different lengths", async () => {
    const base = await tinyBase(configuration);
    const adapter = randomLora(base, "a", 3);
    const generator = await generatorOf(base, [adapter]);
    for (const adapters of [[adapter], []]) {
      await generator.switchAdapters(adapters.map(({ name }) => name));
      const { tokens, finishReasons } = await generator.generate({
        prompts,
        maximumNewTokens: 12,
        stopTokens: [],
      });
      for (const [row, prompt] of prompts.entries())
        expect(tokens[row]).toEqual(await withoutCache(base, adapters, prompt, 12));
      expect(new Set(tokens.flat()).size).toBeGreaterThan(6);
      expect(finishReasons).toEqual(["length", "length", "length"]);
    }
  });

  it("treats the rows of a batch as if each were alone", async () => {
    const generator = await generatorOf(await tinyBase(configuration));
    const request = { maximumNewTokens: 10, stopTokens: [], repetitionPenalty: 1.3, noRepeatNgram: 2 };
    const together = await generator.generate({ ...request, prompts });
    for (const [row, prompt] of prompts.entries())
      expect((await generator.generate({ ...request, prompts: [prompt] })).tokens[0]).toEqual(
        together.tokens[row],
      );
  });
});

describe("long rows", () => {
  it("reads a prompt in pieces and lets the cache grow without changing the result", async () => {
    const base = await tinyBase(tinyConfigurations.llama);
    const generator = await generatorOf(base);
    const long = Array.from({ length: 530 }, (_, index) => (index * 37 + (index >> 3)) % 97);
    const { tokens } = await generator.generate({
      prompts: [long, [4, 8]],
      maximumNewTokens: 70,
      stopTokens: [],
    });
    // The model has 600 positions; the last new token needs none.
    expect(tokens.map((row) => row.length)).toEqual([70, 70]);
    expect(tokens[0]!.slice(0, 3)).toEqual(await withoutCache(base, [], long, 3));
    expect(tokens[0]!.at(-1)).toBe(
      (await withoutCache(base, [], [...long, ...tokens[0]!.slice(0, -1)], 1))[0],
    );
    expect(tokens[1]!.at(-1)).toBe((await withoutCache(base, [], [4, 8, ...tokens[1]!.slice(0, -1)], 1))[0]);
  });

  it("ends a row at the last position of the model", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.gpt2));
    const { tokens, finishReasons } = await generator.generate({
      prompts: [Array.from({ length: 38 }, () => 7), [7]],
      maximumNewTokens: 5,
      stopTokens: [],
    });
    expect(tokens.map((row) => row.length)).toEqual([3, 5]);
    expect(finishReasons).toEqual(["length", "length"]);
  });
});

describe("ends", () => {
  it("ends each row at its own stop token and leaves the others as they were", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.llama));
    const free = await generator.generate({ prompts, maximumNewTokens: 12, stopTokens: [] });
    const stop = free.tokens[1]![4]!;
    const expected = free.tokens.map((row) =>
      row.includes(stop) ? row.slice(0, row.indexOf(stop) + 1) : row,
    );
    const { tokens, finishReasons } = await generator.generate({
      prompts,
      maximumNewTokens: 12,
      stopTokens: [stop],
    });
    expect(tokens).toEqual(expected);
    expect(finishReasons).toEqual(free.tokens.map((row) => (row.includes(stop) ? "stop-token" : "length")));
  });

  it("takes the stop tokens of config.json unless the request has its own", async () => {
    const plain = await generatorOf(await tinyBase(tinyConfigurations.llama));
    const free = await plain.generate({ prompts: [[12, 80]], maximumNewTokens: 6, stopTokens: [] });
    const stop = free.tokens[0]![3]!;
    const generator = await generatorOf(
      await tinyBase({ ...tinyConfigurations.llama, eos_token_id: [stop, 96] }),
    );
    expect(generator.stopTokens).toEqual([stop, 96]);
    const { tokens, finishReasons } = await generator.generate({ prompts: [[12, 80]], maximumNewTokens: 6 });
    expect(tokens[0]).toEqual(free.tokens[0]!.slice(0, free.tokens[0]!.indexOf(stop) + 1));
    expect(finishReasons).toEqual(["stop-token"]);
  });

  it("ends a row where the caller says so, and tells every token in order", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.llama));
    const told: [number, number][] = [];
    const { tokens, finishReasons } = await generator.generate({
      prompts,
      maximumNewTokens: 4,
      stopTokens: [],
      onToken: (row, id) => told.push([row, id]),
      stopWhen: (row) => row === 1,
    });
    expect(tokens.map((row) => row.length)).toEqual([4, 1, 4]);
    expect(finishReasons).toEqual(["length", "stop-condition", "length"]);
    expect(told.map(([row]) => row)).toEqual([0, 1, 2, 0, 2, 0, 2, 0, 2]);
    for (const row of [0, 1, 2])
      expect(told.filter(([index]) => index === row).map(([, id]) => id)).toEqual(tokens[row]);
  });

  it("stops working when the reader of a stream leaves", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.llama));
    const { tokens } = await generator.generate({ prompts: [[5]], maximumNewTokens: 3, stopTokens: [] });
    const read: number[] = [];
    for await (const { id } of generator.stream({ prompts: [[5]], maximumNewTokens: 500, stopTokens: [] })) {
      read.push(id);
      if (read.length === 3) break;
    }
    expect(read).toEqual(tokens[0]);
  });
});

describe("sampling", () => {
  it("draws the same again from one seed and something else from another", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.llama));
    const draw = async (seed: number) =>
      (
        await generator.generate({
          prompts,
          maximumNewTokens: 10,
          temperature: 1.5,
          topK: 20,
          topP: 0.95,
          minP: 0.001,
          seed,
          stopTokens: [],
        })
      ).tokens;
    const first = await draw(1);
    expect(await draw(1)).toEqual(first);
    expect(await draw(2)).not.toEqual(first);
  });
});

describe("adapters", () => {
  it("switches adapters of equal configuration without a new session", async () => {
    const base = await tinyBase(tinyConfigurations.llama);
    const sessions = new SessionCache(cpu, { threads: 1 });
    onTestFinished(() => sessions.dispose());
    const [a, b, other] = [
      randomLora(base, "a", 3),
      randomLora(base, "b", 4),
      randomLora(base, "other", 3, { alpha: 1 }),
    ];
    const generator = await generatorOf(base, [a, b, other], { sessions, active: ["a"] });
    const say = async () =>
      (await generator.generate({ prompts, maximumNewTokens: 8, stopTokens: [] })).tokens;
    const withA = await say();
    await generator.switchAdapters(["b"]);
    const withB = await say();
    expect(sessions.size).toBe(1);
    expect(withB).not.toEqual(withA);
    await generator.switchAdapters(["other"]);
    expect(sessions.size).toBe(2);
    expect(await say()).not.toEqual(withA);
    await generator.switchAdapters(["a"]);
    expect(sessions.size).toBe(2);
    expect(await say()).toEqual(withA);
    // A second generator over the same base shares the session.
    const second = await generatorOf(base, [b], { sessions });
    expect((await second.generate({ prompts, maximumNewTokens: 8, stopTokens: [] })).tokens).toEqual(withB);
    expect(sessions.size).toBe(2);
  });

  it("weighs adapters that are loaded side by side", async () => {
    const base = await tinyBase(tinyConfigurations.gpt2);
    const [a, b] = [randomLora(base, "a", 3), randomLora(base, "b", 4)];
    const generator = await generatorOf(base, [a, b]);
    const say = async (active: Parameters<Generator["switchAdapters"]>[0]) => {
      await generator.switchAdapters(active);
      return (await generator.generate({ prompts, maximumNewTokens: 8, stopTokens: [] })).tokens;
    };
    const weighted = (left: number, right: number) =>
      say([
        { name: "a", weight: left },
        { name: "b", weight: right },
      ]);
    const [none, onlyA, onlyB, both] = [
      await say([]),
      await say(["a"]),
      await say(["b"]),
      await say(["a", "b"]),
    ];
    expect(await weighted(0, 0)).toEqual(none);
    expect(await weighted(1, 0)).toEqual(onlyA);
    expect(await weighted(0, 1)).toEqual(onlyB);
    expect(generator.activeAdapters).toEqual([
      { name: "a", weight: 0 },
      { name: "b", weight: 1 },
    ]);
    expect(await weighted(1, 1)).toEqual(both);
    expect(new Set([none, onlyA, onlyB, both].map((tokens) => tokens.join("/"))).size).toBe(4);
    expect(both[0]).toEqual(await withoutCache(base, [a, b], prompts[0]!, 8));
  });
});

describe("errors", () => {
  it("names what is wrong with a request", async () => {
    const generator = await generatorOf(await tinyBase(tinyConfigurations.gpt2));
    const messageOf = async (request: Partial<Parameters<Generator["generate"]>[0]>) =>
      (await rejectionOf(() => generator.generate({ prompts: [[1]], maximumNewTokens: 1, ...request })))
        .message;
    expect(await messageOf({ prompts: [[1], Array.from({ length: 41 }, () => 1)] })).toBe(
      "Generation: prompt 2 of 2 has 41 tokens; expected at most 40, the positions of the model.",
    );
    expect(await messageOf({ prompts: [[]] })).toBe(
      "Generation: the prompt has no token; expected at least one.",
    );
    expect(await messageOf({ prompts: [] })).toBe("Generation: there is no prompt; expected at least one.");
    expect(await messageOf({ prompts: [[97]] })).toBe(
      "Generation: the prompt contains the token id 97; expected whole numbers from 0 to 96.",
    );
    expect(await messageOf({ maximumNewTokens: 0 })).toBe(
      "Generation: maximumNewTokens is 0; expected a whole number above 0.",
    );
    expect(await messageOf({ minP: 2 })).toBe("Generation: minP is 2; expected a probability from 0 to 1.");
    expect(await messageOf({ beams: 2, temperature: 1 })).toBe(
      "Generation: beams is 2 and temperature 1; a beam search draws nothing.",
    );
  });

  it("names adapters that cannot be switched as asked", async () => {
    const base = await tinyBase(tinyConfigurations.llama);
    const generator = await generatorOf(base, [randomLora(base, "a", 3, { modulesToSave: ["lm_head"] })]);
    expect(await rejectionOf(() => generator.switchAdapters(["b"]))).toEqual({
      code: "usage-invalid",
      message: 'Generation: no adapter is called "b".',
      hint: 'Loaded are "a".',
    });
    expect(await rejectionOf(() => generator.switchAdapters([{ name: "a", weight: 0.5 }]))).toEqual({
      code: "method-unsupported",
      message:
        'Generation: the adapter "a" cannot have the weight 0.5: it replaces the base\'s "lm_head.weight".',
      hint: "Leave the adapter out to switch it off, or merge adapters.",
    });
    expect(
      (await rejectionOf(() => createGenerator(base, [randomLora(base, "a", 3), randomLora(base, "a", 4)])))
        .message,
    ).toBe('Generation: two adapters are called "a".');
  });
});
