/** @file Values that can be used but not trained on from. */
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { rejectionOf } from "../../test/support/failure.ts";
import { scratchFolder, tinyBase } from "../../test/support/tiny-base.ts";
import { createAdapter } from "../adapters/adapter.ts";
import { loadAdapter, saveAdapter } from "../adapters/folder.ts";
import { vbloraDefaults } from "../methods/vblora.ts";
import { languageObjective } from "./objective.ts";
import { adamWDefaults } from "./optimiser.ts";
import { Trainer } from "./trainer.ts";

test("VB-LoRA is not trained on from a file of its largest logits", async () => {
  const scratch = scratchFolder();
  onTestFinished(() => scratch.dispose());
  const base = await tinyBase(scratch.path);
  const configuration = { ...vbloraDefaults, rank: 1, vectorCount: 4, vectorLength: 4, targets: ["q_proj"] };
  const written = { ...configuration, saveTopOnly: true };
  const folder = join(scratch.path, "adapter");
  await saveAdapter(folder, createAdapter({ base, type: "VBLORA", configuration: written, seed: 1 }), base);
  const loaded = loadAdapter(folder, base);
  const objective = languageObjective({ base, adapters: [loaded], sequenceLength: 4, batchSize: 1 });
  const settings = { objective, parameters: loaded.values, optimiser: adamWDefaults, seed: 0 };
  expect(await rejectionOf(() => Trainer.create(settings))).toEqual({
    code: "method-unsupported",
    message:
      'Training: the adapter "default" can be used and merged, but not trained on from: its file keeps the largest logits of each piece alone, and training needs them all.',
    hint: "Resume from a checkpoint of the run that made it, or keep it frozen under an adapter that is trained.",
  });
});
