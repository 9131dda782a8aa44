/** @file generate, evaluate, merge, inspect and bench as processes. */
import fs from "node:fs";
import { expect, test } from "vitest";
import {
  anyNumber,
  anyList,
  createWorkspace,
  tinyLlama,
  writeLabelledData,
  writePromptData,
  writeTinyModel,
} from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

/** A model, data, and an adapter trained on it. */
async function trainedWorkspace(): Promise<Workspace> {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  await workspace.json(
    ...["train", "--model", "model", "--data", "data.jsonl", "--targets", "all-linear"],
    ...["--steps", "10", "--learning-rate", "1e-2", "--out", "adapter"],
  );
  return workspace;
}

const withAdapter = ["--model", "model", "--adapter", "adapter"];

test("generate gives the same text whole, streamed and for programs", async () => {
  const workspace = await trainedWorkspace();
  const words = ["generate", ...withAdapter, "--prompt", "food: bread", "--max-new-tokens", "6", "--quiet"];
  const whole = await workspace.deltafit(...words);
  const streamed = await workspace.deltafit(...words, "--stream");
  const parsed = await workspace.json(...words.slice(0, -1));
  expect(whole.exitCode).toBe(0);
  expect(streamed).toEqual(whole);
  expect(parsed).toEqual({
    text: whole.stdout.slice(0, -1),
    tokens: anyList,
    finishReason: "length",
    tokensPerSecond: anyNumber,
    firstTokenMilliseconds: anyNumber,
  });
  expect(parsed["tokens"]).toHaveLength(6);
  const drawn = (seed: string) => workspace.json(...words.slice(0, -1), "--temperature", "2", "--seed", seed);
  expect((await drawn("1"))["tokens"]).toEqual((await drawn("1"))["tokens"]);
  expect((await drawn("1"))["tokens"]).not.toEqual((await drawn("2"))["tokens"]);
});

test("generate takes prompts from files, and exactly one of them", async () => {
  const workspace = await trainedWorkspace();
  workspace.write("prompt.txt", "food: bread");
  workspace.write("chat.json", JSON.stringify([{ role: "user", content: "Is there soup?" }]));
  const words = ["generate", ...withAdapter, "--max-new-tokens", "3"];
  const fromText = await workspace.json(...words, "--prompt", "food: bread");
  const fromFile = await workspace.json(...words, "--prompt-file", "prompt.txt");
  expect(fromFile["tokens"]).toEqual(fromText["tokens"]);
  expect((await workspace.json(...words, "--messages", "chat.json"))["tokens"]).toHaveLength(3);
  expect(await workspace.deltafit(...words, "--prompt", "a", "--prompt-file", "prompt.txt")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      "error: Expected one of --prompt, --prompt-file, --messages and --prompts.\n" +
      'hint: For example: deltafit generate --prompt "Once upon a time"\n',
  });
});

test("generate searches with beams, a length penalty and no repetition", async () => {
  const workspace = await trainedWorkspace();
  const words = ["generate", ...withAdapter, "--max-new-tokens", "4", "--prompt", "food: bread"];
  const search = [...words, "--beams", "3"];
  const plain = await workspace.json(...search, "--length-penalty", "1");
  const summed = await workspace.json(...search, "--length-penalty", "0");
  const score = ({ score: own }: Record<string, unknown>) => own as number;
  expect(score(plain)).toBeLessThan(0);
  // A beam of greater sum cannot come out of dividing by the number of tokens.
  expect(score(summed)).toBeGreaterThanOrEqual(score(plain) * (plain["tokens"] as number[]).length - 1e-4);
  const once = await workspace.json(...words, "--no-repeat-ngram", "1");
  const { tokens } = once as { tokens: readonly number[] };
  expect(new Set(tokens).size).toBe(tokens.length);
  expect(once).not.toHaveProperty("score");
  expect(await workspace.deltafit(...search, "--length-penalty", "much")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: 'error: --length-penalty: expected a number, found "much".\n',
  });
});

test("convert writes what another tool reads, and reads it back", async () => {
  const workspace = await trainedWorkspace();
  const words = ["--model", "model"];
  const away = await workspace.json("convert", "adapter", ...words, "--to", "mlx", "--out", "mlx");
  expect(away).toEqual({
    from: "peft",
    to: "mlx",
    out: "mlx",
    methodType: "LORA",
    parameters: away["parameters"],
    notes: [],
  });
  expect(fs.readdirSync(workspace.at("mlx")).sort()).toEqual(["adapter_config.json", "adapters.safetensors"]);
  const back = await workspace.json("convert", "mlx", ...words, "--out", "from-mlx");
  expect(back).toEqual({ ...away, from: "mlx", to: "peft", out: "from-mlx" });
});

