/** @file How large adapters become on disk, against the files themselves. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import type { Base } from "../base/base.ts";
import { openSafetensors } from "../files/safetensors.ts";
import { loraDefaults } from "../methods/lora.ts";
import { prefixTuningDefaults } from "../methods/prefix-tuning.ts";
import { veraDefaults } from "../methods/vera.ts";
import { createAdapter } from "./adapter.ts";
import type { Adapter } from "./adapter.ts";
import { forUnchangedBase, writtenBytes } from "./condense.ts";
import { saveAdapter } from "./folder.ts";

let scratch: ReturnType<typeof scratchFolder>;
let base: Base;
beforeAll(async () => {
  scratch = scratchFolder();
  base = await tinyBase(scratch.path);
});
afterAll(() => scratch.dispose());

const low = { ...loraDefaults, rank: 2, targets: ["q_proj"] } as const;
const cases: readonly (readonly [string, (base: Base) => Adapter])[] = [
  [
    "a LoRA whose A is not trained holds it",
    (own) => createAdapter({ base: own, type: "LORA", configuration: { ...low, frozenA: true }, seed: 0 }),
  ],
  [
    "a prefix's encoder is left out",
    (own) => {
      const configuration = { ...prefixTuningDefaults, virtualTokens: 2, projection: true };
      return createAdapter({ base: own, type: "PREFIX_TUNING", configuration, seed: 0 });
    },
  ],
  [
    "VeRA's projections are in it",
    (own) =>
      createAdapter({
        base: own,
        type: "VERA",
        configuration: { ...veraDefaults, rank: 2, targets: ["q_proj"] },
        seed: 0,
      }),
  ],
  [
    "PiSSA's adapter for the unchanged base has twice the rank",
    (own) =>
      createAdapter({
        base: own,
        type: "LORA",
        configuration: { ...low, initialWeights: "pissa" },
        seed: 0,
      }),
  ],
];

it.each(cases)("%s", async (_, create) => {
  const adapter = create(base);
  const folder = join(scratch.path, "adapter");
  await saveAdapter(folder, await forUnchangedBase(adapter, base), base);
  const { tensors } = openSafetensors(join(folder, "adapter_model.safetensors"));
  const bytes = [...tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  expect(writtenBytes(adapter, base, false)).toBe(bytes);
  expect(adapter.layout.size * Float32Array.BYTES_PER_ELEMENT).not.toBe(bytes);
});
