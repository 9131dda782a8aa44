/** @file `deltafit train` as a process: what it prints, what it writes, and that runs can be repeated and resumed. */
import fs from "node:fs";
import { expect, test } from "vitest";
import { anyNumber, anyList, anyObject, promptWorkspace, writeLabelledData } from "./workspace.ts";

const common = [
  "train",
  "--model",
  "model",
  "--data",
  "data.jsonl",
  "--batch-size",
  "4",
  "--targets",
  "q_proj,v_proj",
];

function filesIn(folder: string): Record<string, string> {
  const names = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => fs.statSync(`${folder}/${name}`).isFile());
  return Object.fromEntries(files.map((name) => [name, fs.readFileSync(`${folder}/${name}`, "latin1")]));
}

test("trains an adapter in PEFT's format, and the same command again gives the same losses and bytes", async () => {
  const workspace = await promptWorkspace();
  const first = await workspace.json(...common, "--steps", "6", "--learning-rate", "1e-2", "--out", "a");
  const second = await workspace.json(...common, "--steps", "6", "--learning-rate", "1e-2", "--out", "b");
  expect(first).toEqual({
    steps: 6,
    losses: anyList,
    estimatedMemory: anyObject,
    evaluations: [],
    trainableParameters: 8 * (16 + 16 + 16 + 8) * 2,
    totalParameters: 70_224 + 896,
    tokens: anyNumber,
    supervisedTokens: anyNumber,
    tokensPerSecond: anyNumber,
    peakMemoryBytes: anyNumber,
    adapterBytes: 896 * 4,
    adapter: "a",
    seconds: anyNumber,
    data: anyObject,
  });
  const losses = first["losses"] as number[];
  expect(losses).toHaveLength(6);
  expect(losses.at(-1)).toBeLessThan(losses[0]!);
  expect(second["losses"]).toEqual(losses);
  const files = filesIn(workspace.at("a"));
  expect(Object.keys(files)).toEqual([
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "checkpoints/last/README.md",
    "checkpoints/last/adapter_config.json",
    "checkpoints/last/adapter_model.safetensors",
    "checkpoints/last/deltafit.json",
    "checkpoints/last/training_state.json",
    "checkpoints/last/training_state.safetensors",
    "deltafit.json",
  ]);
  expect(filesIn(workspace.at("b"))["adapter_model.safetensors"]).toBe(files["adapter_model.safetensors"]);
});

test("packed rows and padded ones train alike, and grouping by length makes other batches", async () => {
  const workspace = await promptWorkspace();
  const settings = [...common, "--steps", "6", "--learning-rate", "1e-2"];
  const lossesWith = async (...flags: string[]) =>
    (await workspace.json(...settings, "--quiet", ...flags))["losses"] as number[];
  const padded = await lossesWith("--out", "padded");
  const packed = await lossesWith("--out", "packed", "--pack");
  for (const [step, loss] of padded.entries()) expect(packed[step]).toBeCloseTo(loss, 4);
  const grouped = await lossesWith("--out", "grouped", "--group-by-length");
  expect(grouped).not.toEqual(padded);
});

test("an interrupted run resumes to the same losses and bytes as one that never stopped", async () => {
  const workspace = await promptWorkspace();
  const settings = [...common, "--steps", "400", "--learning-rate", "1e-2", "--dropout", "0.1"];
  const whole = await workspace.json(...settings, "--out", "whole");

  const running = workspace.start(...settings, "--out", "parts");
  await running.shown("step 1/400");
  running.signal("SIGINT");
  const { exitCode, stdout, stderr } = await running.outcome;
  expect(exitCode).toBe(130);
  expect(stdout).toBe("");
  const reached = Number(/Interrupted after step (\d+) of 400\./.exec(stderr)?.[1]);
  expect(reached).toBeGreaterThan(0);
  expect(reached).toBeLessThan(400);
  expect(stderr.trimEnd().split("\n").slice(-3)).toEqual([
    "stopping after this step; press Ctrl-C again to end at once",
    `error: Interrupted after step ${reached} of 400.`,
    "hint: Go on with --resume.",
  ]);
  expect(
    Object.keys(filesIn(workspace.at("parts"))).every((name) => name.startsWith("checkpoints/last/")),
  ).toBe(true);

  const resumed = await workspace.json(...settings, "--out", "parts", "--resume");
  expect(resumed["losses"]).toEqual(whole["losses"]);
  expect(resumed["tokens"]).toBe(whole["tokens"]);
  for (const name of [
    "adapter_model.safetensors",
    "checkpoints/last/training_state.safetensors",
    "deltafit.json",
  ])
    expect(filesIn(workspace.at("parts"))[name]).toBe(filesIn(workspace.at("whole"))[name]);
});

