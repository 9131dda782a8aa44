/** @file VB-LoRA's files of the largest logits alone: what they hold, what is read from them, and what is refused. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { openSafetensors, readFloat32 } from "../files/safetensors.ts";
import { vbloraDefaults } from "../methods/vblora.ts";
import type { VbloraConfiguration } from "../methods/vblora.ts";
import { createAdapter } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { loadAdapter, saveAdapter } from "./folder.ts";
import { inspectAdapter } from "./inspect.ts";
import { storedBytes } from "./stored-tensors.ts";
import { vbloraPacking } from "./vblora-packing.ts";

const configuration: VbloraConfiguration = {
  ...vbloraDefaults,
  rank: 1,
  vectorCount: 4,
  vectorLength: 4,
  topVectors: 3,
  saveTopOnly: true,
  targets: ["q_proj"],
};
const key = "model.layers.0.self_attn.q_proj.vblora_logits_A";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

function packingOf(vectorCount: number) {
  const form = vbloraPacking.formOf({ ...configuration, vectorCount }, key, [1, 1, vectorCount]);
  if (form === undefined) throw new Error("logits are packed");
  return form;
}

function savedAdapter(): Adapter {
  return createAdapter({ base, type: "VBLORA", configuration, seed: 1 });
}

describe("the form", () => {
  it("holds the largest logits' indices, and the shares of all but the last", () => {
    const logits = Float32Array.of(Math.log(0.5), -20, Math.log(0.2), Math.log(0.3));
    const [indices, shares] = packingOf(4).pack(logits);
    expect(indices).toEqual(Uint8Array.of(0, 3, 2));
    expect(Array.from(shares ?? [], (share) => share.toFixed(6))).toEqual(["0.500000", "0.300000"]);
    const back = packingOf(4).unpack([indices!, shares!], "a file");
    expect(Array.from(back, (logit) => Math.exp(logit).toFixed(6))).toEqual([
      "0.500000",
      "0.000000",
      "0.200000",
      "0.300000",
    ]);
    expect(back[1]).toBe(-Infinity);
  });

  it("takes the smallest of PEFT's types that the indices fit into", () => {
    const typeOf = (vectors: number) => packingOf(vectors).tensors[0]?.dtype;
    expect([255, 256, 32_767, 32_768].map(typeOf)).toEqual(["uint8", "int16", "int16", "int32"]);
  });

  it("refuses what is no mixture of the bank's vectors", () => {
    const failure = (indices: readonly number[], shares: readonly number[]) =>
      failureOf(() => packingOf(4).unpack([Int32Array.from(indices), Float32Array.from(shares)], "a file"));
    const hint = "Check that the download or the copy is complete.";
    expect(failure([0, 1, 4], [0.5, 0.25])).toEqual({
      code: "file-invalid",
      message: "a file: a piece is mixed of vector 4, and the bank has 4.",
      hint,
    });
    expect(failure([0, 1, 0], [0.5, 0.25])).toEqual({
      code: "file-invalid",
      message: "a file: a piece is mixed of one vector twice: 0, 1, 0.",
      hint,
    });
    expect(failure([0, 1, 2], [0.75, 0.5])).toEqual({
      code: "file-invalid",
      message:
        "a file: the shares of a piece are 0.75, 0.5, expected numbers from 0 that add up to at most 1.",
      hint,
    });
  });
});

describe("an adapter's folder", () => {
  it("is a fraction of the size, and gives the same mixtures back", async () => {
    const adapter = savedAdapter();
    const folder = join(scratch.path, "adapter");
    await saveAdapter(folder, adapter, base);
    const { tensors } = openSafetensors(join(folder, "adapter_model.safetensors"));
    const name = `base_model.model.${key}`;
    expect(tensors.get(`${name}_topk_indices`)).toMatchObject({ dtype: "uint8", shape: [1, 2, 3] });
    expect(tensors.get(`${name}_topk_weights`)).toMatchObject({ dtype: "float32", shape: [1, 2, 2] });
    const bytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(storedBytes(adapter, base)).toBe(bytes);
    expect(inspectAdapter(folder)).toMatchObject({ bytes, problems: [] });

    const loaded = loadAdapter(folder, base);
    const again = join(scratch.path, "again");
    await saveAdapter(again, loaded, base);
    const shares = (path: string) =>
      readFloat32(openSafetensors(join(path, "adapter_model.safetensors")), `${name}_topk_weights`);
    const [first, second] = [shares(folder), shares(again)];
    for (const [index, share] of first.entries()) expect(second[index]).toBeCloseTo(share, 6);
  });
});
