/** @file Reading recorded cases: tensors, JSON, and the comparison at the tolerances their README states. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { openSafetensors, readFloat32, readTensor } from "../../src/files/safetensors.ts";
import type { TaskBatch } from "../../src/tasks/feeds.ts";
import { elementCount, int64Tensor } from "../../src/tensor/tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";

/** Bounds of `|a - b| <= absolute + relative * |b|`. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

export const tolerances = {
  values: { absolute: 2e-5, relative: 2e-5 },
  gradients: { absolute: 1e-5, relative: 1e-4 },
  curve: { absolute: 5e-5, relative: 5e-5 },
  trained: { absolute: 1e-3, relative: 1e-3 },
} as const satisfies Record<string, Tolerance>;

/** Where the natural rounding noise of a case is above a fifth of the bound, five times the noise is the bound. */
export function widened(tolerance: Tolerance, gap: number | null | undefined): Tolerance {
  return gap != null && gap > tolerance.absolute / 5 ? { ...tolerance, absolute: 5 * gap } : tolerance;
}

/** A difference beyond its bound; the run counts and prints these. */
export class CaseFailure extends Error {}

export interface Named {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Throws a `CaseFailure` naming the worst element where two tensors differ beyond the tolerance. */
export function compare(
  what: string,
  actual: Named,
  expected: Named,
  tolerance: Tolerance,
  counts: (index: number) => boolean = () => true,
): void {
  if (actual.data.length !== expected.data.length)
    throw new CaseFailure(`${what}: shape [${actual.shape.join()}], expected [${expected.shape.join()}]`);
  let worst = 0;
  let at = -1;
  for (let index = 0; index < expected.data.length; index++) {
    if (!counts(index)) continue;
    const [a, b] = [actual.data[index] ?? NaN, expected.data[index] ?? NaN];
    const excess = a === b ? 0 : Math.abs(a - b) / (tolerance.absolute + tolerance.relative * Math.abs(b));
    if (!(excess <= worst)) [worst, at] = [excess, index];
  }
  if (!(worst <= 1))
    throw new CaseFailure(
      `${what}[${at}]: ${actual.data[at]}, expected ${expected.data[at]} (${worst.toFixed(1)} times the bound)`,
    );
}

/** All tensors of a file, floats as float32. */
export function readTensors(path: string): Map<string, Tensor> {
  const file = openSafetensors(path);
  return new Map(
    [...file.tensors].map(([name, { dtype, shape }]) => [
      name,
      dtype.includes("float")
        ? { dtype: "float32", shape, data: readFloat32(file, name) }
        : readTensor(file, name),
    ]),
  );
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** A float32 tensor that has to be there. */
export function floats(
  tensors: ReadonlyMap<string, Tensor>,
  name: string,
): { shape: readonly number[]; data: Float32Array } {
  const tensor = tensors.get(name);
  if (!tensor || !(tensor.data instanceof Float32Array))
    throw new CaseFailure(`the case has no float tensor "${name}"`);
  return { shape: tensor.shape, data: tensor.data };
}

const taskSchema = z.looseObject({ task: z.string().optional() });

/** A batch of `inputs.json`, or `undefined` where the case has none of that name. */
export function readBatch(folder: string, name: string): TaskBatch | undefined {
  const inputs = readJson(join(folder, "inputs.json")) as Record<
    string,
    Record<string, number[] | number[][]>
  >;
  const batch = inputs[name];
  if (!batch) return undefined;
  const tensor = (key: string): Tensor<"int64"> | undefined => {
    const rows = batch[key];
    if (!rows || !Array.isArray(rows[0])) return undefined;
    const lists = rows as number[][];
    return int64Tensor([lists.length, lists[0]?.length ?? 0], lists.flat());
  };
  const inputIds = tensor("input_ids");
  if (!inputIds) throw new CaseFailure(`${folder}: the batch "${name}" has no input_ids`);
  const labels = batch["labels"];
  // Labels of an encoder-decoder are of a sequence of their own.
  const isWritten = taskSchema.parse(readJson(join(folder, "case.json"))).task === "seq2seq-lm";
  const [rows = 0, length = 0] = inputIds.shape;
  const isPerToken = Array.isArray(labels?.[0]) && labels[0].length === length;
  const positions = (key: string) => (batch[key] ?? []) as number[];
  const [starts, ends] = [positions("start_positions"), positions("end_positions")];
  return {
    inputIds,
    attentionMask:
      tensor("attention_mask") ??
      int64Tensor([rows, length], new Array<number>(elementCount([rows, length])).fill(1)),
    tokenTypeIds: tensor("token_type_ids"),
    positionIds: tensor("position_ids"),
    labels: isPerToken && !isWritten ? tensor("labels") : undefined,
    // A number for each label instead of each token: 1 where the label holds.
    labelSets:
      labels && Array.isArray(labels[0]) && !isPerToken && !isWritten
        ? (labels as number[][]).map((row) => [...row.keys()].filter((label) => row[label] === 1))
        : undefined,
    spans: starts.length > 0 ? starts.map((start, row) => ({ start, end: ends[row] ?? 0 })) : undefined,
    targets: isWritten ? tensor("labels") : undefined,
    classLabels: labels && !Array.isArray(labels[0]) ? (labels as number[]) : undefined,
  };
}

/** Folders of a section that hold a case. */
export function caseFolders(root: string, section: string): string[] {
  const folder = join(root, section);
  return existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => existsSync(join(folder, name, "case.json")))
        .sort()
    : [];
}
