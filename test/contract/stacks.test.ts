/** @file Several methods trained together on one base, tiny and random: what a stack of adapters promises. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { createAdapterStack } from "../../src/adapters/create-stack.ts";
import type { StackedMethod } from "../../src/adapters/create-stack.ts";
import { withMergedWeights } from "../../src/adapters/merged-base.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { loadAdapters, readStack, saveAdapterStack } from "../../src/adapters/stack.ts";
import type { Base } from "../../src/base/base.ts";
import type { Dataset } from "../../src/data/examples.ts";
import { fineTune } from "../../src/fine-tuning/fine-tune.ts";
import type { FineTuneOptions } from "../../src/fine-tuning/fine-tune.ts";
import { bottleneckDefaults } from "../../src/methods/bottleneck.ts";
import { ia3Defaults } from "../../src/methods/ia3.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { prefixTuningDefaults } from "../../src/methods/prefix-tuning.ts";
import { promptTuningDefaults } from "../../src/methods/prompt-tuning.ts";
import { constantFeeds } from "../../src/methods/constants.ts";
import type { Task } from "../../src/models/forward.ts";
import { cpu } from "../../src/runtime/cpu.ts";
import { feedsOf } from "../../src/tasks/feeds.ts";
import { buildLogitsGraph } from "../../src/tasks/graphs.ts";
import { frozenInput } from "../../src/tasks/pass.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { float32Tensor, int64Tensor } from "../../src/tensor/tensor.ts";
import { failureOf, rejectionOf } from "../support/failure.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { scratchFolder, tinyBase } from "../support/tiny-base.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
let classifier: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  const open = (task: Task) =>
    tinyBase(scratch.path, { configuration: { initializer_range: 0.4 }, task, labelCount: 3 });
  base = await open("causal-lm");
  classifier = await open("classification");
});
afterAll(() => scratch.dispose());

const targets = ["q_proj", "v_proj"];
const loraMethod: StackedMethod = {
  name: "lora",
  type: "LORA",
  configuration: { ...loraDefaults, rank: 2, alpha: 4, targets, dropout: 0.1 },
};
const ia3Method: StackedMethod = {
  name: "ia3",
  type: "IA3",
  configuration: { ...ia3Defaults, targets: ["v_proj"] },
};
const prefixMethod: StackedMethod = {
  name: "prefix-tuning",
  type: "PREFIX_TUNING",
  configuration: { ...prefixTuningDefaults, virtualTokens: 2, projection: true },
};
const promptMethod: StackedMethod = {
  name: "prompt-tuning",
  type: "PROMPT_TUNING",
  configuration: { ...promptTuningDefaults, virtualTokens: 2 },
};
const bottleneckMethod: StackedMethod = {
  name: "bottleneck",
  type: "BOTTLENECK",
  configuration: bottleneckDefaults.seq_bn,
};
const tokensMethod: StackedMethod = {
  name: "trainable-tokens",
  type: "TRAINABLE_TOKENS",
  configuration: { tokens: [3, 5] },
};

const stacks: readonly (readonly StackedMethod[])[] = [
  [loraMethod, prefixMethod],
  [loraMethod, bottleneckMethod],
  [loraMethod, ia3Method],
  [promptMethod, prefixMethod, tokensMethod, loraMethod],
];
const named = stacks.map((methods) => [methods.map(({ name }) => name).join("+"), methods] as const);

function moved(adapters: readonly Adapter[]): Adapter[] {
  return adapters.map((adapter, index) => {
    const noise = new TorchGenerator(index).normal(adapter.values.length, 0, 0.2);
    return withValues<MethodType>(
      adapter,
      adapter.values.map((value, at) => value + noise[at]!),
    );
  });
}

const ids = [3, 5, 7, 2, 11, 4, 5, 3, 9, 6];

async function logitsOf(of: Base, adapters: readonly Adapter[]): Promise<Float32Array> {
  const graph = buildLogitsGraph({
    model: of.model,
    settings: of.settings,
    adapters: adapters.map(({ name, method }) => ({ name, method, trainable: false })),
    padding: false,
    attentionBlocks: 1,
    lossChunks: 1,
  });
  const feeds = adapters.map(({ name, method, values }) => ({
    [frozenInput(name)]: float32Tensor([values.length], values),
    ...constantFeeds(name, method),
  }));
  const batch = {
    inputIds: int64Tensor([2, 5], ids),
    attentionMask: int64Tensor(
      [2, 5],
      ids.map(() => 1),
    ),
  };
  const session = await cpu.createSession(graph.graph, (weight) => of.locate(weight), { threads: 1 });
  try {
    const { tensors } = feedsOf(graph, of.model, batch);
    return (await session.run({ ...tensors, ...(Object.assign({}, ...feeds) as typeof tensors) }))["logits"]!
      .data as Float32Array;
  } finally {
    await session.dispose();
  }
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, index) => Math.max(largest, Math.abs(value - b[index]!)), 0);
}

/** Eight rows of random tokens. */
function dataFor({ settings: { task } }: Base): Dataset {
  const examples = Array.from({ length: 8 }, (_, row) => {
    const inputIds = Array.from({ length: 5 }, (_unused, at) => (row * 5 + at * 3) % 12);
    return task === "classification" ? { inputIds, label: row % 3 } : { inputIds, labels: inputIds };
  });
  const report = { examples: 8, tokens: 40 } as Dataset["report"];
  return { examples, report, labels: undefined };
}

