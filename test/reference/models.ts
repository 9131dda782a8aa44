/** @file Base models against transformers: logits, losses, hidden states, greedy tokens, number of parameters. */
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Base } from "../../src/base/base.ts";
import { storedParameters } from "../../src/base/base.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { elementCount } from "../../src/tensor/tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import {
  CaseFailure,
  caseFolders,
  compare,
  floats,
  readBatch,
  readTensors,
  tolerances,
  widened,
} from "./cases.ts";
import type { Tolerance } from "./cases.ts";
import { checkGenerated, compareOutput, computeLogits, computeLoss, openCaseBase } from "./computed.ts";
import type { ReferenceFolders, ReferenceSection } from "./section.ts";

const caseSchema = z.looseObject({
  task: z.string(),
  parameters: z.int(),
  fp64_gap: z.looseObject({ logits: z.number().nullish() }).nullish(),
});

export const models: ReferenceSection = (folders) =>
  caseFolders(folders.root, "models").map((name) => ({
    name: `models/${name}`,
    check: () => checkModel(name, folders),
  }));

async function checkModel(name: string, { root, scratch }: ReferenceFolders): Promise<void> {
  const folder = join(root, "models", name);
  const { task, parameters, fp64_gap: gap } = caseSchema.parse(readJsonFile(join(folder, "case.json")));
  const base = await openCaseBase(folder, task);
  const expected = readTensors(join(folder, "expected.safetensors"));
  const tolerance = widened(tolerances.values, gap?.logits);
  const count = storedParameters(base.modules).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  if (count !== parameters) throw new CaseFailure(`${count} parameters, expected ${parameters}`);
  await checkBatch("forward", "", folder, base, expected, tolerance);
  await checkBatch("left", "left.", folder, base, expected, tolerance);
  await checkBatch("left_pos", "left_pos.", folder, base, expected, tolerance);
  await checkGenerated(folder, expected, base, []);
  await checkLegacyConfiguration(folder, join(scratch, name), base, task);
}

async function checkBatch(
  batchName: string,
  prefix: string,
  folder: string,
  base: Base,
  expected: ReadonlyMap<string, Tensor>,
  tolerance: Tolerance,
): Promise<void> {
  const batch = readBatch(folder, batchName);
  if (!batch) return;
  const hasHiddenStates = prefix === "";
  const computed = await computeLogits(base, [], batch, hasHiddenStates);
  compareOutput(`${prefix}logits`, computed, "logits", floats(expected, `${prefix}logits`), batch, tolerance);
  const loss = await computeLoss(base, [], batch);
  compare(`${prefix}loss`, { shape: [], data: [loss] }, floats(expected, `${prefix}loss`), tolerance);
  if (!hasHiddenStates) return;
  const wanted = [...expected.keys()].filter((key) => key.startsWith("hidden_states."));
  const own = Object.keys(computed.outputs).filter((key) => key.startsWith("hidden."));
  if (own.length !== wanted.length)
    throw new CaseFailure(`${own.length} hidden states, expected ${wanted.length}`);
  for (const key of wanted)
    compareOutput(key, computed, key.replace("_states", ""), floats(expected, key), batch, tolerance);
}

/** The same model with its config.json as older releases of transformers wrote it computes the same, bit by bit. */
async function checkLegacyConfiguration(
  folder: string,
  legacyFolder: string,
  base: Base,
  task: string,
): Promise<void> {
  const legacy = join(folder, "config.legacy.json");
  const batch = readBatch(folder, "forward");
  if (!existsSync(legacy) || !batch) return;
  mkdirSync(legacyFolder, { recursive: true });
  copyFileSync(legacy, join(legacyFolder, "config.json"));
  copyFileSync(join(folder, "model.safetensors"), join(legacyFolder, "model.safetensors"));
  const [expected, actual] = [
    await computeLogits(base, [], batch),
    await computeLogits(await openCaseBase(legacyFolder, task), [], batch),
  ];
  if (!isDeepStrictEqual(actual.outputs, expected.outputs))
    throw new CaseFailure("config.legacy.json gives other logits than config.json");
}
