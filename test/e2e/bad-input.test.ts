/**
 * @file What is wrong with a user's files and flags is said in full, with exit code 2 (1 where writing fails), before
 * anything is written: an adapter that stood in --out is untouched.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { methodNames } from "../../src/cli/methods.ts";
import { knownModelTypes } from "../../src/models/index.ts";
import {
  createWorkspace,
  tinyLlama,
  writeLabelledData,
  writePromptData,
  writeTinyModel,
} from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

interface BadInput {
  readonly title: string;
  /** Breaks something in a workspace that has a model and data. */
  readonly prepare?: (workspace: Workspace) => void | Promise<void>;
  /** Words after `train --out kept`. */
  readonly words: readonly string[];
  readonly exitCode: 1 | 2;
  readonly error: string;
}

const usual = ["--model", "model", "--data", "data.jsonl"];

function changeConfiguration(workspace: Workspace, changes: Readonly<Record<string, unknown>>): void {
  workspace.write("model/config.json", JSON.stringify({ ...tinyLlama, ...changes }));
}

function headerOf(text: string): Uint8Array {
  const header = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header]);
}

const badInputs: readonly BadInput[] = [
  {
    title: "a truncated safetensors file",
    prepare: ({ at }) => fs.truncateSync(at("model", "model.safetensors"), 100_000),
    words: usual,
    exitCode: 2,
    error:
      'error: "FOLDER/model/model.safetensors" is not a valid safetensors file: the file was cut off: expected 283040 bytes by its header, found 100000.\n' +
      "hint: The file is damaged or not a safetensors file; download or convert it again.\n",
  },
  {
    title: "a safetensors header that lies about its sizes",
    prepare: ({ write }) =>
      write(
        "model/model.safetensors",
        headerOf('{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}'),
      ),
    words: usual,
    exitCode: 2,
    error:
      'error: "FOLDER/model/model.safetensors" is not a valid safetensors file: tensor "a" has the shape [4294967296, 4294967296], which is too large to be counted exactly.\n' +
      "hint: The file is damaged or not a safetensors file; download or convert it again.\n",
  },
  {
    title: "a pickled checkpoint",
    prepare({ at }) {
      fs.renameSync(at("model", "model.safetensors"), at("model", "pytorch_model.bin"));
    },
    words: usual,
    exitCode: 2,
    error:
      'error: "model" has no model.safetensors, only weights in a format that deltafit refuses: "pytorch_model.bin".\n' +
      "hint: Pickle can run code when it is loaded, so deltafit never reads it. Convert the weights to safetensors, or download the model's safetensors files.\n",
  },
  {
    title: "an unknown architecture",
    prepare: (workspace) => changeConfiguration(workspace, { model_type: "lama" }),
    words: usual,
    exitCode: 2,
    error:
      'error: config.json: the model_type "lama" is not known.\n' +
      `hint: Known are ${knownModelTypes.join(", ")}.\n`,
  },
  {
    title: "weights of another configuration",
    prepare: (workspace) => changeConfiguration(workspace, { intermediate_size: 48, num_hidden_layers: 1 }),
    words: usual,
    exitCode: 2,
    error:
      'error: The checkpoint in "model" does not fit its config.json (llama). Tensors not known: model.layers.1.input_layernorm.weight, model.layers.1.mlp.down_proj.weight, model.layers.1.mlp.gate_proj.weight, model.layers.1.mlp.up_proj.weight, model.layers.1.post_attention_layernorm.weight and 4 more; of another shape: model.layers.0.mlp.gate_proj.weight is [32, 16], expected [48, 16], model.layers.0.mlp.up_proj.weight is [32, 16], expected [48, 16], model.layers.0.mlp.down_proj.weight is [16, 32], expected [16, 48].\n' +
      "hint: Check that config.json and the weights belong together and that the download is complete.\n",
  },
  {
    title: "a tokenizer too large for the model",
    prepare: (workspace) => writeTinyModel(workspace, "model", { vocab_size: 2000 }),
    words: usual,
    exitCode: 2,
    error:
      'error: The tokenizer "model" does not fit the model "model": expected ids below 2000, the rows of the embedding, found ids up to 2047 ("ten").\n' +
      "hint: Use the tokenizer that belongs to the model.\n",
  },
  {
    title: "a label out of range",
    prepare: ({ write }) =>
      write("bad.jsonl", '{"sentence": "good", "label": 1}\n{"sentence": "bad", "label": -1}\n'),
    words: ["--model", "model", "--task", "classification", "--data", "bad.jsonl"],
    exitCode: 2,
    error: 'error: "bad.jsonl", line 2: expected a label from 0 to 1, found "-1".\n',
  },
  {
    title: "a label that the training data has not",
    prepare(workspace) {
      writeLabelledData(workspace);
      workspace.write("eval.jsonl", '{"sentence": "fair", "label": "fair"}\n');
    },
    words: [
      "--model",
      "model",
      "--task",
      "classification",
      "--data",
      "labelled.jsonl",
      "--eval-data",
      "eval.jsonl",
    ],
    exitCode: 2,
    error: 'error: "eval.jsonl", line 1: expected a label of "bad", "good", found "fair".\n',
  },
  {
    title: "an empty data file",
    prepare: ({ write }) => write("data.jsonl", ""),
    words: usual,
    exitCode: 2,
    error: 'error: "data.jsonl" holds no rows.\n' + "hint: A data file needs at least one example.\n",
  },
  {
    title: "broken JSON in the data",
    prepare: ({ write }) => write("data.jsonl", '{"text": "a"}\n{"text": "b\n'),
    words: usual,
    exitCode: 2,
    error:
      'error: "data.jsonl", line 2 is not valid JSON: a string is not closed (column 10).\n' +
      "hint: Each line holds one JSON object.\n",
  },
  {
    title: "data of another task",
    prepare: ({ write }) => write("data.jsonl", '{"question": "a", "answer": "b"}\n'),
    words: usual,
    exitCode: 2,
    error:
      'error: "data.jsonl", line 1: expected the keys of a format for causal-lm, found "question", "answer".\n' +
      "hint: Formats for causal-lm: messages; prompt + completion; instruction + output; mr + ref; text; sentence.\n",
  },
  {
    title: "a data file that is not there",
    words: ["--model", "model", "--data", "nothing.jsonl"],
    exitCode: 2,
    error: 'error: "nothing.jsonl" does not exist.\n' + "hint: Check the path.\n",
  },
  {
    title: "a model that is not there",
    words: ["--model", "nothing", "--data", "data.jsonl"],
    exitCode: 2,
    error:
      'error: "nothing" is neither a folder that exists nor the name of a model on the hub, which is org/name or org/name@revision.\n' +
      "hint: Check the path.\n",
  },
  {
    title: "a target with a typing error",
    words: [...usual, "--targets", "q_porj"],
    exitCode: 2,
    error:
      'error: The target "q_porj" matches no module of the model.\n' +
      'hint: Did you mean "q_proj"? The modules are down_proj, embed_tokens, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj.\n',
  },
  {
    title: "a number out of range",
    words: [...usual, "--rank", "0"],
    exitCode: 2,
    error: "error: --rank: expected a whole number of at least 1, found 0.\n",
  },
  {
    title: "a number that is none",
    words: [...usual, "--learning-rate", "fast"],
    exitCode: 2,
    error: 'error: --learning-rate: expected a number above 0, found "fast".\n',
  },
  {
    title: "a device of later",
    words: [...usual, "--device", "webgpu"],
    exitCode: 2,
    error: 'error: --device: expected cpu, the only one so far, found "webgpu".\n',
  },
  {
    title: "a method twice",
    words: [...usual, "--method", "lora+lora"],
    exitCode: 2,
    error: `error: --method: expected one or several of ${methodNames.join(", ")} with + between them, each once, found ["lora","lora"].\n`,
  },
  {
    title: "a setting that the method has not",
    words: [...usual, "--method", "full", "--rank", "4"],
    exitCode: 2,
    error: "error: --rank: the method full has no such setting.\n" + "hint: Leave it out.\n",
  },
  {
    title: "a flag with a typing error",
    words: [...usual, "--learnig-rate", "1"],
    exitCode: 2,
    error: "error: Unknown option '--learnig-rate'.\n" + "hint: Did you mean --learning-rate?\n",
  },
  {
    title: "no data",
    words: ["--model", "model"],
    exitCode: 2,
    error: "error: --data is needed: expected a text, found nothing.\n",
  },
  {
    title: "both steps and epochs",
    words: [...usual, "--steps", "1", "--epochs", "1"],
    exitCode: 2,
    error: "error: --steps and --epochs exclude each other.\n" + "hint: Leave one of them out.\n",
  },
  {
    title: "rates of LoRA+ for another method",
    words: [...usual, "--method", "vera", "--lora-plus-ratio", "16"],
    exitCode: 2,
    error: "error: --lora-plus-ratio: no lora is trained, found vera.\n" + "hint: Leave it out.\n",
  },
  {
    title: "two starts of a prompt",
    words: [...usual, "--method", "prompt-tuning", "--prompt-text", "a", "--prompt-start", "random"],
    exitCode: 2,
    error: "error: --prompt-text and --prompt-start exclude each other.\n" + "hint: Leave one of them out.\n",
  },
  {
    title: "a start that LoRA does not have",
    words: [...usual, "--initial-weights", "eva"],
    exitCode: 2,
    error:
      'error: --initial-weights: expected one of gaussian, orthogonal, pissa, pissa_niter_N, olora, loftq, found "eva".\n',
  },
  {
    title: "longer rows than the model can",
    words: [...usual, "--sequence-length", "4096"],
    exitCode: 2,
    error:
      'error: --sequence-length: expected at most 128, the positions of "model", found 4096.\n' +
      "hint: Lower it, or use a model with more positions.\n",
  },
  {
    title: "an output path below a file",
    words: [...usual, "--out", "data.jsonl/adapter"],
    exitCode: 1,
    error:
      'error: Cannot write to "FOLDER/data.jsonl/adapter": expected a folder, found the file "FOLDER/data.jsonl". It is untouched.\n' +
      "hint: Name another folder with --out.\n",
  },
  {
    title: "an output folder that holds something else",
    prepare: ({ write }) => write("letters/to-grandmother.txt", "Dear"),
    words: [...usual, "--out", "letters"],
    exitCode: 2,
    error:
      'error: The output folder "FOLDER/letters" would be replaced as a whole, and it holds no adapter and no model: "to-grandmother.txt".\n' +
      "hint: Name a folder of its own with --out.\n",
  },
];