function runOf(of: Base, adapter: FineTuneOptions["adapter"], steps: number): FineTuneOptions {
  const plan = { steps, accumulate: 1, learningRate: 2e-2, schedule: "constant", warmup: 0 } as const;
  const tokenizer = { padTokenId: 0, eosTokenId: 0, maskTokenId: undefined, vocabularySize: 12 };
  return {
    base: of,
    adapter,
    tokenizer,
    data: dataFor(of),
    plan,
    batchSize: 4,
    sequenceLength: 5,
    seed: 1,
    session: { threads: 1 },
  };
}

describe.each(named)("%s", (_name, methods) => {
  const create = () => createAdapterStack({ base, methods, seed: 1 });

  test("trains all of its adapters together", async () => {
    const adapters = create();
    const {
      losses,
      adapters: trained,
      trainableParameters,
    } = await fineTune({ ...runOf(base, adapters, 12), batchSize: 8 });
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
    expect(trained.map(({ name }) => name)).toEqual(methods.map(({ name }) => name));
    expect(trainableParameters).toBe(adapters.reduce((sum, { layout }) => sum + layout.size, 0));
    for (const [index, adapter] of trained.entries())
      expect(adapter.values).not.toEqual(adapters[index]!.values);
  });

  test("comes back from its folder as it was, whole or one by one", async () => {
    const adapters = moved(create());
    const folder = path.join(temporaryFolder(), "stack");
    await saveAdapterStack(
      folder,
      adapters.map((adapter) => ({ adapter, frozen: false })),
      base,
    );
    const loaded = loadAdapters(folder, base);
    expect(loaded.map(({ name, methodType }) => [name, methodType])).toEqual(
      methods.map(({ name, type }) => [name, type]),
    );
    expect(largestDifference(await logitsOf(base, loaded), await logitsOf(base, adapters))).toBeLessThan(
      1e-5,
    );
    for (const [index, { name }] of methods.entries()) {
      const [alone] = loadAdapters(path.join(folder, name), base);
      expect(alone!.values).toEqual(loaded[index]!.values);
    }
  });

  test("an interrupted run goes on bit by bit", async () => {
    const folder = temporaryFolder();
    const [whole, parts] = [path.join(folder, "whole"), path.join(folder, "parts")];
    const expected = await fineTune({ ...runOf(base, create(), 6), out: whole });
    const stop = new AbortController();
    const onEvent: FineTuneOptions["onEvent"] = (event) => {
      if (event.type === "step-end" && event.step === 3) stop.abort();
    };
    const interrupted = runOf(base, create(), 6);
    await rejectionOf(() => fineTune({ ...interrupted, out: parts, onEvent, signal: stop.signal }));
    const found = await fineTune({ ...interrupted, out: parts, resume: true });
    expect(found.losses).toEqual(expected.losses);
    for (const { name } of methods)
      expect(fs.readFileSync(path.join(parts, name, "adapter_model.safetensors"))).toEqual(
        fs.readFileSync(path.join(whole, name, "adapter_model.safetensors")),
      );
    expect(readStack(path.join(parts, "checkpoints", "last"))!.map(({ name }) => name)).toEqual(
      methods.map(({ name }) => name),
    );
  });
});