test("an interruption is one JSON object as well, and an adapter from before is untouched", async () => {
  const workspace = await promptWorkspace();
  await workspace.json(...common, "--steps", "2", "--out", "a");
  const before = filesIn(workspace.at("a"))["adapter_model.safetensors"];
  const running = workspace.start(...common, "--steps", "100000", "--seed", "1", "--out", "a", "--json");
  await running.shown("step 1/");
  running.signal("SIGTERM");
  const { exitCode, stdout } = await running.outcome;
  expect(exitCode).toBe(130);
  const reached = /after step (\d+)/.exec(stdout)?.[1];
  expect(JSON.parse(stdout)).toEqual({
    error: {
      code: "interrupted",
      message: `Interrupted after step ${reached!} of 100000.`,
      hint: "Go on with --resume.",
    },
  });
  expect(filesIn(workspace.at("a"))["adapter_model.safetensors"]).toBe(before);
});

test("a resumed run must have the settings of the interrupted one", async () => {
  const workspace = await promptWorkspace();
  await workspace.json(...common, "--steps", "2", "--out", "a");
  expect(await workspace.deltafit(...common, "--steps", "3", "--out", "a", "--resume", "--quiet")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      'error: Cannot resume from "a/checkpoints/last": steps was 2 and is now 3.\n' +
      "hint: Resume with the settings and the data of the interrupted run, or start anew without --resume.\n",
  });
  expect(await workspace.deltafit(...common, "--out", "none", "--resume")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr:
      'error: There is nothing to resume: expected the state of a run in "none/checkpoints/last", found nothing.\n' +
      "hint: Start without --resume.\n",
  });
});

test("recomputing layers changes the memory, not the numbers", async () => {
  const workspace = await promptWorkspace();
  const [plain, recomputed] = [
    await workspace.json(...common, "--steps", "3", "--out", "a"),
    await workspace.json(...common, "--steps", "3", "--out", "b", "--recompute"),
  ].map(({ losses }) => losses as number[]);
  expect(recomputed).toHaveLength(3);
  for (const [step, loss] of recomputed!.entries()) expect(loss).toBeCloseTo(plain![step]!, 4);
});

test("settings come from a file, flags beat it, and --set reaches entries", async () => {
  const workspace = await promptWorkspace();
  workspace.write(
    "run.yaml",
    "model: model\ndata: data.jsonl\nrank: 2\ntargets: [q_proj, v_proj]\nsteps: 5\nrank-pattern:\n  v_proj: 3\n",
  );
  const plain = await workspace.json("train", "--config", "run.yaml", "--dry-run");
  const changed = await workspace.json(
    "train",
    "--config",
    "run.yaml",
    "--dry-run",
    "--rank",
    "4",
    "--steps",
    "1",
  );
  const set = await workspace.json(
    "train",
    "--config",
    "run.yaml",
    "--dry-run",
    "--set",
    "rank-pattern.q_proj=1",
  );
  const parameters = (query: number, value: number) => 2 * (query * (16 + 16) + value * (16 + 8));
  expect([plain["trainableParameters"], plain["steps"]]).toEqual([parameters(2, 3), 5]);
  expect([changed["trainableParameters"], changed["steps"]]).toEqual([parameters(4, 3), 1]);
  expect(set["trainableParameters"]).toBe(parameters(1, 3));
  workspace.write("typo.yaml", "learning_rate: 1\n");
  expect(await workspace.deltafit("train", "--config", "typo.yaml")).toEqual({
    exitCode: 2,
    stdout: "",
    stderr: 'error: "typo.yaml": there is no setting "learning_rate".\nhint: Did you mean "learning-rate"?\n',
  });
});

test("a dry run says what would be trained and writes nothing", async () => {
  const workspace = await promptWorkspace();
  const { exitCode, stdout, stderr } = await workspace.deltafit(...common, "--dry-run", "--out", "a");
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  // What is available is the machine's.
  expect(stdout.replace(/\d+(\.\d+)? [MGT]B/g, "SIZE")).toMatchInlineSnapshot(`
    "model: model (llama), task causal-lm
    method: lora, training 896 of 71120 parameters (1.260 %)
    data: prompt-completion, read from "prompt", "completion"
      12 examples, 256 tokens, 134 of them supervised; longest 23
    plan: 9 steps of 4 rows, up to 128 tokens a row
      learning rate 0.0005, linear, warm-up 1 steps
    memory: about SIZE of SIZE available
      weights SIZE, training SIZE, activations SIZE, workspace SIZE
    "
  `);
  expect(fs.existsSync(workspace.at("a"))).toBe(false);
});

