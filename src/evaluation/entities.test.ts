/** @file Entities and their scores, as seqeval 1.2.2 gives them for the same tags. */
import { expect, test } from "vitest";
import { areEntityTags, entitiesOf, entityScores } from "./entities.ts";

const spans = (tags: string) =>
  entitiesOf(tags.split(" ")).map(({ type, first, last }) => [type, first, last]);

test.each([
  ["O B-PER I-PER O", [["PER", 1, 2]]],
  [
    "I-PER I-PER I-LOC",
    [
      ["PER", 0, 1],
      ["LOC", 2, 2],
    ],
  ],
  [
    "B-PER B-PER I-PER",
    [
      ["PER", 0, 0],
      ["PER", 1, 2],
    ],
  ],
  [
    "B-PER I-LOC I-LOC O",
    [
      ["PER", 0, 0],
      ["LOC", 1, 2],
    ],
  ],
  [
    "B-A E-A S-B S-B",
    [
      ["A", 0, 1],
      ["B", 2, 2],
      ["B", 3, 3],
    ],
  ],
  [
    "E-A E-A I-A",
    [
      ["A", 0, 0],
      ["A", 1, 1],
      ["A", 2, 2],
    ],
  ],
  ["O O", []],
  [
    "S-A I-A",
    [
      ["A", 0, 0],
      ["A", 1, 1],
    ],
  ],
  [
    "B-X-Y I-X-Y I-Y",
    [
      ["X-Y", 0, 1],
      ["Y", 2, 2],
    ],
  ],
])("entities of %s", (tags, expected) => {
  expect(spans(tags)).toEqual(expected);
});

test("scores count whole entities of all sequences together", () => {
  const actual = ["O B-PER I-PER O B-LOC", "B-ORG I-ORG I-ORG", "O O", "B-PER O I-LOC"];
  const predicted = ["O B-PER I-PER O B-ORG", "B-ORG I-ORG O", "O B-LOC", "B-PER O B-LOC"];
  const split = (rows: readonly string[]) => rows.map((row) => row.split(" "));
  const { precision, recall, f1 } = entityScores(split(predicted), split(actual));
  expect([precision, recall]).toEqual([0.5, 0.6]);
  expect(f1).toBeCloseTo(0.5454545454545454, 12);
  expect(entityScores([["O"]], [["O"]])).toEqual({ precision: 0, recall: 0, f1: 0 });
});

test("tags without types mark no entities", () => {
  expect(areEntityTags(["O", "B-PER", "I-PER"])).toBe(true);
  expect(areEntityTags(["NOUN", "VERB", "O"])).toBe(false);
  expect(areEntityTags(["O"])).toBe(false);
});
