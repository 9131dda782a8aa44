/**
 * @file Holds the tensors of an adapter file against those a method expects. Copies of frozen weights that PEFT
 * writes besides are recognised and checked; anything else is a mismatch. Knows no method.
 */
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import { nearestName } from "../methods/targets.ts";
import { modulePrefix } from "./adapter-format.ts";
import type { TensorSource } from "./tensor-source.ts";

interface ExpectedTensor {
  readonly fileName: string;
  readonly shape: readonly number[];
}

interface MatchRequest {
  readonly folder: string;
  readonly weights: TensorSource;
  readonly expected: readonly ExpectedTensor[];
  readonly base: Base;
  /** What the base was called when the adapter was made. */
  readonly baseModel: string | undefined;
}

const maximumShown = 5;

/** @throws DeltafitError `adapter-mismatch`. */
export function checkTensors(request: MatchRequest): void {
  const { weights, expected } = request;
  const byName = new Map(expected.map((tensor) => [tensor.fileName, tensor]));
  const missing = expected.filter(({ fileName }) => !weights.tensors.has(fileName));
  const misshapen = expected.flatMap(({ fileName, shape }) => {
    const found = weights.tensors.get(fileName)?.shape;
    return found === undefined || found.join() === shape.join()
      ? []
      : [() => `${fileName} is ${shapeText(found)}, expected ${shapeText(shape)}`];
  });
  const unexpected = [...weights.tensors.keys()].flatMap((name) => {
    const reason = byName.has(name) ? undefined : whyUnexpected(name, request);
    return reason === undefined ? [] : [{ name, reason }];
  });
  const problems = [
    ...listed(
      "missing",
      missing.map(
        ({ fileName, shape }) =>
          () =>
            `${fileName} ${shapeText(shape)}`,
      ),
    ),
    ...listed(
      "unexpected",
      unexpected.map(
        ({ name, reason }) =>
          () =>
            `${quote(name)} (${reason === unknown ? nearest(name, expected) : reason})`,
      ),
    ),
    ...listed("of another shape", misshapen),
  ];
  const isIncomplete = missing.length > 0 && unexpected.length === 0 && misshapen.length === 0;
  if (problems.length > 0) throw mismatch(request, problems, isIncomplete);
}

function mismatch(
  { folder, base, baseModel }: MatchRequest,
  problems: readonly string[],
  isIncomplete: boolean,
): DeltafitError {
  const trainedOn =
    baseModel === undefined || baseModel === "" ? "" : ` It was trained on ${quote(baseModel)}.`;
  const hint = isIncomplete
    ? "Check that the file is complete and that this is the base the adapter was trained on."
    : "Open the base the adapter was trained on, for the same task and number of labels.";
  return new DeltafitError(
    "adapter-mismatch",
    `The adapter ${quote(folder)} does not fit the base ${quote(base.name)}. Tensors ${problems.join("; ")}.${trainedOn}`,
    hint,
  );
}

/** Only what is shown is put into words: a file may hold any number of wrong names. */
function listed(what: string, items: readonly (() => string)[]): string[] {
  if (items.length === 0) return [];
  const rest = items.length > maximumShown ? ` and ${items.length - maximumShown} more` : "";
  return [
    `${what}: ${items
      .slice(0, maximumShown)
      .map((describe) => describe())
      .join(", ")}${rest}`,
  ];
}

function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** The reason for a name that is like nothing PEFT writes besides. */
const unknown = "unknown";

/** Why a tensor that no parameter reads is not a harmless copy; `undefined` where it is one. */
function whyUnexpected(name: string, request: MatchRequest): string | undefined {
  const { base } = request;
  const path = name.startsWith(modulePrefix) ? name.slice(modulePrefix.length) : undefined;
  if (path === undefined) return unknown;
  // bias="all" also takes the biases inside of the wrapper around a saved module: the frozen original's ...
  const original = /^(.*)\.original_module\.(.+)$/.exec(path);
  if (original) return frozenCopy(`${original[1] ?? ""}.${original[2] ?? ""}`, name, request, undefined);
  // ... and the trained copy's once more.
  const trained = /^(.*)\.modules_to_save\.[^.]+\.(.+)$/.exec(path);
  if (trained) return trainedCopy(`${modulePrefix}${trained[1] ?? ""}.${trained[2] ?? ""}`, name, request);
  // A targeted embedding, or output embedding, is written with the frozen matrix it adapts.
  const wrapped = /^(.*)\.base_layer\.weight$/.exec(path);
  if (wrapped) return frozenCopy(`${wrapped[1] ?? ""}.weight`, name, request, "rounded");
  // PEFT can be told to save embeddings that are not trained.
  if (base.modules.parameters.has(path)) return frozenCopy(path, name, request, "exact");
  return unknown;
}

/** Comparing names costs the product of their lengths. */
const maximumNameLength = 256;
const maximumCandidates = 512;

function nearest(name: string, expected: readonly ExpectedTensor[]): string {
  const candidates = expected.slice(0, maximumCandidates).map(({ fileName }) => fileName);
  const found = name.length > maximumNameLength ? undefined : nearestName(name, candidates);
  return found === undefined ? "nothing like it in the adapter's configuration" : `nearest: ${found}`;
}

/**
 * A frozen matrix in another precision differs by rounding: bfloat16 keeps 8 bits, float16 numbers above 6e-8.
 */
const roundingTolerance = 2 ** -7;
const smallestNumber = 1e-6;

/** @param agreement How close the copy must be to the base's values; `undefined` for what is never used. */
function frozenCopy(
  parameter: string,
  name: string,
  request: MatchRequest,
  agreement: "exact" | "rounded" | undefined,
): string | undefined {
  const { base, weights } = request;
  const frozen = base.modules.parameters.get(parameter);
  if (frozen === undefined) return `the base has no ${parameter}`;
  const found = weights.tensors.get(name)?.shape ?? [];
  if (found.join() !== frozen.shape.join())
    return `a copy of the base's ${parameter}, which is ${shapeText(frozen.shape)}, found ${shapeText(found)}`;
  if (agreement === undefined) return undefined;
  const values = base.read(parameter);
  const tolerance = agreement === "rounded" ? [roundingTolerance, smallestNumber] : [0, 0];
  const [relative = 0, absolute = 0] = tolerance;
  const same = weights.readFloat32(name).every((value, index) => {
    const own = values[index] ?? 0;
    return Math.abs(value - own) <= relative * Math.abs(own) + absolute;
  });
  return same ? undefined : `a copy of the base's ${parameter} with other values`;
}

function trainedCopy(parameter: string, name: string, { weights }: MatchRequest): string | undefined {
  const [copy, own] = [weights.tensors.get(name), weights.tensors.get(parameter)];
  if (!copy || own?.shape.join() !== copy.shape.join())
    return `a copy of ${parameter}, which is not in the file in this shape`;
  const values = weights.readFloat32(parameter);
  const same = weights.readFloat32(name).every((value, index) => value === values[index]);
  return same ? undefined : `a copy of ${parameter} with other values`;
}