test.for(badInputs)("$title", async ({ prepare, words, exitCode, error }) => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  await prepare?.(workspace);
  workspace.write("kept/adapter_config.json", "an adapter of before");
  const outcome = await workspace.deltafit("train", "--out", "kept", ...words, "--steps", "1");
  expect(outcome).toEqual({ exitCode, stdout: "", stderr: error });
  expect(fs.readdirSync(workspace.at("kept"))).toEqual(["adapter_config.json"]);
  expect(fs.readFileSync(workspace.at("kept", "adapter_config.json"), "utf8")).toBe("an adapter of before");
});

test("an adapter for another base", async () => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  await writeTinyModel(workspace, "wider", { hidden_size: 24, head_dim: 12 });
  writePromptData(workspace);
  await workspace.json(
    "train",
    "--model",
    "model",
    "--data",
    "data.jsonl",
    "--steps",
    "1",
    "--out",
    "adapter",
  );
  const words = ["--model", "wider", "--adapter", "adapter"];
  const prefix = "base_model.model.model.layers";
  const expected = {
    exitCode: 2,
    stdout: "",
    stderr:
      'error: The adapter "adapter" does not fit the base "wider". Tensors of another shape: ' +
      `${prefix}.0.self_attn.q_proj.lora_A.weight is [8, 16], expected [8, 24], ` +
      `${prefix}.0.self_attn.q_proj.lora_B.weight is [16, 8], expected [24, 8], ` +
      `${prefix}.0.self_attn.v_proj.lora_A.weight is [8, 16], expected [8, 24], ` +
      `${prefix}.0.self_attn.v_proj.lora_B.weight is [8, 8], expected [12, 8], ` +
      `${prefix}.1.self_attn.q_proj.lora_A.weight is [8, 16], expected [8, 24] and 3 more. ` +
      'It was trained on "model".\n' +
      "hint: Open the base the adapter was trained on, for the same task and number of labels.\n",
  };
  expect(await workspace.deltafit("generate", ...words, "--prompt", "a")).toEqual(expected);
  expect(await workspace.deltafit("merge", ...words, "--out", "merged")).toEqual(expected);
  expect(fs.existsSync(workspace.at("merged"))).toBe(false);
});