test("a stack merges in its order", async () => {
  const adapters = moved(createAdapterStack({ base, methods: [loraMethod, ia3Method], seed: 1 }));
  const adapted = await logitsOf(base, adapters);
  expect(
    largestDifference(await logitsOf(await withMergedWeights(base, adapters), []), adapted),
  ).toBeLessThan(1e-4);
  // (W + BA) l is not W l + BA.
  expect(largestDifference(await logitsOf(base, adapters.toReversed()), adapted)).toBeGreaterThan(1e-3);
});

test("a new adapter learns on a frozen one, which stays as it is and is written with it", async () => {
  const [first] = moved(createAdapterStack({ base, methods: [{ ...loraMethod, name: "first" }], seed: 1 }));
  const frozen = [first!];
  const [second] = createAdapterStack({ base, methods: [loraMethod], seed: 2, frozen });
  expect(
    largestDifference(await logitsOf(base, [first!, second!]), await logitsOf(base, frozen)),
  ).toBeLessThan(1e-5);
  const out = path.join(temporaryFolder(), "out");
  const run = { ...runOf(base, second!, 12), batchSize: 8, frozen, out };
  const { losses, adapters, trainableParameters } = await fineTune(run);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(trainableParameters).toBe(second!.layout.size);
  expect(readStack(out)!.map(({ name, frozen: stays }) => [name, stays])).toEqual([
    ["first", true],
    ["lora", false],
  ]);
  const loaded = loadAdapters(out, base);
  expect(loaded.map(({ values }) => values)).toEqual([first!.values, adapters[0]!.values]);
  const other = [
    withValues<MethodType>(
      first!,
      first!.values.map((value) => value / 2),
    ),
  ];
  const failure = await rejectionOf(() => fineTune({ ...run, frozen: other, resume: true }), out);
  expect(failure.message).toContain("frozen was");
});

test("a classifier's head belongs to one adapter of the stack, and to one folder", async () => {
  const methods = [{ ...loraMethod, name: "below" }, ia3Method];
  const adapters = createAdapterStack({ base: classifier, methods, seed: 1 });
  const heads = (of: readonly Adapter[]) =>
    of.map(({ layout }) => layout.entries.filter(({ key }) => key.startsWith("score.")).length);
  expect(heads(adapters)).toEqual([0, 1]);
  const out = path.join(temporaryFolder(), "out");
  const { adapters: trained } = await fineTune({ ...runOf(classifier, adapters, 4), out });
  const loaded = loadAdapters(out, classifier);
  expect(heads(loaded)).toEqual([0, 1]);
  expect(await logitsOf(classifier, loaded)).toEqual(await logitsOf(classifier, trained));
  const taskTypes = ["below", "ia3"].map((name) => {
    const text = fs.readFileSync(path.join(out, name, "adapter_config.json"), "utf8");
    return (JSON.parse(text) as { task_type: unknown }).task_type;
  });
  expect(taskTypes).toEqual([null, "SEQ_CLS"]);

  // What is trained on top goes on with the head as the frozen adapters left it.
  const [next] = createAdapterStack({ base: classifier, methods: [loraMethod], seed: 5, frozen: trained });
  expect(
    largestDifference(await logitsOf(classifier, [...trained, next!]), await logitsOf(classifier, trained)),
  ).toBe(0);
});

