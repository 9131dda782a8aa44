/** @file Several adapters as processes: training a stack, training on a frozen adapter, and using what came of it. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { anyList, anyNumber, anyObject, promptWorkspace, writeLabelledData } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

const train = [
  "train",
  "--model",
  "model",
  "--data",
  "data.jsonl",
  "--batch-size",
  "4",
  "--learning-rate",
  "1e-2",
];
const stack = [...train, "--method", "lora+prefix-tuning", "--rank", "2", "--virtual-tokens", "3"];
const lossOf = async (workspace: Workspace, ...words: string[]) => {
  const evaluated = await workspace.json("evaluate", "--model", "model", "--data", "data.jsonl", ...words);
  return (evaluated["metrics"] as { loss: number }).loss;
};

test("several methods train together, and their folder is used like that of one", async () => {
  const workspace = await promptWorkspace();
  const trained = await workspace.json(...stack, "--steps", "8", "--out", "both");
  expect(trained).toMatchObject({
    steps: 8,
    adapter: "both",
    trainableParameters: 2 * 2 * (16 + 16 + 16 + 8) + 96,
  });
  expect(fs.readdirSync(workspace.at("both")).sort()).toEqual([
    "adapter_stack.json",
    "checkpoints",
    "deltafit.json",
    "lora",
    "prefix-tuning",
  ]);
  const [both, none] = [await lossOf(workspace, "--adapter", "both"), await lossOf(workspace)];
  expect(both).toBeLessThan(none);
  const apart = ["--adapter", "both/lora", "--adapter", "both/prefix-tuning"];
  expect(await lossOf(workspace, ...apart)).toBe(both);
  expect(await lossOf(workspace, "--adapter", "both/lora")).not.toBe(both);
  const generate = ["generate", "--model", "model", "--prompt", "food: bread", "--max-new-tokens", "4"];
  const whole = await workspace.json(...generate, "--adapter", "both");
  expect((await workspace.json(...generate, ...apart))["tokens"]).toEqual(whole["tokens"]);
  expect(await workspace.json("inspect", "both")).toEqual({
    kind: "stack",
    folder: "both",
    adapters: [
      { name: "lora", frozen: false, ...inspected, methodType: "LORA", folder: "both/lora", parameters: 224 },
      {
        ...{ name: "prefix-tuning", frozen: false, ...inspected, methodType: "PREFIX_TUNING" },
        ...{ folder: "both/prefix-tuning", parameters: 96 },
      },
    ],
    parameters: 320,
    problems: [],
    notes: anyObject,
  });
  expect(await workspace.deltafit("inspect", "both")).toEqual({
    exitCode: 0,
    stdout:
      "stack of 2 adapters, task causal-lm; the first is nearest to the base\nbase: model\n" +
      "  lora: method LORA, 224 parameters in 8 tensors\n" +
      "  prefix-tuning: method PREFIX_TUNING, 96 parameters in 1 tensors\nno problems found\n",
    stderr: "",
  });
  expect(
    await workspace.deltafit("merge", "--model", "model", "--adapter", "both", "--out", "merged"),
  ).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      'error: The adapter "both/prefix-tuning" (PREFIX_TUNING) cannot be merged: keys and values in front of the sequence are no change of the base\'s matrices.\n' +
      "hint: Use the base with the adapter beside it.\n",
  });
});

const inspected = {
  taskType: "CAUSAL_LM",
  baseModel: "model",
  configuration: anyObject,
  tensors: anyList,
  bytes: anyNumber,
  problems: [],
};

test("an interrupted stack resumes to the same losses and bytes", async () => {
  const workspace = await promptWorkspace();
  const settings = [...stack, "--steps", "300", "--dropout", "0.1"];
  const whole = await workspace.json(...settings, "--out", "whole");
  const running = workspace.start(...settings, "--out", "parts");
  await running.shown("step 1/300");
  running.signal("SIGINT");
  expect((await running.outcome).exitCode).toBe(130);
  const resumed = await workspace.json(...settings, "--out", "parts", "--resume");
  expect(resumed["losses"]).toEqual(whole["losses"]);
  for (const name of [
    "lora/adapter_model.safetensors",
    "prefix-tuning/adapter_model.safetensors",
    "adapter_stack.json",
  ])
    expect(fs.readFileSync(workspace.at("parts", name))).toEqual(
      fs.readFileSync(workspace.at("whole", name)),
    );
});

test("a new adapter on a frozen one, with its labels", async () => {
  const workspace = await promptWorkspace();
  writeLabelledData(workspace);
  const words = [
    "train",
    "--model",
    "model",
    "--task",
    "classification",
    "--data",
    "labelled.jsonl",
    "--steps",
    "6",
  ];
  await workspace.json(...words, "--out", "first");
  // Without the frozen adapter's labels, "good" alone would become the first of them.
  workspace.write("good.jsonl", '{"sentence": "The soup was good.", "label": "good"}\n');
  const second = [
    "train",
    "--model",
    "model",
    "--task",
    "classification",
    "--data",
    "good.jsonl",
    "--steps",
    "4",
  ];
  const trained = await workspace.json(...second, "--method", "ia3", "--frozen", "first", "--out", "second");
  expect(trained).toMatchObject({ adapter: "second", trainableParameters: 2 * (8 + 8 + 32) + 2 * 16 });
  expect(JSON.parse(fs.readFileSync(workspace.at("second", "adapter_stack.json"), "utf8"))).toEqual({
    format: 1,
    adapters: [
      { folder: "frozen-1", frozen: true },
      { folder: "ia3", frozen: false },
    ],
  });
  expect(fs.readFileSync(workspace.at("second", "frozen-1", "adapter_model.safetensors"))).toEqual(
    fs.readFileSync(workspace.at("first", "adapter_model.safetensors")),
  );
  expect(JSON.parse(fs.readFileSync(workspace.at("second", "deltafit.json"), "utf8"))).toMatchObject({
    labels: ["bad", "good"],
  });
  const merged = await workspace.json("merge", "--model", "model", "--adapter", "second", "--out", "merged");
  expect(merged["maxAbsLogitDifference"]).toBeLessThan(1e-4);
});

test("training goes on from an adapter, with its settings and its labels", async () => {
  const workspace = await promptWorkspace();
  const whole = [...train.slice(0, -4), "--batch-size", "64", "--learning-rate", "1e-2", "--warmup", "0"];
  const settings = ["--rank", "3", "--alpha", "5", "--targets", "v_proj"];
  await workspace.json(...whole, ...settings, "--steps", "5", "--out", "earlier");
  const reached = await lossOf(workspace, "--adapter", "earlier");
  const from = [...whole, "--steps", "5", "--initial-adapter", "earlier"];
  const dry = await workspace.json(...from, "--dry-run");
  expect(dry).toMatchObject({ method: "lora", trainableParameters: 2 * 3 * (16 + 8) });
  const trained = await workspace.json(...from, "--out", "later");
  const losses = trained["losses"] as number[];
  expect(losses[0]).toBeCloseTo(reached, 5);
  expect(losses.at(-1)).toBeLessThan(reached);
  const configurationOf = (folder: string): unknown =>
    JSON.parse(fs.readFileSync(workspace.at(folder, "adapter_config.json"), "utf8"));
  expect(configurationOf("later")).toEqual(configurationOf("earlier"));
  const errors: string[] = [];
  for (const words of [
    ["--rank", "4"],
    ["--method", "lora"],
  ])
    errors.push((await workspace.deltafit(...from, ...words, "--quiet")).stderr);
  expect(errors).toMatchInlineSnapshot(`
    [
      "error: --rank: the adapter of --initial-adapter has settings of its own.
    hint: Leave it out.
    ",
      "error: --method and --initial-adapter exclude each other.
    hint: Leave one of them out; --frozen puts a new adapter on one that stays as it is.
    ",
    ]
  `);
});

test("a stack is trained on: what was frozen stays so", async () => {
  const workspace = await promptWorkspace();
  await workspace.json(...train, "--steps", "2", "--rank", "2", "--out", "first");
  await workspace.json(...train, "--steps", "2", "--method", "ia3", "--frozen", "first", "--out", "second");
  await workspace.json(...train, "--steps", "2", "--initial-adapter", "second", "--out", "third");
  const file = (folder: string, member: string) =>
    fs.readFileSync(workspace.at(folder, member, "adapter_model.safetensors"));
  expect(file("third", "frozen-1")).toEqual(file("second", "frozen-1"));
  expect(file("third", "ia3")).not.toEqual(file("second", "ia3"));
  const index = (folder: string) => fs.readFileSync(workspace.at(folder, "adapter_stack.json"), "utf8");
  expect(index("third")).toBe(index("second"));
});

test("flags go to the methods that use them, and wrong stacks are refused", async () => {
  const workspace = await promptWorkspace();
  const dry = await workspace.json(...train, "--method", "bottleneck+lora", "--rank", "4", "--dry-run");
  expect(dry).toMatchObject({ method: "bottleneck+lora" });
  const memory = await workspace.json(
    "memory",
    "--model",
    "model",
    "--method",
    "bottleneck+lora",
    "--rank",
    "4",
  );
  expect(memory["trainableParameters"]).toBe(dry["trainableParameters"]);
  const bench = ["bench", "step", "--model", "model", "--repeat", "1", "--sequence-length", "8"];
  const measured = await workspace.json(...bench, "--method", "bottleneck+lora", "--rank", "4");
  expect(measured["trainableParameters"]).toBe(dry["trainableParameters"]);
  const errors: string[] = [];
  for (const words of [
    ["--method", "bottleneck+prefix-tuning", "--rank", "4"],
    ["--method", "lora+full"],
    ["--frozen", "nothing"],
  ])
    errors.push(
      (await workspace.deltafit(...train, ...words, "--steps", "1", "--quiet")).stderr.split("\nhint")[0]!,
    );
  expect(errors).toMatchInlineSnapshot(`
    [
      "error: --rank: none of the methods bottleneck, prefix-tuning has such a setting.",
      "error: Training: the method FULL has no adapter that could act with others.",
      "error: "nothing" is neither a folder that exists nor the name of an adapter on the hub, which is org/name or org/name@revision.",
    ]
  `);
});
