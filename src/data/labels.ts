/**
 * @file Class labels of data as ids: integers are ids, names get ids by a list or by their order. Knows no
 * file.
 */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Row } from "./read-rows.ts";

/** A label and the row it stands in. */
export interface PlacedLabel {
  readonly row: Row;
  readonly label: string | number;
}

export interface LabelOptions {
  /** Names by id, from the model's `id2label` or from the training data. */
  readonly labelNames?: readonly string[] | undefined;
  /** How many classes the model has; defaults to the number of names, else to what the data shows. */
  readonly labelCount?: number | undefined;
}

/** How labels become ids. */
export interface LabelMap {
  /** Number of classes. */
  readonly count: number;
  /** Names by id; undefined where the data has integers and no names are known. */
  readonly names: readonly string[] | undefined;
  /** @throws DeltafitError `data-invalid` naming the row. */
  readonly idOf: (placed: PlacedLabel) => number;
}

const integerPattern = /^[+-]?\d{1,15}$/;

/**
 * Decides how labels are read: by `labelNames` if all of them stand there; as ids if all are integers; by
 * `labelNames` with an error for the first that is missing; else names get ids in the order of their
 * characters.
 *
 * @throws DeltafitError `data-invalid` if names outnumber `labelCount`.
 */
export function createLabelMap(labels: readonly PlacedLabel[], options: LabelOptions = {}): LabelMap {
  const spelled = labels.map(({ label }) => String(label).trim());
  const { labelNames, labelCount } = options;
  const isNamed = labelNames !== undefined && spelled.every((label) => labelNames.includes(label));
  if (!isNamed && spelled.every((label) => integerPattern.test(label))) {
    const largest = spelled.reduce((maximum, label) => Math.max(maximum, Number(label)), 0);
    const count = labelCount ?? labelNames?.length ?? largest + 1;
    return { count, names: labelNames, idOf: (placed) => checkedId(placed, count) };
  }
  const names = labelNames ?? [...new Set(spelled)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const count = labelCount ?? names.length;
  if (names.length > count) {
    const message = `The data has ${names.length} labels (${shortList(names)}), the model ${count}.`;
    throw new DeltafitError(
      "data-invalid",
      message,
      "Use a model with a head for these labels, or mend the data.",
    );
  }
  const ids = new Map(names.map((name, id) => [name, id]));
  return { count, names, idOf: (placed) => namedId(placed, ids, names) };
}

function shortList(names: readonly string[]): string {
  return names.slice(0, 8).map(quote).join(", ") + (names.length > 8 ? ", ..." : "");
}

function checkedId({ row, label }: PlacedLabel, count: number): number {
  const text = String(label).trim();
  const id = Number(text);
  if (integerPattern.test(text) && id >= 0 && id < count) return id;
  throw new DeltafitError(
    "data-invalid",
    `${row.where}: expected a label from 0 to ${count - 1}, found ${quote(text)}.`,
  );
}

function namedId(
  { row, label }: PlacedLabel,
  ids: ReadonlyMap<string, number>,
  names: readonly string[],
): number {
  const text = String(label).trim();
  const id = ids.get(text);
  if (id !== undefined) return id;
  throw new DeltafitError(
    "data-invalid",
    `${row.where}: expected a label of ${shortList(names)}, found ${quote(text)}.`,
  );
}

/** A regression target. @throws DeltafitError `data-invalid` naming the row. */
export function regressionTarget({ row, label }: PlacedLabel): number {
  const value = typeof label === "number" ? label : Number(label.trim());
  if (Number.isFinite(value)) return value;
  throw new DeltafitError(
    "data-invalid",
    `${row.where}: expected a number as label, found ${quote(String(label))}.`,
  );
}