test("merge writes a model that computes the same without the adapter", async () => {
  const workspace = await trainedWorkspace();
  const merged = await workspace.json("merge", ...withAdapter, "--out", "merged");
  expect(merged).toEqual({
    out: "merged",
    mergedModules: 14,
    maxAbsLogitDifference: anyNumber,
    bytes: fs.statSync(workspace.at("merged", "model.safetensors")).size,
    untied: [],
    changedWith: [],
  });
  expect(merged["maxAbsLogitDifference"]).toBeLessThan(1e-4);
  const evaluated = async (...words: string[]) =>
    (await workspace.json("evaluate", "--data", "data.jsonl", ...words))["metrics"] as Record<string, number>;
  const [separate, together, base] = [
    await evaluated(...withAdapter),
    await evaluated("--model", "merged"),
    await evaluated("--model", "model"),
  ];
  expect(together["loss"]).toBeCloseTo(separate["loss"]!, 4);
  expect(separate["loss"]).toBeLessThan(base["loss"]! - 0.01);
});

test("merging a classifier keeps its head, and the names of its labels", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writeLabelledData(workspace);
  const task = ["--model", "model", "--task", "classification", "--data", "labelled.jsonl"];
  await workspace.json("train", ...task, "--steps", "4", "--out", "adapter");
  const merged = await workspace.json("merge", ...withAdapter, "--out", "merged");
  expect(merged["maxAbsLogitDifference"]).toBeLessThan(1e-5);
  // Of the two labels, "good" alone would get the id of "bad" if its name were not known.
  workspace.write("good.jsonl", '{"sentence": "The soup was good.", "label": "good"}\n');
  const evaluate = ["evaluate", "--data", "good.jsonl", "--metrics", "loss"];
  const separate = await workspace.json(...evaluate, ...withAdapter);
  const together = await workspace.json(...evaluate, "--model", "merged");
  const other = await workspace.json(...evaluate, ...withAdapter, "--data", "labelled.jsonl");
  const lossOf = ({ metrics }: Record<string, unknown>) => (metrics as { loss: number }).loss;
  expect(lossOf(together)).toBeCloseTo(lossOf(separate), 5);
  expect(lossOf(other)).not.toBeCloseTo(lossOf(separate), 5);
});

test("inspect tells a model, an adapter and data apart", async () => {
  const workspace = await trainedWorkspace();
  const model = await workspace.json("inspect", "model");
  expect(model).toMatchObject({ kind: "model", modelType: "llama", parameters: 70_224, problems: [] });
  const adapter = await workspace.json("inspect", "adapter");
  expect(adapter).toMatchObject({
    kind: "adapter",
    methodType: "LORA",
    taskType: "CAUSAL_LM",
    baseModel: "model",
    problems: [],
    notes: { task: "causal-lm" },
  });
  const data = await workspace.json("inspect", "data.jsonl", "--model", "model");
  expect(data).toMatchObject({ kind: "data", task: "causal-lm", examples: 12, dropped: [], truncated: 0 });
  writeLabelledData(workspace);
  const labelled = await workspace.deltafit("inspect", "labelled.jsonl", "--model", "model");
  expect(labelled.exitCode).toBe(0);
  expect(labelled.stdout).toMatchInlineSnapshot(`
    "data: labelled.jsonl, for classification
    format: labelled-text, read from "sentence", "label"
      12 examples, 60 tokens, 12 of them supervised; longest 5
      label bad: 6
      label good: 6

    the first example:
    token  |   id | label
    The    |  445 |
    Ġbread | 1248 |
    Ġwas   |  305 |
    Ġgood  |  499 |
    .      |   51 |
    label of the example: 1
    "
  `);
});

test("bench step measures steps on every token", async () => {
  const workspace = createWorkspace();
  workspace.write("config.json", JSON.stringify(tinyLlama));
  const shape = [
    "--model",
    "config.json",
    "--random-weights",
    "0",
    "--batch-size",
    "2",
    "--sequence-length",
    "16",
  ];
  const result = await workspace.json("bench", "step", ...shape, "--repeat", "3", "--threads", "1");
  expect(result).toEqual({
    tokensPerSecond: anyNumber,
    stepMilliseconds: { median: anyNumber, min: anyNumber, all: anyList },
    peakMemoryBytes: anyNumber,
    estimatedMemoryBytes: anyNumber,
    graphNodes: anyNumber,
    startMilliseconds: anyNumber,
    firstStepMilliseconds: anyNumber,
    hostShare: anyNumber,
    trainableParameters: 896,
    losses: anyList,
  });
  const { median, all } = result["stepMilliseconds"] as { median: number; all: number[] };
  expect(all).toHaveLength(3);
  expect(result["tokensPerSecond"]).toBeCloseTo(32_000 / median, 3);
  const classified = await workspace.json(
    "bench",
    "step",
    ...shape,
    "--repeat",
    "1",
    "--task",
    "classification",
  );
  expect(classified["losses"]).toHaveLength(2);
});