test("refuses what cannot be one stack", async () => {
  const lora = (name: string) => createAdapterStack({ base, methods: [{ ...loraMethod, name }], seed: 1 });
  const full = createAdapterStack({
    base,
    methods: [{ name: "full", type: "FULL", configuration: {} }],
    seed: 1,
  });
  const failure = (adapters: readonly Adapter[]) => rejectionOf(() => fineTune(runOf(base, adapters, 1)));
  expect([
    await failure([]),
    await failure([...lora("a"), ...lora("a")]),
    await failure([...lora("a"), ...lora("../b")]),
    await failure([...lora("a"), ...lora("checkpoints")]),
    await failure([...lora("a"), ...full]),
  ]).toMatchInlineSnapshot(`
    [
      {
        "code": "usage-invalid",
        "hint": undefined,
        "message": "Training: there is no adapter to train; expected at least one.",
      },
      {
        "code": "usage-invalid",
        "hint": "Give each adapter a name of its own.",
        "message": "A stack of adapters: two adapters are called "a".",
      },
      {
        "code": "usage-invalid",
        "hint": "Give the adapter another name.",
        "message": "A stack of adapters: "../b" cannot name an adapter and its folder; expected letters, digits, ".", "-" and "_", and not "checkpoints".",
      },
      {
        "code": "usage-invalid",
        "hint": "Give the adapter another name.",
        "message": "A stack of adapters: "checkpoints" cannot name an adapter and its folder; expected letters, digits, ".", "-" and "_", and not "checkpoints".",
      },
      {
        "code": "usage-invalid",
        "hint": "Train it alone.",
        "message": "Training: the method FULL has no adapter that could act with others.",
      },
    ]
  `);
});

test("an index that leads out of its folder is refused", () => {
  const folder = temporaryFolder();
  const write = (index: unknown) =>
    fs.writeFileSync(path.join(folder, "adapter_stack.json"), JSON.stringify(index));
  const failure = (name: string) => {
    write({ format: 1, adapters: [{ folder: name, frozen: false }] });
    return failureOf(() => readStack(folder), folder);
  };
  fs.mkdirSync(path.join(folder, "elsewhere"));
  fs.symlinkSync(path.join(folder, "elsewhere"), path.join(folder, "linked"));
  expect([failure("../other"), failure("/elsewhere"), failure("linked"), failure("missing")])
    .toMatchInlineSnapshot(`
      [
        {
          "code": "usage-invalid",
          "hint": "Give the adapter another name.",
          "message": ""FOLDER/adapter_stack.json": "../other" cannot name an adapter and its folder; expected letters, digits, ".", "-" and "_", and not "checkpoints".",
        },
        {
          "code": "usage-invalid",
          "hint": "Give the adapter another name.",
          "message": ""FOLDER/adapter_stack.json": "/elsewhere" cannot name an adapter and its folder; expected letters, digits, ".", "-" and "_", and not "checkpoints".",
        },
        {
          "code": "file-refused",
          "hint": "Put the adapter itself into the folder.",
          "message": ""FOLDER/adapter_stack.json" names the folder "linked", which is a link to "FOLDER/elsewhere".",
        },
        {
          "code": "file-missing",
          "hint": "Check the path.",
          "message": ""FOLDER/missing" does not exist.",
        },
      ]
    `);
  write({ format: 2, adapters: [] });
  expect(failureOf(() => readStack(folder), folder)).toMatchInlineSnapshot(`
    {
      "code": "config-invalid",
      "hint": undefined,
      "message": ""FOLDER/adapter_stack.json" is not valid:
    - format: expected 1, found 2
    - adapters: expected a number of entries of at least 1, found a list of 0",
    }
  `);
});