test("a run that cannot fit is refused with what would, and its estimate decides on recomputation", async () => {
  const workspace = await promptWorkspace();
  const rows = ["--batch-size", String(10 ** 8)];
  const words = [...common.slice(0, 5), "--storage", "nf4", "--out", "a"];
  const prepared = () => fs.readdirSync(workspace.at(".cache", "weights"));
  const before = prepared();
  const { exitCode, stdout, stderr } = await workspace.deltafit(...words, ...rows);
  expect([exitCode, stdout]).toEqual([1, ""]);
  expect(stderr.replace(/\d+(\.\d+)? [MGT]B/g, "SIZE").replace(/\d+/g, "N")).toMatchInlineSnapshot(`
    "error: The run does not fit into memory: expected at most SIZE, which are available, found about SIZE.
    hint: These fit: --batch-size N --accumulate N (SIZE). --ignore-memory starts it all the same.
    "
  `);
  expect([fs.existsSync(workspace.at("a")), prepared()]).toEqual([false, before]);
  expect((await workspace.deltafit(...words, "--steps", "1")).exitCode).toBe(0);
  expect([fs.existsSync(workspace.at("a")), prepared().length]).toEqual([true, before.length + 1]);
  const [auto, ignored] = [
    await workspace.json(...common, "--dry-run", "--recompute", "auto"),
    await workspace.json(
      ...common.slice(0, 5),
      ...rows,
      "--dry-run",
      "--recompute",
      "auto",
      "--ignore-memory",
    ),
  ];
  expect([auto["recompute"], ignored["recompute"]]).toEqual([false, true]);
  const { total } = ignored["estimatedMemory"] as Record<string, number>;
  expect(total).toBeGreaterThan(ignored["availableBytes"] as number);
});

test("a model too large for the memory there is is refused before it is opened, also where nothing is trained", async () => {
  const workspace = await promptWorkspace();
  const configuration = JSON.parse(fs.readFileSync(workspace.at("model", "config.json"), "utf8")) as object;
  workspace.write("model/config.json", JSON.stringify({ ...configuration, intermediate_size: 10 ** 12 }));
  const commands = [
    ["evaluate", "--data", "data.jsonl"],
    ["generate", "--prompt", "a"],
    ["embed", "--text", "a"],
  ];
  for (const words of commands) {
    const { exitCode, stdout, stderr } = await workspace.deltafit(...words, "--model", "model");
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr.replace(/\d+(\.\d+)? [MGT]B/g, "SIZE")).toBe(
      "error: The run does not fit into memory: expected at most SIZE, which are available, found about SIZE.\n" +
        "hint: No storage makes it fit: use a smaller model. --ignore-memory starts it all the same.\n",
    );
  }
  const ignored = await workspace.deltafit("embed", "--text", "a", "--model", "model", "--ignore-memory");
  expect(ignored.stderr).toContain("does not fit its config.json");
});

test("classification learns the labels' names, and evaluate finds them beside the adapter", async () => {
  const workspace = await promptWorkspace();
  writeLabelledData(workspace);
  const classify = ["--model", "model", "--data", "labelled.jsonl"];
  const result = await workspace.json(
    ...["train", ...classify, "--task", "classification", "--eval-data", "labelled.jsonl"],
    ...[
      "--targets",
      "all-linear",
      "--steps",
      "60",
      "--learning-rate",
      "2e-2",
      "--eval-every",
      "30",
      "--out",
      "a",
    ],
  );
  const evaluations = result["evaluations"] as { step: number; metrics: Record<string, number> }[];
  expect(evaluations.map(({ step }) => step)).toEqual([30, 60]);
  expect(evaluations.at(-1)?.metrics["accuracy"]).toBe(1);
  expect(JSON.parse(fs.readFileSync(workspace.at("a", "deltafit.json"), "utf8"))).toMatchObject({
    task: "classification",
    labels: ["bad", "good"],
  });
  const evaluated = await workspace.json(
    "evaluate",
    ...classify,
    "--adapter",
    "a",
    "--metrics",
    "accuracy,f1,loss",
  );
  expect(evaluated).toEqual({
    metrics: { loss: anyNumber, accuracy: 1, f1: 1 },
    examples: 12,
    seconds: anyNumber,
    task: "classification",
  });
  const { loss } = evaluated["metrics"] as Record<string, number>;
  expect(loss).toBeCloseTo(evaluations.at(-1)!.metrics["loss"]!, 5);
});