test("--compute int8 reaches training and evaluation", async () => {
  const workspace = await trainedWorkspace();
  const train = ["train", "--model", "model", "--data", "data.jsonl", "--steps", "2", "--out", "short"];
  const losses = async (...words: string[]) =>
    (await workspace.json(...train, ...words))["losses"] as readonly number[];
  const [exact, rounded] = [await losses(), await losses("--compute", "int8")];
  expect(rounded).not.toEqual(exact);
  expect(Math.abs((rounded[0] ?? NaN) - (exact[0] ?? NaN))).toBeLessThan(0.1);
  const loss = async (...words: string[]) => {
    const found = await workspace.json("evaluate", ...withAdapter, "--data", "data.jsonl", ...words);
    return (found["metrics"] as Record<string, number>)["loss"] ?? NaN;
  };
  const [plain, whole] = [await loss(), await loss("--compute", "int8")];
  expect(whole).not.toBe(plain);
  expect(Math.abs(whole - plain)).toBeLessThan(0.1);
});

test("bench latency compares merged, unmerged and bottleneck adapters with the base", async () => {
  const workspace = await trainedWorkspace();
  const found = await workspace.json(
    ...["bench", "latency", ...withAdapter],
    ...["--batch-size", "1,3", "--sequence-length", "8", "--repeat", "2"],
  );
  const variant = {
    forwardMilliseconds: anyNumber,
    forwardRatio: anyNumber,
    tokenMilliseconds: anyNumber,
    tokenRatio: anyNumber,
  };
  const variants = ["base", "merged", "unmerged", "bottleneck"].map((name) => ({ name, ...variant }));
  expect(found).toEqual({
    sequenceLength: 8,
    repeat: 2,
    batches: [
      { batchSize: 1, variants },
      { batchSize: 3, variants },
    ],
  });
});

test("help fits 80 columns, names every flag and gives an example", async () => {
  const workspace = createWorkspace();
  for (const command of ["train", "generate", "evaluate", "merge", "inspect", "bench step"]) {
    const { exitCode, stdout, stderr } = await workspace.deltafit(...command.split(" "), "--help");
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
    expect(stdout).toContain(`Example:\n  deltafit ${command} `);
    expect(stdout).toContain("--json ");
  }
  const { version } = JSON.parse(fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  expect(await workspace.deltafit("--version")).toEqual({ exitCode: 0, stdout: `${version}\n`, stderr: "" });
});

test("an encoder-decoder is trained, measured, asked and merged", async () => {
  const workspace = createWorkspace();
  const sizes = { model_type: "t5", d_model: 16, d_kv: 8, d_ff: 32, num_layers: 1, num_heads: 2 };
  const changes = {
    ...sizes,
    feed_forward_proj: "gated-gelu",
    decoder_start_token_id: 1,
    initializer_factor: 2,
  };
  await writeTinyModel(workspace, "model", changes, "seq2seq-lm");
  writePromptData(workspace);
  const trained = await workspace.json(
    ...["train", "--model", "model", "--task", "seq2seq-lm", "--data", "data.jsonl", "--targets", "q,v"],
    ...["--steps", "10", "--batch-size", "12", "--learning-rate", "1e-2", "--out", "adapter"],
  );
  const written = fs.readFileSync(workspace.at("adapter", "adapter_config.json"), "utf8");
  const configuration = JSON.parse(written) as unknown;
  expect(configuration).toMatchObject({ task_type: "SEQ_2_SEQ_LM", target_modules: ["q", "v"] });
  const lossOf = async (...words: string[]) => {
    const { metrics, task } = await workspace.json("evaluate", ...words, "--data", "data.jsonl");
    expect(task).toBe("seq2seq-lm");
    return (metrics as Record<string, number>)["loss"]!;
  };
  expect(await lossOf(...withAdapter)).toBeLessThan(await lossOf("--model", "model"));
  const words = ["--prompt", "food: bread", "--max-new-tokens", "5"];
  const asked = await workspace.json("generate", ...withAdapter, ...words);
  expect((asked["tokens"] as number[]).length).toBeGreaterThan(0);
  const merged = await workspace.json("merge", ...withAdapter, "--out", "merged");
  expect(merged["maxAbsLogitDifference"]).toBeLessThan(1e-4);
  expect(merged["mergedModules"]).toBe(6);
  expect((await workspace.json("generate", "--model", "merged", ...words))["text"]).toBe(asked["text"]);
  const inspected = await workspace.json("inspect", "model");
  expect(inspected["problems"]).toEqual([]);
  expect(inspected["sizes"]).toMatchObject({ layers: 1, maximumPositions: null });
  const step = ["bench", "step", "--model", "model", "--task", "seq2seq-lm", "--repeat", "1"];
  expect((await workspace.json(...step, "--sequence-length", "16"))["tokensPerSecond"]).toBeGreaterThan(0);
  const memory = ["memory", "--model", "model", "--task", "seq2seq-lm", "--targets", "q,v"];
  expect((await workspace.json(...memory))["trainableParameters"]).toBe(trained["trainableParameters"]);
});