test("with --json an error is one object on stdout, and the same words on stderr", async () => {
  const workspace = createWorkspace();
  const error = { code: "file-missing", message: '"nothing.jsonl" does not exist.', hint: "Check the path." };
  const outcome = await workspace.deltafit("inspect", "nothing.jsonl", "--json");
  expect({ ...outcome, stdout: JSON.parse(outcome.stdout) as unknown }).toEqual({
    exitCode: 2,
    stdout: { error },
    stderr: `error: ${error.message}\nhint: ${error.hint}\n`,
  });
});

test("only --debug shows where in the code an error comes from", async () => {
  const workspace = createWorkspace();
  const plain = await workspace.deltafit("inspect", "nothing.jsonl");
  const debug = await workspace.deltafit("inspect", "nothing.jsonl", "--debug");
  expect(plain.stderr).not.toMatch(/^ {4}at /m);
  expect(debug.stderr).toMatch(/^ {4}at /m);
  expect(debug.stderr.startsWith(plain.stderr)).toBe(true);
});

test("wrong YAML is refused with its place", async () => {
  const workspace = createWorkspace();
  workspace.write("broken.yaml", "rank: [1\n");
  workspace.write("list.yaml", "- rank\n");
  workspace.write("rank.yaml", "data: x\nrank: eight\n");
  const errors = [];
  for (const name of ["broken.yaml", "list.yaml", "rank.yaml"])
    errors.push(await workspace.deltafit("train", "--config", name));
  const problem = "Flow sequence in block collection must be sufficiently indented and end with a ]";
  expect(errors).toEqual(
    [
      `error: "broken.yaml" is not valid YAML: ${problem} at line 2, column 1.\n`,
      'error: "list.yaml": expected settings such as "rank: 8", one a line, found a list.\n',
      'error: "rank.yaml", rank: expected a whole number of at least 1, found "eight".\n',
    ].map((stderr) => ({ exitCode: 2, stdout: "", stderr })),
  );
});

