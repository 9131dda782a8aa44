/** @file What the flags of methods ask for, seen in the number of trained parameters. */
import { expect, test } from "vitest";
import { promptWorkspace } from "./workspace.ts";
import type { Workspace } from "./workspace.ts";

const parametersIn =
  (workspace: Workspace) =>
  async (method: string, ...words: string[]) => {
    const memory = await workspace.json("memory", "--model", "model", "--method", method, ...words);
    return memory["trainableParameters"];
  };

test("the flags of bottleneck adapters choose their places and widths", async () => {
  const workspace = await promptWorkspace();
  const parametersOf = parametersIn(workspace);
  // Of each network: two matrices between 16 and its width, and two biases.
  const network = (width: number) => 2 * 16 * width + width + 16;
  const layers = 2;
  expect(await parametersOf("bottleneck")).toBe(layers * network(1));
  expect(await parametersOf("bottleneck", "--bottleneck", "seq_bn", "--reduction", "4")).toBe(
    layers * network(4),
  );
  expect(await parametersOf("bottleneck", "--bottleneck", "double_seq_bn")).toBe(layers * 2 * network(1));
  expect(await parametersOf("bottleneck", "--bottleneck", "par_bn")).toBe(layers * network(8));
  const { exitCode, stderr } = await workspace.deltafit("memory", "--model", "model", "--reduction", "4");
  expect({ exitCode, stderr }).toMatchInlineSnapshot(`
    {
      "exitCode": 2,
      "stderr": "error: --reduction: the method lora has no such setting.
    hint: Leave it out.
    ",
    }
  `);
});

test("(IA)3 rescales the inputs of feed-forward layers where nothing else is asked for", async () => {
  const workspace = await promptWorkspace();
  const parametersOf = parametersIn(workspace);
  const [layers, hidden, inner, keyOrValue] = [2, 16, 32, 8];
  expect(await parametersOf("ia3")).toBe(layers * (2 * keyOrValue + inner));
  expect(await parametersOf("ia3", "--targets", "v_proj,down_proj")).toBe(layers * (keyOrValue + inner));
  expect(await parametersOf("ia3", "--targets", "v_proj")).toBe(layers * keyOrValue);
  expect(await parametersOf("ia3", "--targets-pattern", ".*v_proj")).toBe(layers * keyOrValue);
  const both = ["--targets", "v_proj,down_proj", "--feed-forward", "v_proj"];
  expect(await parametersOf("ia3", ...both)).toBe(layers * (hidden + hidden));
});

test.each(["bfloat16", "int8", "nf4", "nf4-double", "fp4", "int4"])(
  "a start out of the matrix is written at its own rank where the base is kept in %s",
  async (storage) => {
    const workspace = await promptWorkspace();
    const words = ["--model", "model", "--initial-weights", "pissa", "--rank", "2", "--targets", "q_proj"];
    const bytesOf = async (...more: string[]) =>
      (await workspace.json("memory", ...words, ...more))["adapterBytes"];
    const plain = 4 * 2 * 2 * (16 + 16);
    expect(await bytesOf()).toBe(2 * plain);
    expect(await bytesOf("--storage", storage)).toBe(plain);
  },
);
