/** @file Adapters by name on the command line: chosen row by row, and scaled, by every command that uses adapters. */
import { expect, test } from "vitest";
import { anyNumber, createWorkspace, writePromptData, writeTinyModel } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

const train = ["train", "--model", "model", "--data", "data.jsonl", "--targets", "all-linear"];
const steps = ["--steps", "10", "--learning-rate", "1e-2"];

async function withTwoAdapters(): Promise<Workspace> {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  await workspace.json(...train, ...steps, "--out", "first");
  await workspace.json(...train, ...steps, "--seed", "5", "--rank", "2", "--out", "second");
  return workspace;
}

const both = ["--model", "model", "--adapter", "a=first", "--adapter", "b=second"];
const lines = (rows: readonly object[]): string => rows.map((row) => JSON.stringify(row)).join("\n");

test("generate gives each row of a file the adapters it names", async () => {
  const workspace = await withTwoAdapters();
  const prompt = "food: bread";
  const rows = [
    { prompt, adapter: "a" },
    { prompt, adapter: ["b"] },
    { prompt, adapter: null },
    { prompt },
    { messages: [{ role: "user", content: "Is there soup?" }], adapter: "b" },
  ];
  workspace.write("prompts.jsonl", lines(rows));
  const length = ["--max-new-tokens", "6"];
  const alone = async (...words: string[]) => {
    const { text, tokens, finishReason } = await workspace.json(
      "generate",
      "--model",
      "model",
      ...length,
      ...words,
    );
    return { text, tokens, finishReason };
  };
  workspace.write("chat.json", JSON.stringify([{ role: "user", content: "Is there soup?" }]));
  const [a, b] = [
    ["--adapter", "first"],
    ["--adapter", "second"],
  ] as const;
  const expected = [
    { ...(await alone("--prompt", prompt, ...a)), adapters: ["a"] },
    { ...(await alone("--prompt", prompt, ...b)), adapters: ["b"] },
    { ...(await alone("--prompt", prompt)), adapters: [] },
    { ...(await alone("--prompt", prompt, ...a, ...b)), adapters: ["a", "b"] },
    { ...(await alone("--messages", "chat.json", ...b)), adapters: ["b"] },
  ];
  expect(new Set(expected.map(({ tokens }) => JSON.stringify(tokens))).size).toBe(expected.length);
  const words = ["generate", ...both, ...length, "--prompts", "prompts.jsonl"];
  expect(await workspace.json(...words)).toEqual({ rows: expected, tokensPerSecond: anyNumber });
  expect(await workspace.json(...words, "--batch-size", "2")).toMatchObject({ rows: expected });
  const { stdout } = await workspace.deltafit(...words);
  expect(stdout).toBe(`${lines(expected.map(({ text, adapters }) => ({ adapters, text })))}\n`);
});