/** A file system of 128 KiB, which is less than a checkpoint of the tiny model with its optimiser needs. */
function mountSmall(folder: string): boolean {
  fs.mkdirSync(folder);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    return false;
  }
  onTestFinished(() => {
    execFileSync("umount", [folder]);
  });
  return true;
}

test("a full disk: the adapter of before is untouched", async ({ skip }) => {
  const workspace = createWorkspace();
  await writeTinyModel(workspace);
  writePromptData(workspace);
  if (!mountSmall(workspace.at("disk")))
    skip("mounting a small file system needs rights that this user lacks");
  const words = ["train", ...usual, "--out", "disk/adapter"];
  await workspace.json(...words, "--steps", "1", "--rank", "1", "--targets", "q_proj");
  const before = fs.readFileSync(workspace.at("disk", "adapter", "adapter_model.safetensors"));
  const outcome = await workspace.deltafit(
    ...words,
    "--steps",
    "1",
    ...["--method", "vblora", "--vector-length", "8", "--vector-count", "2000"],
    "--targets",
    "all-linear",
    "--quiet",
  );
  expect(outcome).toEqual({
    exitCode: 1,
    stdout: "",
    stderr:
      'error: Cannot write "FOLDER/disk/adapter/checkpoints/last": no space left on the device (ENOSPC). ' +
      "The earlier folder is untouched.\nhint: Free some space, or write to another disk.\n",
  });
  expect(fs.readFileSync(workspace.at("disk", "adapter", "adapter_model.safetensors"))).toEqual(before);
  expect(fs.readdirSync(workspace.at("disk"))).toEqual(["adapter"]);
});
