/**
 * @file Methods against PEFT: logits, loss, gradients, merging, ten steps of training, saving and greedy tokens, all
 * starting from an adapter that PEFT saved.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { createAdapter, withValues } from "../../src/adapters/adapter.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import { forUnchangedBase } from "../../src/adapters/condense.ts";
import { loadAdapter } from "../../src/adapters/folder.ts";
import type { MethodType } from "../../src/adapters/method-table.ts";
import { settleAdapters } from "../../src/adapters/settle.ts";
import type { Base } from "../../src/base/base.ts";
import { DeltafitError } from "../../src/errors.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { entryValues } from "../../src/methods/layout.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { languageObjective } from "../../src/training/objective.ts";
import { scheduleFactor } from "../../src/training/schedule.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { checkMerged, checkSavedAgain, compareParameter } from "./adapter-files.ts";
import { checkBaseChanges, withRecordedChanges } from "./base-changes.ts";
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
import {
  checkGenerated,
  compareOutput,
  computeLogits,
  computeLoss,
  computePenalty,
  openCaseBase,
  sessionOptions,
} from "./computed.ts";
import { groupsOf, peftNames } from "./peft-names.ts";
import type { PeftNames } from "./peft-names.ts";
import { canonicalName, checkCondensed, withRecordedValues } from "./prompt-learning.ts";
import { CaseSkipped, skipOn } from "./section.ts";
import type { ReferenceCase, ReferenceFolders, ReferenceSection } from "./section.ts";

export const caseSchema = z.looseObject({
  base: z.string(),
  task: z.string(),
  settings: z.looseObject({ subset: z.string().optional() }),
  optimiser: z.looseObject({
    lr: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
    schedule: z.literal("linear_with_warmup"),
    warmup_steps: z.int(),
    steps: z.int(),
    max_grad_norm: z.number(),
  }),
  param_groups: z
    .array(z.looseObject({ lr: z.number(), weight_decay: z.number(), params: z.array(z.string()) }))
    .optional(),
  lrs: z.array(z.array(z.number())),
  grad_norms: z.array(z.number()),
  final_loss: z.number(),
  parameters: z.looseObject({ trainable: z.int() }),
  without_gradient: z.array(z.string()),
  merged_logits_diff: z.number().optional(),
  fp64_gap: z
    .looseObject({
      // What is no number in float64 is null.
      logits: z.number().nullable(),
      grad: z.number().nullable(),
      losses: z.number().nullable(),
      trained: z.record(z.string(), z.number().nullable()),
      grad_norms: z.number().nullish(),
      trained_logits: z.number().nullish(),
    })
    .nullish(),
});

export type CaseInfo = z.output<typeof caseSchema>;

/** A case as its files describe it, opened. */
export interface MethodCase {
  readonly folder: string;
  readonly info: CaseInfo;
  readonly base: Base;
  readonly batch: TaskBatch;
  readonly expected: ReadonlyMap<string, Tensor>;
  /** For logits, losses before training and merged weights. */
  readonly tolerance: Tolerance;
}

export const methods: ReferenceSection = (folders) =>
  caseFolders(folders.root, "methods").flatMap((name): ReferenceCase[] => {
    const converted = join(folders.root, "methods", name, "converted");
    const whole = { name: `methods/${name}`, check: () => checkMethod(name, folders) };
    if (!existsSync(converted)) return [whole];
    return [whole, { name: `methods/${name}/converted`, check: () => checkConverted(name, folders) }];
  });

async function openCase(name: string, root: string): Promise<MethodCase> {
  const folder = join(root, "methods", name);
  const info = caseSchema.parse(readJsonFile(join(folder, "case.json")));
  const base = await openCaseBase(join(root, info.base), info.task);
  const batch = readBatch(folder, "forward");
  if (!batch) throw new CaseFailure("inputs.json has no batch called forward");
  const expected = readTensors(join(folder, "expected.safetensors"));
  return {
    folder,
    info,
    base,
    batch,
    expected,
    tolerance: widened(tolerances.values, info.fp64_gap?.logits),
  };
}