test("rows that choose what there is not are refused by their place", async () => {
  const workspace = await withTwoAdapters();
  const failure = async (row: object, ...words: string[]) => {
    workspace.write("prompts.jsonl", lines([{ prompt: "food: bread", text: "bread", adapter: "a" }, row]));
    const { exitCode, stderr } = await workspace.deltafit(...words);
    return `${exitCode} ${stderr.trim()}`;
  };
  const generate = ["generate", ...both, "--prompts", "prompts.jsonl"];
  const embed = ["embed", ...both, "--data", "prompts.jsonl", "--quiet"];
  const errors = [
    await failure({ prompt: "food: soup", adapter: "first" }, ...generate),
    await failure({ prompt: "food: soup", adapter: 3 }, ...generate),
    await failure({ text: "food: soup", adapter: "a" }, ...generate),
    await failure({ text: "soup", adapter: "c" }, ...embed),
    await failure({ prompt: "food: soup" }, ...generate, "--stream"),
    await failure({ prompt: "food: soup" }, ...generate, "--prompt", "food: soup"),
    await failure({ prompt: "food: soup" }, ...generate, "--adapter", "b=first"),
  ];
  expect(errors).toMatchInlineSnapshot(`
    [
      "2 error: "prompts.jsonl", line 2: no adapter is called "first".
    hint: Loaded are "a", "b"; --adapter NAME=FOLDER gives an adapter a name.",
      "2 error: "prompts.jsonl", line 2: expected the name of an adapter, or a list of names, under "adapter", found 3.
    hint: Loaded are "a", "b"; --adapter NAME=FOLDER gives an adapter a name.",
      "2 error: "prompts.jsonl", line 2: expected a text under "prompt" or a list of messages under "messages", and only one of them.
    hint: For example: {"prompt": "Good morning!", "adapter": "french"}",
      "2 error: "prompts.jsonl", line 2: no adapter is called "c".
    hint: Loaded are "a", "b"; --adapter NAME=FOLDER gives an adapter a name.",
      "2 error: --stream and --prompts exclude each other.
    hint: Leave one of them out.",
      "2 error: Expected one of --prompt, --prompt-file, --messages and --prompts.
    hint: For example: deltafit generate --prompt "Once upon a time"",
      "2 error: --adapter: two adapters are called "b".
    hint: Give each a name of its own: --adapter a=FOLDER --adapter b=FOLDER",
    ]
  `);
});

test("embed gives each row of a file the adapters it names", async () => {
  const workspace = await withTwoAdapters();
  const text = "food: bread";
  workspace.write(
    "texts.jsonl",
    lines([
      { text, adapter: "b" },
      { text, adapter: [] },
      { text, adapter: "a" },
    ]),
  );
  const embed = ["embed", "--model", "model"];
  const alone = async (...words: string[]) =>
    (await workspace.json(...embed, "--text", text, ...words))["embeddings"] as number[][];
  const expected = [
    ...(await alone("--adapter", "second")),
    ...(await alone()),
    ...(await alone("--adapter", "first")),
  ];
  expect((await workspace.json("embed", ...both, "--data", "texts.jsonl"))["embeddings"]).toEqual(expected);
  const weights = ["--adapter-weight", "0,1"];
  expect(await alone("--adapter", "first", "--adapter", "second", ...weights)).toEqual(
    await alone("--adapter", "second"),
  );
});

test("evaluate and merge scale what adapters change", async () => {
  const workspace = await withTwoAdapters();
  const lossOf = async (...words: string[]) => {
    const { metrics } = await workspace.json("evaluate", "--data", "data.jsonl", "--model", ...words);
    return (metrics as { readonly loss: number }).loss;
  };
  const adapters = ["--adapter", "first", "--adapter", "second"];
  const half = await lossOf("model", ...adapters, "--adapter-weight", "0.5,-0.25");
  expect(await lossOf("model", ...adapters, "--adapter-weight", "0,0")).toBeCloseTo(await lossOf("model"), 5);
  expect(half).not.toBeCloseTo(await lossOf("model", ...adapters), 3);
  const merge = [
    "merge",
    "--model",
    "model",
    ...adapters,
    "--adapter-weight",
    "0.5,-0.25",
    "--out",
    "merged",
  ];
  const { maxAbsLogitDifference } = await workspace.json(...merge);
  expect(maxAbsLogitDifference).toBeLessThan(1e-5);
  expect(await lossOf("merged")).toBeCloseTo(half, 5);

  const prompt = ["--method", "prompt-tuning", "--virtual-tokens", "2"];
  await workspace.json(
    "train",
    "--model",
    "model",
    "--data",
    "data.jsonl",
    ...steps,
    ...prompt,
    "--out",
    "prompt",
  );
  const data = ["--model", "model", "--data", "data.jsonl"];
  expect(
    await workspace.deltafit(
      "evaluate",
      ...data,
      "--adapter",
      "prompt",
      "--adapter-weight",
      "0.5",
      "--quiet",
    ),
  ).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      'error: --adapter-weight: the adapter "prompt" cannot have the weight 0.5: it puts tokens in front of every row.\n' +
      "hint: Leave the adapter out to switch it off.\n",
  });
});
