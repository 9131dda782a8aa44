/** @file Adapters made of adapters, as processes: combining LoRAs, and converting other methods to one. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { anyNumber, createWorkspace, writePromptData, writeTinyModel } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

async function preparedWorkspace(): Promise<Workspace> {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  return workspace;
}

const train = [
  "train",
  "--model",
  "model",
  "--data",
  "data.jsonl",
  "--steps",
  "6",
  "--learning-rate",
  "2e-2",
];
const lossOf = async (workspace: Workspace, ...words: string[]) => {
  const evaluated = await workspace.json("evaluate", "--model", "model", "--data", "data.jsonl", ...words);
  return (evaluated["metrics"] as { loss: number }).loss;
};

test("combine writes an adapter that does what its parts do together", async () => {
  const workspace = await preparedWorkspace();
  await workspace.json(...train, "--targets", "q_proj,v_proj", "--rank", "2", "--out", "a");
  await workspace.json(...train, "--targets", "q_proj", "--rank", "3", "--seed", "1", "--out", "b");
  const both = ["--model", "model", "--adapter", "a", "--adapter", "b"];
  expect(await workspace.json("combine", ...both, "--combination-type", "cat", "--out", "cat")).toEqual({
    out: "cat",
    combinationType: "cat",
    adapters: [
      { adapter: "a", weight: 1 },
      { adapter: "b", weight: 1 },
    ],
    rank: 5,
    parameters: 2 * (5 * 32 + 2 * 24),
    adapterBytes: 4 * 2 * (5 * 32 + 2 * 24),
  });
  expect(fs.readdirSync(workspace.at("cat")).sort()).toEqual([
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "deltafit.json",
  ]);
  const together = await lossOf(workspace, "--adapter", "a", "--adapter", "b");
  expect(await lossOf(workspace, "--adapter", "cat")).toBeCloseTo(together, 4);
  const weights = ["--adapter-weight", "-0.5,1"];
  const { exitCode, stdout, stderr } = await workspace.deltafit(
    "combine",
    ...both,
    ...weights,
    "--out",
    "svd",
  );
  expect({ exitCode, stdout, stderr }).toEqual({
    exitCode: 0,
    stdout: "combined -0.5 x a + 1 x b by svd into svd (rank 3)\n",
    stderr: "",
  });
  expect(await lossOf(workspace, "--adapter", "svd")).not.toBeCloseTo(together, 2);
});

test("combine refuses what does not go together, and leaves everything as it was", async () => {
  const workspace = await preparedWorkspace();
  await workspace.json(...train, "--out", "a");
  await workspace.json(...train, "--method", "ia3", "--out", "ia3");
  const before = fs.readFileSync(workspace.at("a", "adapter_model.safetensors"));
  const errors: string[] = [];
  for (const words of [
    ["--out", "new"],
    ["--adapter", "a", "--adapter-weight", "1,2", "--out", "new"],
    ["--adapter", "a", "--adapter-weight", "much", "--out", "new"],
    ["--adapter", "a", "--adapter", "ia3", "--out", "new"],
    ["--adapter", "a", "--combination-type", "ties", "--out", "new"],
    ["--adapter", "a", "--out", "a"],
    ["--adapter", "a", "--out", "model"],
  ]) {
    const outcome = await workspace.deltafit("combine", "--model", "model", ...words);
    errors.push(`${outcome.exitCode ?? ""} ${outcome.stderr.trim()}`);
  }
  expect(errors).toMatchInlineSnapshot(`
    [
      "2 error: --adapter is needed: there is nothing to combine without one.
    hint: Name each adapter with an --adapter of its own.",
      "2 error: --adapter-weight: expected a number for each --adapter, 1 in all, found 2.
    hint: Give the weights in the order of the adapters: --adapter a --adapter b --adapter-weight 0.7,0.4",
      "2 error: --adapter-weight: expected numbers with commas between them, found ["much"].",
      "2 error: The adapter "ia3" cannot be combined: its method is IA3; expected LORA.
    hint: Convert it to a LoRA first, or merge adapters into the base one after the other.",
      "2 error: Combining adapters: ties keeps a share of the entries: expected a density above 0 and at most 1, found none.
    hint: Common densities are 0.2 to 0.7.",
      "2 error: --out names "a", from which this command reads.
    hint: Name a folder of its own with --out.",
      "2 error: --out names "model", from which this command reads.
    hint: Name a folder of its own with --out.",
    ]
  `);
  expect(fs.existsSync(workspace.at("new"))).toBe(false);
  expect(fs.readFileSync(workspace.at("a", "adapter_model.safetensors"))).toEqual(before);
});

test("convert-to-lora says how far each module is off", async () => {
  const workspace = await preparedWorkspace();
  await workspace.json(
    ...train,
    "--method",
    "vera",
    "--targets",
    "q_proj,v_proj",
    "--rank",
    "4",
    "--out",
    "vera",
  );
  const convert = ["convert-to-lora", "--model", "model", "--adapter", "vera"];
  const converted = await workspace.json(...convert, "--rank", "4", "--out", "lora");
  expect(converted).toEqual({
    out: "lora",
    methodType: "VERA",
    rank: 4,
    modules: [0, 1].flatMap((layer) =>
      ["q_proj", "v_proj"].map((name) => ({
        module: `model.layers.${layer}.self_attn.${name}`,
        rank: 4,
        relativeError: anyNumber,
        largestError: anyNumber,
      })),
    ),
    parameters: 2 * 4 * (32 + 24),
    adapterBytes: 4 * 2 * 4 * (32 + 24),
  });
  for (const { relativeError } of converted["modules"] as { relativeError: number }[])
    expect(relativeError).toBeLessThan(1e-5);
  expect(await lossOf(workspace, "--adapter", "lora")).toBeCloseTo(
    await lossOf(workspace, "--adapter", "vera"),
    4,
  );
  const energy = await workspace.json(...convert, "--energy", "0.5", "--out", "small");
  expect(energy["parameters"]).toBeLessThan(2 * 4 * (32 + 24));
  expect(await lossOf(workspace, "--adapter", "small")).toEqual(anyNumber);
  const errors: string[] = [];
  for (const words of [
    ["--rank", "2", "--energy", "0.5"],
    ["--rank", "9"],
    ["--adapter", "lora"],
  ])
    errors.push((await workspace.deltafit(...convert, ...words, "--out", "new")).stderr.trim());
  expect(errors).toMatchInlineSnapshot(`
    [
      "error: --rank and --energy exclude each other.
    hint: Leave one of them out.",
      "error: Converting to LoRA: the rank is 9, but the matrix of "model.layers.0.self_attn.v_proj" is [8, 16]; expected at most 8.
    hint: Choose a lower rank, or the share of the energy that ranks have to hold.",
      "error: --adapter: expected one adapter to convert, found 2.
    hint: Convert one at a time; \`deltafit combine\` makes one LoRA of several.",
    ]
  `);
});

test("generate scales what adapters change", async () => {
  const workspace = await preparedWorkspace();
  await workspace.json(...train, "--targets", "all-linear", "--steps", "10", "--out", "a");
  const words = ["generate", "--model", "model", "--prompt", "food: bread", "--max-new-tokens", "6"];
  const tokensOf = async (...more: string[]) => (await workspace.json(...words, ...more))["tokens"];
  const [base, adapted] = [await tokensOf(), await tokensOf("--adapter", "a")];
  expect(adapted).not.toEqual(base);
  expect(await tokensOf("--adapter", "a", "--adapter-weight", "0")).toEqual(base);
  expect(await tokensOf("--adapter", "a", "--adapter", "a", "--adapter-weight", "2,-1")).toEqual(adapted);
  expect(await workspace.deltafit(...words, "--adapter", "a", "--adapter-weight", "1,2")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      "error: --adapter-weight: expected a number for each --adapter, 1 in all, found 2.\n" +
      "hint: Give the weights in the order of the adapters: --adapter a --adapter b --adapter-weight 0.7,0.4\n",
  });
});
