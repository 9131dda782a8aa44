/**
 * @file Several adapters of one base against PEFT: arithmetic on them (`add_weighted_adapter`), both active at once,
 * and one adapter for each row of a batch.
 */
import { join } from "node:path";
import { z } from "zod";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { combineAdapters, combinationKinds } from "../../src/adapters/combine.ts";
import type { CombinationType, CombineOptions } from "../../src/adapters/combine.ts";
import { loadAdapter } from "../../src/adapters/folder.ts";
import { clampFactors, productOf } from "../../src/adapters/low-rank.ts";
import type { LowRankFactors } from "../../src/adapters/low-rank.ts";
import { withMergedWeights } from "../../src/adapters/merged-base.ts";
import type { Base } from "../../src/base/base.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { entryValues, findEntry } from "../../src/methods/layout.ts";
import { loraSites } from "../../src/methods/lora.ts";
import type { LoraSite } from "../../src/methods/lora-site.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { checkSavedAgain } from "./adapter-files.ts";
import { CaseFailure, caseFolders, compare, floats, readBatch, readTensors, tolerances } from "./cases.ts";
import { compareOutput, computeLogits, computeMixedLogits, openCaseBase } from "./computed.ts";
import type { ReferenceFolders, ReferenceSection } from "./section.ts";

const types = Object.keys(combinationKinds) as CombinationType[];

const caseSchema = z.looseObject({
  base: z.string(),
  weights: z.array(z.number()).optional(),
  combination_type: z.enum(types).optional(),
  torch_seed: z.number().nullish(),
  density: z.number().optional(),
  majority_sign_method: z.enum(["total", "frequency"]).optional(),
  svd_rank: z.number().optional(),
  svd_clamp: z.number().optional(),
  adapter_names: z.array(z.string()).optional(),
});

type CaseInfo = z.output<typeof caseSchema>;

interface MultiCase {
  readonly folder: string;
  readonly info: CaseInfo;
  readonly base: Base;
  readonly adapters: readonly Adapter[];
  readonly expected: ReadonlyMap<string, Tensor>;
}

export const multi: ReferenceSection = (folders) =>
  caseFolders(folders.root, "multi").map((name) => ({
    name: `multi/${name}`,
    check: () => checkCase(name, folders),
  }));

async function checkCase(name: string, { root, scratch }: ReferenceFolders): Promise<void> {
  const folder = join(root, "multi", name);
  const info = caseSchema.parse(readJsonFile(join(folder, "case.json")));
  const base = await openCaseBase(join(root, info.base), "causal-lm");
  const adapters = ["a", "b"].map((adapter) =>
    loadAdapter(join(folder, `adapter_${adapter}`), base, adapter),
  );
  const opened = {
    folder,
    info,
    base,
    adapters,
    expected: readTensors(join(folder, "expected.safetensors")),
  };
  if (info.combination_type === undefined) await checkActive(opened);
  else await checkCombined(opened, info.combination_type, join(scratch, "multi"));
}

async function checkCombined(
  { folder, info, base, adapters, expected }: MultiCase,
  combinationType: CombinationType,
  scratch: string,
): Promise<void> {
  const options: CombineOptions = {
    base,
    adapters: adapters.map((adapter, index) => ({ adapter, weight: info.weights?.[index] ?? NaN })),
    combinationType,
    density: info.density,
    majoritySignMethod: info.majority_sign_method,
    svdRank: info.svd_rank,
    seed: info.torch_seed ?? undefined,
  };
  const result = loadAdapter(join(folder, "result"), base);
  const { svd_clamp: svdClamp } = info;
  const combined = combineAdapters({ ...options, svdClamp });
  const sites = [...loraSites(combined.configuration, base.modules).values()];
  // The sign of a singular vector is free, and the bound of clamping depends on it: PEFT's signs are taken.
  const unclamped = svdClamp === undefined ? undefined : combineAdapters(options);
  for (const site of sites) {
    const delta = floats(expected, `delta.${site.path}.weight`);
    const own = factorsOf(combined, site);
    if (unclamped === undefined || svdClamp === undefined) {
      compare(`delta.${site.path}`, { shape: delta.shape, data: productOf(own) }, delta, tolerances.values);
      if (combinationKinds[combinationType].on !== "change")
        compareFactors(site, own, factorsOf(result, site));
      continue;
    }
    const whole = factorsOf(unclamped, site);
    const clamped = clampFactors(withSignsOf(factorsOf(result, site), whole), svdClamp);
    compare(`delta.${site.path}`, { shape: delta.shape, data: productOf(clamped) }, delta, tolerances.values);
    compareFactors(site, own, clampFactors(whole, svdClamp));
  }
  const batch = readBatch(folder, "forward");
  if (!batch) throw new CaseFailure("inputs.json has no batch called forward");
  const logits = floats(expected, "logits");
  compareOutput(
    "PEFT's result: logits",
    await computeLogits(base, [result], batch),
    "logits",
    logits,
    batch,
    tolerances.values,
  );
  if (svdClamp === undefined)
    compareOutput(
      "logits",
      await computeLogits(base, [combined], batch),
      "logits",
      logits,
      batch,
      tolerances.values,
    );
  await checkSavedAgain(join(folder, "result"), scratch, combined, base);
}

function compareFactors(site: LoraSite, own: LowRankFactors, expected: LowRankFactors): void {
  for (const key of ["a", "b"] as const) {
    const named = (data: Float32Array) => ({ shape: [data.length], data });
    compare(site[key], named(own[key]), named(expected[key]), tolerances.values);
  }
}

function factorsOf(adapter: Adapter, site: LoraSite): LowRankFactors {
  const values = (key: string) => entryValues(adapter.values, findEntry(adapter.layout, adapter.name, key));
  return { rank: values(site.a).length / site.in, a: values(site.a), b: values(site.b) };
}

/** Factors of which each pair of vectors is turned round where the other's point the other way. */
function withSignsOf(other: LowRankFactors, { rank, a, b }: LowRankFactors): LowRankFactors {
  const width = a.length / rank;
  const signs = Array.from({ length: rank }, (_, k) => {
    const row = (of: Float32Array) => of.subarray(k * width, (k + 1) * width);
    return Math.sign(row(a).reduce((sum, value, index) => sum + value * (row(other.a)[index] ?? 0), 0));
  });
  return {
    rank,
    a: a.map((value, index) => value * (signs[Math.floor(index / width)] ?? 1)),
    b: b.map((value, index) => value * (signs[index % rank] ?? 1)),
  };
}

/** Each adapter alone, one for each row of the batch, both together beside the base and merged into it, and none. */
async function checkActive({ folder, info, base, adapters, expected }: MultiCase): Promise<void> {
  const batch = readBatch(folder, "forward");
  if (!batch) throw new CaseFailure("inputs.json has no batch called forward");
  const check = async (name: string, of: Base, active: readonly Adapter[]) => {
    const computed = await computeLogits(of, active, batch);
    compareOutput(name, computed, "logits", floats(expected, name), batch, tolerances.values);
  };
  await check("base.logits", base, []);
  for (const adapter of adapters) await check(`${adapter.name}.logits`, base, [adapter]);
  await check("both.logits", base, adapters);
  const names = info.adapter_names ?? [];
  const rowWeights = adapters.map(({ name }) => names.map((row) => Number(row === name)));
  const mixed = await computeMixedLogits(base, adapters, batch, rowWeights);
  compareOutput("mixed.logits", mixed, "logits", floats(expected, "mixed.logits"), batch, tolerances.values);
  await check("both_merged.logits", await withMergedWeights(base, adapters), []);
}
