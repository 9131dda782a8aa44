/** @file Metrics against scikit-learn and SciPy. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { accuracy, f1, matthews, pearson, spearman } from "../../src/evaluation/metrics.ts";
import { readJsonFile } from "../../src/files/json.ts";
import { compare } from "./cases.ts";
import { CaseSkipped } from "./section.ts";
import type { ReferenceCase, ReferenceSection } from "./section.ts";

/** A figure that is no number is null. */
const figure = z.number().nullable();
const classificationSchema = z
  .object({ labels: z.array(z.int()), predictions: z.array(z.int()), confusion: z.array(z.array(z.int())) })
  .catchall(figure);
const regressionSchema = z.object({ x: z.array(z.number()), y: z.array(z.number()) }).catchall(figure);
const fileSchema = z.looseObject({
  classification: z.array(classificationSchema),
  regression: z.array(regressionSchema),
});
type Classification = z.output<typeof classificationSchema>;
type Regression = z.output<typeof regressionSchema>;

const tolerance = { absolute: 1e-6, relative: 0 };

/** deltafit's F1 is that of class 1 for two classes, and the mean over classes for more. */
const classificationMetrics: Readonly<Record<string, (one: Classification) => number | undefined>> = {
  accuracy: ({ predictions, labels }) => accuracy(predictions, labels),
  mcc: ({ predictions, labels }) => matthews(predictions, labels),
  f1_binary: ({ predictions, labels, confusion }) => f1(predictions, labels, confusion.length),
  f1_macro: ({ predictions, labels, confusion }) =>
    confusion.length > 2 ? f1(predictions, labels, confusion.length) : undefined,
};

const regressionMetrics: Readonly<Record<string, (one: Regression) => number>> = {
  pearson: ({ x, y }) => pearson(x, y),
  spearman: ({ x, y }) => spearman(x, y),
};

/** One case for each figure, and one for each file of metrics that deltafit does not have. */
export const metrics: ReferenceSection = ({ root }) => {
  const folder = join(root, "metrics");
  const path = join(folder, "classification.json");
  const others = ["text", "e2e", "e2e-real"].filter((name) => existsSync(join(folder, `${name}.json`)));
  return [
    ...(existsSync(path) ? figureCases(readJsonFile(path)) : []),
    ...others.map((name) => skippedCase(name, "metrics of text are not implemented")),
  ];
};

function figureCases(content: unknown): ReferenceCase[] {
  const { classification, regression } = fileSchema.parse(content);
  return [
    ...casesOf(classification, ["labels", "predictions", "confusion"], classificationMetrics),
    skippedCase("confusion", "not implemented"),
    ...casesOf(regression, ["x", "y"], regressionMetrics),
  ];
}

function casesOf<Item extends Readonly<Record<string, unknown>>>(
  items: readonly Item[],
  inputs: readonly string[],
  implemented: Readonly<Record<string, (item: Item) => number | undefined>>,
): ReferenceCase[] {
  const names = new Set(items.flatMap((item) => Object.keys(item)).filter((name) => !inputs.includes(name)));
  return [...names].map((name): ReferenceCase => {
    const metric = implemented[name];
    if (!metric) return skippedCase(name, "not implemented");
    return {
      name: `metrics/${name}`,
      check() {
        for (const [index, item] of items.entries()) {
          const expected = item[name];
          if (expected === undefined) continue;
          const actual = metric(item);
          if (actual === undefined || (expected === null && Number.isNaN(actual))) continue;
          compare(
            `${name}[${index}]`,
            { shape: [], data: [actual] },
            { shape: [], data: [Number(expected ?? NaN)] },
            tolerance,
          );
        }
      },
    };
  });
}

function skippedCase(name: string, reason: string): ReferenceCase {
  return {
    name: `metrics/${name}`,
    check() {
      throw new CaseSkipped(reason);
    },
  };
}