async function checkMethod(name: string, { root, scratch }: ReferenceFolders): Promise<void> {
  const opened = await openCase(name, root);
  const { folder, info, base, batch, expected, tolerance } = opened;
  const isSubset = info.settings.subset !== undefined;
  const started = await startingAdapter(opened);
  checkBaseChanges(folder, base, started);
  const loaded = withRecordedChanges(folder, base, started);
  const adapter = withRecordedValues(loaded, base, folder, "trainable.safetensors");
  await checkCondensed(adapter, loaded, base, tolerance);
  const logits = await computeLogits(base, [adapter], batch);
  compareOutput("logits", logits, "logits", floats(expected, "logits"), batch, tolerance);
  const loss = (await computeLoss(base, [adapter], batch)) + computePenalty(adapter);
  compare("loss", { shape: [], data: [loss] }, floats(expected, "loss"), tolerance);
  if (!isSubset) {
    await checkMerged({
      base,
      adapter,
      batch,
      expected,
      tolerance,
      logitsDifference: info.merged_logits_diff,
    });
    await checkSavedAgain(join(folder, "adapter"), join(scratch, name), loaded, base);
  }
  await checkGenerated(folder, expected, base, [adapter]);
  const trainable = withValuesLeftOut(adapter);
  if (trainable === adapter) return checkTraining(opened, adapter);
  await checkRefusal(opened, adapter);
  await checkGradientsOnce(opened, trainable);
  await checkLoadedTrained(opened, recordedTrained(opened, adapter));
}

/**
 * An adapter whose file keeps the largest values alone, with the others as far below as makes no difference to its
 * gradient. PEFT's training, which the case records, began with what they were; a few steps on, some are among the
 * largest. So that training cannot be compared.
 */
function withValuesLeftOut(adapter: Adapter): Adapter {
  if (!adapter.values.includes(-Infinity)) return adapter;
  return withValues<MethodType>(
    adapter,
    adapter.values.map((value) => Math.max(value, -1e6)),
  );
}

async function checkRefusal(opened: MethodCase, adapter: Adapter): Promise<void> {
  try {
    await withTrainer(opened, adapter, peftNames(adapter, opened.base), isWhole, () => Promise.resolve());
  } catch (error) {
    if (DeltafitError.isInstance(error) && error.code === "method-unsupported") return;
    throw error;
  }
  throw new CaseFailure("training goes on from a file that lacks values, PEFT refuses it");
}

async function checkGradientsOnce(opened: MethodCase, adapter: Adapter): Promise<void> {
  const nameOf = peftNames(adapter, opened.base);
  await withTrainer(opened, adapter, nameOf, isWhole, (trainer) => checkGradients(opened, trainer, nameOf));
}

/** The plain LoRA that PEFT made of a trained adapter whose start changed the base. */
async function checkConverted(name: string, { root }: ReferenceFolders): Promise<void> {
  const { folder, base, batch, expected, tolerance } = await openCase(name, root);
  const adapter = loadAdapter(join(folder, "converted"), base);
  const computed = await computeLogits(base, [adapter], batch);
  compareOutput(
    "converted: logits",
    computed,
    "logits",
    floats(expected, "trained_logits"),
    batch,
    tolerance,
  );
}

/** The adapter that PEFT saved; for subsets of the base's own parameters a method of deltafit that trains them. */
async function startingAdapter({ folder, info, base }: MethodCase): Promise<Adapter> {
  const { subset } = info.settings;
  if (subset === undefined)
    return skipOn(["method-unsupported"], () => loadAdapter(join(folder, "adapter"), base));
  if (subset === ".*") return createAdapter({ base, type: "FULL", configuration: {}, seed: 0 });
  if (!subset.startsWith(".*\\.bias$"))
    throw new CaseSkipped(`training the parameters ${subset} is not implemented`);
  const biases = createAdapter({ base, type: "BITFIT", configuration: {}, seed: 0 });
  return withValues(biases, subsetValues(join(folder, "adapter"), biases));
}

/** Training in ten steps; and the same gradient from a graph that is cut into parts as for long batches. */
export async function checkTraining(opened: MethodCase, adapter: Adapter): Promise<void> {
  const nameOf = peftNames(adapter, opened.base);
  await withTrainer(opened, adapter, nameOf, isWhole, async (trainer) => {
    await checkGradients(opened, trainer, nameOf);
    await checkCurve(opened, trainer);
    const trained = withValues<MethodType>(adapter, trainer.parameters);
    for (const kept of settleAdapters([trained], opened.base, trainer.ruleState))
      await checkTrained(opened, kept, nameOf);
  });
  await withTrainer(opened, adapter, nameOf, isInParts, async (trainer) => {
    if ((opened.batch.inputIds.shape[1] ?? 0) % trainer.objective.lengthMultiple === 0)
      await checkGradients(opened, trainer, nameOf);
  });
}

interface BatchSize {
  readonly batchSize: number;
  readonly sequenceLength: number;
}

const isWhole: BatchSize = { batchSize: 3, sequenceLength: 16 };
/** So large that attention is computed in blocks, and the logits of even these small vocabularies in parts. */
const isInParts: BatchSize = { batchSize: 2000, sequenceLength: 256 };

async function withTrainer(
  { info, base }: MethodCase,
  adapter: Adapter,
  nameOf: PeftNames,
  size: BatchSize,
  use: (trainer: Trainer<TaskBatch>) => Promise<void>,
): Promise<void> {
  const { optimiser, param_groups: groups } = info;
  const trainer = await Trainer.create({
    objective: languageObjective({ base, adapters: [adapter], ...size }),
    parameters: adapter.values,
    optimiser: {
      betas: optimiser.betas,
      epsilon: optimiser.eps,
      weightDecay: groups ? 1 : optimiser.weight_decay,
      clip: optimiser.max_grad_norm,
    },
    groups: groups && groupsOf(groups, optimiser.lr, nameOf),
    seed: 0,
    session: sessionOptions,
  });
  try {
    await use(trainer);
  } finally {
    await trainer.dispose();
  }
}

/** The loss; and every gradient of the file has a parameter here, every parameter here a gradient there. */
async function checkGradients(
  { info, batch, expected, tolerance }: MethodCase,
  trainer: Trainer<TaskBatch>,
  nameOf: PeftNames,
): Promise<void> {
  const { loss, gradient, count } = await trainer.gradient([batch]);
  compare("training: loss", { shape: [], data: [loss] }, floats(expected, "loss"), tolerance);
  const { entries, size } = trainer.objective.layout;
  const wanted = new Map(
    [...expected.keys()].flatMap((key) =>
      key.startsWith("grad.") ? [[canonicalName(key.slice("grad.".length)), key] as const] : [],
    ),
  );
  for (const entry of entries) {
    const name = nameOf(entry);
    const key = wanted.get(name);
    if (key === undefined) throw new CaseFailure(`PEFT has no gradient of ${name}`);
    wanted.delete(name);
    const data = entryValues(gradient, entry).map((value) => value / count);
    const bound = widened(tolerances.gradients, info.fp64_gap?.grad);
    compare(key, { shape: entry.shape, data }, floats(expected, key), bound);
  }
  if (wanted.size > 0)
    throw new CaseFailure(`deltafit has no gradient for ${[...wanted.values()].join(", ")}`);
  // PEFT also counts what is trainable in name only: frozen originals of saved modules, which get no gradient.
  if (info.without_gradient.length === 0 && size !== info.parameters.trainable)
    throw new CaseFailure(`${size} trained parameters, expected ${info.parameters.trainable}`);
}

async function checkCurve({ info, expected, batch }: MethodCase, trainer: Trainer<TaskBatch>): Promise<void> {
  const { lr, warmup_steps: warmup, steps } = info.optimiser;
  const tolerance = widened(tolerances.curve, info.fp64_gap?.losses);
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 0; step < steps; step++) {
    const rate = lr * scheduleFactor("linear", step, warmup, steps);
    if (!info.param_groups) {
      const wanted = info.lrs[step]?.[0] ?? NaN;
      compare(
        `lrs[${step}]`,
        { shape: [], data: [rate] },
        { shape: [], data: [wanted] },
        { absolute: 1e-12, relative: 1e-12 },
      );
    }
    const result = await trainer.step([batch], rate);
    losses.push(result.loss);
    norms.push(result.gradientNorm);
  }
  compare("losses", { shape: [steps], data: losses }, floats(expected, "losses"), tolerance);
  compareNorms(norms, info);
  const { loss } = await trainer.gradient([batch]);
  compare("final_loss", { shape: [], data: [loss] }, { shape: [], data: [info.final_loss] }, tolerance);
}

/** Norms are of given gradients up to the first update that moves anything; then they depend on what is trained. */
function compareNorms(
  actual: readonly number[],
  { grad_norms: expected, lrs, fp64_gap: gap }: CaseInfo,
): void {
  const first = lrs.findIndex((groups) => groups.some((rate) => rate > 0));
  const part = (from: number, to: number | undefined, tolerance: Tolerance) => {
    const [data, wanted] = [actual.slice(from, to), expected.slice(from, to)];
    compare(`grad_norms, from ${from}`, { shape: [], data }, { shape: [], data: wanted }, tolerance);
  };
  part(0, first + 1, tolerances.gradients);
  part(first + 1, undefined, widened(tolerances.trained, gap?.grad_norms));
}

/** What training arrived at against what PEFT's arrived at, and the logits of PEFT's own trained adapter. */
async function checkTrained(opened: MethodCase, adapter: Adapter, nameOf: PeftNames): Promise<void> {
  const { folder, info, base, batch, expected } = opened;
  // Cases of quantised bases record neither these logits nor which trained parameters follow rounding noise alone.
  if (!expected.has("trained_logits")) return;
  const wanted = recordedTrained({ folder, base }, adapter);
  const recorded = withRecordedValues(wanted, base, folder, "trained_trainable.safetensors");
  const driven = new Set(Object.keys(info.fp64_gap?.trained ?? {}).map(canonicalName));
  for (const entry of adapter.layout.entries) {
    if (driven.has(nameOf(entry))) continue;
    compareParameter("trained", adapter, recorded, entry, tolerances.trained);
  }
  await checkLoadedTrained(opened, wanted);
  const computed = await computeLogits(base, [adapter], batch);
  const bound = widened(tolerances.trained, info.fp64_gap?.trained_logits);
  const wantedLogits = floats(expected, "trained_logits");
  compareOutput("trained_logits", computed, "logits", wantedLogits, batch, bound);
}

function recordedTrained({ folder, base }: Pick<MethodCase, "folder" | "base">, adapter: Adapter): Adapter {
  return withRecordedChanges(folder, base, trainedAdapter(join(folder, "trained"), adapter, base));
}

/** The logits of the adapter that PEFT trained, as its files have it. */
async function checkLoadedTrained(
  { base, batch, expected, tolerance }: MethodCase,
  wanted: Adapter,
): Promise<void> {
  const wantedLogits = floats(expected, "trained_logits");
  const stored = await computeLogits(base, [wanted], batch);
  compareOutput("trained, loaded: logits", stored, "logits", wantedLogits, batch, tolerance);
  const plain = await computeLogits(base, [await forUnchangedBase(wanted, base)], batch);
  compareOutput("trained, for the unchanged base: logits", plain, "logits", wantedLogits, batch, tolerance);
}

function trainedAdapter(folder: string, adapter: Adapter, base: Base): Adapter {
  if (!existsSync(join(folder, subsetName))) return loadAdapter(folder, base);
  return withValues<MethodType>(adapter, subsetValues(folder, adapter));
}

const subsetName = "subset.safetensors";

/** The values of parameters that are stored under their own names. */
function subsetValues(folder: string, { layout }: Pick<Adapter, "layout">): Float32Array {
  const tensors = readTensors(join(folder, subsetName));
  const values = new Float32Array(layout.size);
  for (const entry of layout.entries) entryValues(values, entry).set(floats(tensors, entry.key).data);
  return values;
}
